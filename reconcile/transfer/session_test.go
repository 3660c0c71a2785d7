package transfer_test

import (
	"bufio"
	"fmt"
	"net"
	"testing"

	"mailstead/reconcile/transfer"
)

// A purge may remove any number of messages, each with a response of its own.
func TestManyExpunged(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		w := bufio.NewWriter(theirs)
		fmt.Fprint(w, "* PREAUTH ready\r\n")
		w.Flush()
		bufio.NewReader(theirs).ReadString('\n')
		for range 20_000 {
			fmt.Fprint(w, "* 1 EXPUNGE\r\n")
		}
		fmt.Fprint(w, "* 3 EXISTS\r\na1 OK done\r\n")
		w.Flush()
	}()
	s, err := transfer.Begin(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if lines, err := s.Command("UID EXPUNGE $"); err != nil || len(lines) != 1 || lines[0] != "* 3 EXISTS" {
		t.Errorf("%q: %v", lines, err)
	}
}
