package transfer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/maildir"
	"mailstead/reconcile/transfer"
)

// TestManyRanges finds messages again, and changes their flags, whose UIDs as one set are
// more than a line of a command may have.
func TestManyRanges(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	const first, n = 4_000_000_000, 6000
	src := &held{validity: "a", texts: texts(n)}
	db := maildir.UIDDB{Validity: 1, Next: first + 2*n}
	for i, text := range src.texts {
		base := fmt.Sprintf("%d.a", 1000+i)
		path := filepath.Join(here.Maildir, "cur", base+":2,")
		date := when.Add(time.Duration(i/10) * time.Second)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "\r\n", "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, date, date); err != nil {
			t.Fatal(err)
		}
		db.Messages = append(db.Messages, maildir.UIDDBMessage{UID: uint32(first + 2*i), Base: base})
	}
	if err := os.WriteFile(filepath.Join(here.Maildir, maildir.UIDDBFile), maildir.EncodeUIDDB(db), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "journal")
	if r := run(t, src.Open, here, dir, transfer.Options{})[0]; r.Before != n || r.Brought != 0 {
		t.Errorf("%+v", r)
	}
	src.change = func(_ string, e *transfer.Entry) { e.Flags = `\Seen` }
	if r := run(t, src.Open, here, dir, transfer.Options{Flags: true})[0]; r.Flags != n {
		t.Errorf("%+v", r)
	}
	c := client(t, here)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagSeen}}, nil).Wait()
	if err != nil || len(found.AllUIDs()) != n || found.AllUIDs()[0] != first {
		t.Errorf("%v: %d messages are seen", err, len(found.AllUIDs()))
	}
}
