package session

import (
	"fmt"
	"testing"
)

// Batches have as many messages as was asked for, and every UID is in one.
func TestUIDBatches(t *testing.T) {
	s := newServer(t)
	for i := range 1205 {
		s.deliver(fmt.Sprintf("%d.M1P1.host", 1000+i), "Subject: x\n\nx\n")
	}
	c := s.connect()
	c.ok("SELECT INBOX")
	c.ok("UID STORE 2,100,706,1205 +FLAGS.SILENT (\\Deleted)")
	c.ok("EXPUNGE")
	for command, want := range map[string]string{
		"UIDBATCHES 500":        "1204:704,703:204,203:1",
		"UIDBATCHES 500 1:1":    "1204:704",
		"UIDBATCHES 500 2:3":    "703:204,203:1",
		"UIDBATCHES 500 3:9":    "203:1",
		"UIDBATCHES 1201":       "1204:1",
		"UIDBATCHES 1200":       "1204:3,2:1",
		"UIDBATCHES 4294967295": "1204:1",
	} {
		c.want(command, "* UIDBATCHES (TAG \"a\") "+want+"\na OK UIDBATCHES completed")
	}
}
