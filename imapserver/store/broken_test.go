package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// TestSyncFails fails each kind of sync once: the command says so, and so does
// every other one until the account is opened anew, since another try would seem
// to succeed. Whoever has opened it is told, once.
func TestSyncFails(t *testing.T) {
	for _, what := range []string{"index.db-wal", "cur"} {
		dir := newMaildir(t)
		armed, broken := false, 0
		a, err := Open(context.Background(), Options{
			Maildir: dir, unwatched: true, Broken: func() { broken++ },
			ops: &maildir.Ops{Trace: func(op maildir.Op) error {
				if armed && strings.HasPrefix(op.Call, "sync") && strings.HasSuffix(op.Path, what) {
					armed = false
					return unix.EIO
				}
				return nil
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		appendMessage(t, a, "INBOX", mail1)
		v := selectBox(t, a, "INBOX", false)
		armed = true
		if err := v.Store(context.Background(), allSeqs(v), StoreSet, []imap.Flag{imap.FlagFlagged, "Work"}); err == nil || armed {
			t.Errorf("%s: store: %v", what, err)
		}
		if err := v.Store(context.Background(), allSeqs(v), StoreSet, []imap.Flag{imap.FlagSeen}); err == nil {
			t.Errorf("%s: the next store succeeds", what)
		}
		if broken != 1 {
			t.Errorf("%s: told %d times", what, broken)
		}
		a.Close()
		a = openUnwatched(t, dir)
		appendMessage(t, a, "INBOX", mail1)
		if v := selectBox(t, a, "INBOX", true); v.Len() != 2 {
			t.Errorf("%s: %d messages", what, v.Len())
		}
	}
}

// TestGoneAndUnsynced: that some of the messages are gone, which a session may pass over,
// does not hide that the others may not be on disk.
func TestGoneAndUnsynced(t *testing.T) {
	dir := newMaildir(t)
	broken := false
	a, err := Open(t.Context(), Options{Maildir: dir, unwatched: true, ops: &maildir.Ops{Trace: func(op maildir.Op) error {
		if broken && strings.HasPrefix(op.Call, "sync") && strings.HasSuffix(op.Path, "cur") {
			return unix.EIO
		}
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	appendMessage(t, a, "INBOX", mail1)
	appendMessage(t, a, "INBOX", mail2, imap.FlagDeleted)
	v := selectBox(t, a, "INBOX", false)
	if err := selectBox(t, a, "INBOX", false).Expunge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := v.Store(t.Context(), allSeqs(v), StoreAdd, []imap.Flag{imap.FlagFlagged}); !errors.Is(err, ErrExpunged) {
		t.Errorf("one is gone: %v", err)
	}
	broken = true
	if err := v.Store(t.Context(), allSeqs(v), StoreAdd, []imap.Flag{imap.FlagSeen}); !errors.Is(err, unix.EIO) || errors.Is(err, ErrExpunged) {
		t.Errorf("one is gone and one unsynced: %v", err)
	}
}
