package store

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// keptFiles gives what is kept of an account.
func keptFiles(t *testing.T, a *Account) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(a.own, maildir.KeptDir, "cur", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sweep has an account look through what it keeps now and then some hours later, which is
// when what is due now goes.
func sweep(a *Account, life time.Duration) error {
	a.SetKeep(life)
	now := time.Now()
	err := os.Chtimes(filepath.Join(a.own, maildir.KeptDir, "new"), now, now)
	if err != nil {
		return err
	}
	a.kept.mu.Lock()
	defer a.kept.mu.Unlock()
	return a.sweepKept(now.Add(sweepPause))
}

// A clock that is ahead for a while ends nothing's time, and one that was behind no more
// than delays it.
func TestKeptClock(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	a.SetKeep(time.Hour)
	appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted)
	if err := selectBox(t, a, "INBOX", false).Expunge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, step := range []struct {
		clock time.Duration // from now
		left  int
	}{
		{0, 1},
		{365 * 24 * time.Hour, 1}, // ahead
		{time.Minute, 1},          // and right again
		{7 * time.Hour, 1},        // due, and seen to be
		{8 * time.Hour, 1},        // too soon after that
		{-365 * 24 * time.Hour, 1},
		{14 * time.Hour, 1},
		{21 * time.Hour, 0},
	} {
		a.kept.mu.Lock()
		err := a.sweepKept(now.Add(step.clock))
		a.kept.mu.Unlock()
		if left := len(keptFiles(t, a)); left != step.left || err != nil {
			t.Errorf("after %v %d messages are kept, not %d; %v", step.clock, left, step.left, err)
		}
	}
}

// TestKept keeps what is expunged, with where it was, for as long as was said then;
// where nothing is kept it is gone.
func TestKept(t *testing.T) {
	ctx := context.Background()
	a := openUnwatched(t, newMaildir(t))
	expunge := func() {
		appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted, imap.FlagFlagged, "Work")
		if err := selectBox(t, a, "INBOX", false).Expunge(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	expunge()
	if len(keptFiles(t, a)) != 0 {
		t.Fatal("it is kept where nothing is")
	}
	a.SetKeep(time.Hour)
	expunge()
	files := keptFiles(t, a)
	if len(files) != 1 {
		t.Fatalf("%d files are kept", len(files))
	}
	text, err := os.ReadFile(files[0])
	if err != nil || !bytes.Contains(text, []byte("Subject")) {
		t.Errorf("%q, %v", text, err)
	}
	at, until, ok := maildir.ParseKeptName(filepath.Base(files[0]))
	if !ok || time.Since(at) > time.Minute || until.Sub(at) != time.Hour {
		t.Errorf("%s: from %v until %v", files[0], at, until)
	}
	data, err := os.ReadFile(filepath.Join(a.own, maildir.KeptDir, maildir.KeptNotesFile(until)))
	if err != nil {
		t.Fatal(err)
	}
	var notes []maildir.KeptNote
	if err := maildir.ReadKeptNotes(bytes.NewReader(data), func(n maildir.KeptNote) { notes = append(notes, n) }); err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || notes[0].Name != filepath.Base(files[0]) || notes[0].Mailbox != "INBOX" || notes[0].Keywords != "Work" || notes[0].Date == 0 {
		t.Errorf("%s", data)
	}
	// What was promised holds, whatever is said later.
	for _, life := range []time.Duration{time.Second, 0} {
		if err := sweep(a, life); err != nil || len(keptFiles(t, a)) != 1 {
			t.Errorf("it is gone, since later ones are kept for %v", life)
		}
	}
	if used, err := maildir.CountAll(a.dir, a.ops); err != nil || used.Messages != 0 {
		t.Errorf("it counts for a quota: %+v, %v", used, err)
	}
}

// TestKeptEnds removes what has been kept for long enough, with its notes, and
// nothing else.
func TestKeptEnds(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	a.SetKeep(time.Hour)
	appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted)
	if err := selectBox(t, a, "INBOX", false).Expunge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(a.own, maildir.KeptDir)
	past := time.Now().Add(-50 * time.Hour)
	ended := map[string]bool{ // by path: whether it goes
		filepath.Join("cur", maildir.KeptName(past, past.Add(time.Hour), "1.a.host", ":2,S")):   true,
		filepath.Join("cur", maildir.KeptName(past, time.Now().Add(time.Hour), "2.a.host", "")): false,
		filepath.Join("cur", "somebody's"):       false,
		maildir.KeptNotesFile(past):              true,
		maildir.KeptNotesFile(time.Now()):        false,
		"somebody's.notes":                       false,
		filepath.Join("cur", "17.notes"):         false,
		maildir.KeptNotesFile(time.Time{}) + "x": false,
	}
	for name := range ended {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(a, time.Hour); err != nil {
		t.Fatal(err)
	}
	for name, gone := range ended {
		if _, err := os.Stat(filepath.Join(dir, name)); os.IsNotExist(err) != gone {
			t.Errorf("%s: gone should be %v: %v", name, gone, err)
		}
	}
}

// TestKeptLongName keeps a message whose file has the longest name that there may
// be, and two of one name.
func TestKeptLongName(t *testing.T) {
	dir := newMaildir(t)
	long := strings.Repeat("n", 250) + ":2,T"
	for _, sub := range []string{"cur/" + long, "cur/1.twice:2,T", "new/1.twice"} {
		if err := os.WriteFile(filepath.Join(dir, sub), []byte(mail1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := openUnwatched(t, dir)
	a.SetKeep(time.Hour)
	v := selectBox(t, a, "INBOX", false)
	for n := range SeqNum(v.Len()) {
		if err := v.Store(context.Background(), []SeqNum{n + 1}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
			t.Fatal(err)
		}
	}
	n := v.Len()
	if err := v.Expunge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if got := len(keptFiles(t, a)); got != n {
		t.Errorf("%d of %d are kept", got, n)
	}
}

// TestKeptSyncIsFinal: once what is kept could not be synced, nothing more is
// acknowledged until the account is opened anew.
func TestKeptSyncIsFinal(t *testing.T) {
	for _, path := range []string{"/" + maildir.KeptDir + "/cur", "/" + maildir.KeptDir, "/" + maildir.OwnDir} {
		fails := 1
		trace := func(op maildir.Op) error {
			if op.Call == "syncdir" && strings.HasSuffix(strings.TrimSuffix(op.Path, "/"), path) && fails > 0 {
				fails--
				return unix.EIO
			}
			return nil
		}
		dir := newMaildir(t)
		if err := os.Mkdir(filepath.Join(dir, maildir.OwnDir), 0o700); err != nil { // or its own sync is the one
			t.Fatal(err)
		}
		a, err := Open(t.Context(), Options{Maildir: dir, unwatched: true, ops: &maildir.Ops{Trace: trace}})
		if err != nil {
			t.Fatal(err)
		}
		appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted)
		appendMessage(t, a, "INBOX", mail1)
		a.SetKeep(time.Hour)
		v := selectBox(t, a, "INBOX", false)
		for try := range 2 {
			if err := v.Remove(t.Context(), SeqNum(2-try)); err == nil {
				t.Errorf("%s: acknowledged at try %d", path, try)
			}
		}
		if err := v.Store(t.Context(), []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err == nil {
			t.Errorf("%s: what is so already is acknowledged", path)
		}
		if fails != 0 {
			t.Errorf("%s is not synced", path)
		}
		a.Close()
	}
}

// TestKeptTornNote: what a power cut has torn of a note takes no other note along, and
// no note is too long.
func TestKeptTornNote(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	a.SetKeep(time.Hour)
	expunge := func() {
		t.Helper()
		appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted)
		if err := selectBox(t, a, "INBOX", false).Expunge(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	expunge()
	notes, err := filepath.Glob(filepath.Join(a.own, maildir.KeptDir, "*.notes"))
	if err != nil || len(notes) != 1 {
		t.Fatal(notes, err)
	}
	text, err := os.ReadFile(notes[0])
	if err != nil {
		t.Fatal(err)
	}
	a = reopen(t, a)
	torn := strings.Repeat("x", 100_000) + "\n" + string(text) + string(text[:10])
	if err := os.WriteFile(notes[0], []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	a.SetKeep(time.Hour)
	expunge()
	n := 0
	if text, err = os.ReadFile(notes[0]); err == nil {
		err = maildir.ReadKeptNotes(bytes.NewReader(text), func(maildir.KeptNote) { n++ })
	}
	if n != 2 || err != nil {
		t.Errorf("%d notes, %v", n, err)
	}
}
