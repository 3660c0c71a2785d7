package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// A clock that is behind what the account was last written at, as it may be after boot, makes
// no message old that comes in then, nor is one that is expunged kept for less long.
func TestClockBehind(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	appendMessage(t, a, "INBOX", mail1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	written := time.Now().Add(1000 * 24 * time.Hour).Truncate(time.Second) // by a clock that was right
	if err := os.Chtimes(filepath.Join(a.own, indexFile), written, written); err != nil {
		t.Fatal(err)
	}
	a = openUnwatched(t, a.dir)
	a.SetKeep(time.Hour)
	create(t, a, "Box", "Old")
	appendMessage(t, a, "Box", mail1)
	appendMessage(t, a, "Box", mail2, imap.FlagDeleted)
	appendMessage(t, a, "Old", mail1)
	v := selectBox(t, a, "Box", false)
	if got := arrival(t, v, 1).Saved; got.Before(written) {
		t.Errorf("saved at %v, which is before %v", got, written)
	}
	if err := v.Expunge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Delete(t.Context(), "Old"); err != nil {
		t.Fatal(err)
	}
	dirs, _ := keptMailboxes(t, a)
	kept := append(keptFiles(t, a), dirs...)
	if len(kept) != 2 {
		t.Fatalf("kept: %q", kept)
	}
	for _, name := range kept {
		if _, until, ok := maildir.ParseKeptName(filepath.Base(name)); !ok || until.Before(written.Add(time.Hour)) {
			t.Errorf("%s: kept until %v", name, until)
		}
	}
	if a = reopen(t, a); !a.now().Before(written) {
		t.Error("a clock that was put right is not gone by")
	}
}
