package imapserver

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

// TestManyRefusalsWait: a good login does not wait for those that are being refused, as
// many as the description lets wait.
func TestManyRefusalsWait(t *testing.T) {
	dir := t.TempDir()
	c := partedConfig(dir)
	c.Limits = map[string]int64{"waiting": 3000}
	limits := *fast()
	limits.Delay, limits.MaxDelay, limits.SourceMinute = 10*time.Second, 10*time.Second, 5
	p := startPartedBy(t, &limits, c, partedUser(t, dir, "alice", 61101))
	l, _ := p.login("imap")
	for i := range 3000 {
		l.Send(&handoff.Ask{Serial: uint64(i), Credentials: handoff.Credentials{ID: "x", User: "alice", Password: fmt.Sprint("wrong", i), Remote: netip.MustParseAddr("192.0.2.1"), TLS: true}})
	}
	l.Send(&handoff.Ask{Serial: 7777, Credentials: handoff.Credentials{ID: "x", User: "alice", Password: "pw-alice", Remote: netip.MustParseAddr("192.0.2.2"), TLS: true}})
	if a := receive[*handoff.Answer](t, l); a.Serial != 7777 || a.Verdict.User != "alice" {
		t.Errorf("the first answer: %+v", a)
	}
}
