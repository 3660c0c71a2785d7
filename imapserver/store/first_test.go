package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// TestMake makes an account as a first login does, and nothing after that.
func TestMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "alice", "Maildir")
	folders := []FirstFolder{{Name: "Drafts", Use: "drafts", Subscribed: true}, {Name: "Grüße"}, {Name: "Sent", Use: "sent", Subscribed: true}}
	// The mail of another user, whatever the name.
	other := filepath.Join(dir+".first", "cur", "1.a")
	if err := os.MkdirAll(filepath.Dir(other), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, other, mail1)
	if err := Make(t.Context(), dir, folders); err != nil {
		t.Fatal(err)
	}
	a, err := Open(context.Background(), Options{Maildir: dir})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := a.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Entry{}
	for _, e := range entries {
		got[e.Name] = e
	}
	if len(got) != 4 || !got["Drafts"].Subscribed || got["Drafts"].Use != imap.MailboxAttrDrafts || got["Grüße"].Subscribed || got["Sent"].Use != imap.MailboxAttrSent {
		t.Errorf("%+v", entries)
	}
	if err := a.Delete(t.Context(), "Sent"); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Make(t.Context(), dir, folders); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".Sent")); err == nil {
		t.Error("a folder that was deleted is made again")
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("mail is gone: %v", err)
	}
	if left := files(t, filepath.Dir(dir)); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
	for _, p := range []string{filepath.Dir(dir), dir} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", p, st.Mode(), err)
		}
	}
	if err := os.Symlink("/nowhere", dir+"2"); err != nil {
		t.Fatal(err)
	}
	if err := Make(t.Context(), dir+"2", folders); err != nil {
		t.Errorf("a link in its place is not ours to replace: %v", err)
	}
}

// crashFirst cuts the power after a message was taken into an account that a login has
// made, with the directories that it is in.
func crashFirst(t *testing.T) []string {
	top, account := fastDir(t), filepath.Join("a", "alice", "Maildir")
	run := func(ops *maildir.Ops) error {
		dir := filepath.Join(top, account)
		if err := makeAccount(t.Context(), ops, dir, []FirstFolder{{Name: "Sent"}}); err != nil {
			return err
		}
		a, err := Open(t.Context(), Options{Maildir: dir, unwatched: true, ops: ops})
		if err != nil {
			return err
		}
		t.Cleanup(func() { a.Close() })
		_, _, err = tryAppend(a, "Sent", mail1, crashDate)
		return err
	}
	return crashAfter(t, top, run, func(top string) error {
		a, err := Open(t.Context(), Options{Maildir: filepath.Join(top, account), unwatched: true})
		if err != nil {
			return err
		}
		defer a.Close()
		if box := observeBox(t, a, "Sent"); len(box.messages) != 1 {
			return fmt.Errorf("in the mailbox are %d messages", len(box.messages))
		}
		return nil
	})
}
