package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestMake makes an account as a first login does, and nothing after that.
func TestMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "alice", "Maildir")
	folders := []FirstFolder{{Name: "Drafts", Use: "drafts", Subscribed: true}, {Name: "Grüße"}, {Name: "Sent", Use: "sent", Subscribed: true}}
	// What another one has left who died in the middle of it.
	if err := os.MkdirAll(filepath.Join(dir+".first", "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
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
	if left, _ := filepath.Glob(dir + "?*"); len(left) > 0 {
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
