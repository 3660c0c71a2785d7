package transfer_test

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/dialogue"
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

// TestLongName brings a mailbox whose name is longer as a command spells it than a name
// on disk may be, and finds it by its use.
func TestLongName(t *testing.T) {
	there, here := dialogue.Mailstead(t, dialogue.Setup{}), dialogue.Mailstead(t, dialogue.Setup{})
	c := client(t, there)
	name := strings.Repeat(".архивная папка года", 5)[1:]
	if err := c.Create(name, &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrArchive}}).Wait(); err != nil {
		t.Fatal(err)
	}
	put(t, c, name, text(1), when)
	put(t, c, "INBOX", text(2), when)
	run(t, server(t, there).Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
	if diff := cmp.Diff(mail(t, there), mail(t, here)); diff != "" {
		t.Error(diff)
	}
	s, err := transfer.Begin(t.Context(), session(t, here))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if names, err := s.WithUse("", imap.MailboxAttrArchive); err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("%q: %v", names, err)
	}
}
