package store

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// TestKept keeps what is expunged, with where it was, until it has been there for
// long enough; where nothing is kept it is gone.
func TestKept(t *testing.T) {
	ctx := context.Background()
	a := openUnwatched(t, newMaildir(t))
	kept := func() []string {
		files, err := filepath.Glob(filepath.Join(a.own, KeptDir, "cur", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	expunge := func() {
		appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted, imap.FlagFlagged, "Work")
		if err := selectBox(t, a, "INBOX", false).Expunge(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	expunge()
	if len(kept()) != 0 {
		t.Fatal("it is kept where nothing is")
	}
	a.SetKeep(time.Hour)
	expunge()
	files := kept()
	if len(files) != 1 {
		t.Fatalf("%d files are kept", len(files))
	}
	text, err := os.ReadFile(files[0])
	if err != nil || !bytes.Contains(text, []byte("Subject")) {
		t.Errorf("%q, %v", text, err)
	}
	notes, err := os.ReadFile(filepath.Join(a.own, KeptDir, KeptNotes))
	var n KeptNote
	if err != nil || json.Unmarshal(notes, &n) != nil || n.Name != filepath.Base(files[0]) || n.Mailbox != "INBOX" || n.Keywords != "Work" || n.Date == 0 {
		t.Errorf("%s, %v", notes, err)
	}
	if at, ok := KeptSince(n.Name); !ok || time.Since(at) > time.Minute {
		t.Errorf("kept since %v", at)
	}
	if limits, used, err := a.Quota(); err == nil {
		t.Errorf("there is a quota: %+v %+v", limits, used)
	}

	old := filepath.Join(a.own, KeptDir, "cur", "1000000000.1.x.host:2,S")
	if err := os.WriteFile(old, text, 0o600); err != nil {
		t.Fatal(err)
	}
	a.kept.swept = time.Time{}
	a.SetKeep(time.Hour)
	if got := kept(); len(got) != 1 || got[0] != files[0] {
		t.Errorf("kept are %v", got)
	}
	time.Sleep(1100 * time.Millisecond) // a second has to lie between
	a.SetKeep(0)
	if got := kept(); len(got) != 0 {
		t.Errorf("kept are still %v", got)
	}
}
