package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// TestRowsAhead looks at the index at the moments when it is not as the
// directories are: whoever starts from there must look at them.
func TestRowsAhead(t *testing.T) {
	dir := newMaildir(t)
	var a *Account
	seen := make(map[string]bool)
	moment := ""
	ops := &maildir.Ops{Trace: func(op maildir.Op) error {
		if moment == "" || op.Call != strings.Fields(moment)[0] || !strings.Contains(op.Path+op.To, "/cur") {
			return nil
		}
		seen[moment] = true
		return a.index.view(func(conn *sqlite.Conn) error {
			row, ok, err := findMailbox(conn, ".")
			if err != nil || !ok || row.curTime != 0 || row.newTime != 0 {
				t.Errorf("%s: times %d, %d are trusted; %v", moment, row.curTime, row.newTime, err)
			}
			return nil
		})
	}}
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, anyFile: true, ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	// settle has the directories trusted, and the index say so.
	settle := func() {
		time.Sleep(2 * clockTick)
		mb := selectBox(t, a, "INBOX", false).mb
		mb.mu.Lock()
		due := max(time.Until(mb.cur.due()), time.Until(mb.new.due()))
		mb.mu.Unlock()
		time.Sleep(due + clockTick) // a look that took long is not repeated soon
		v := selectBox(t, a, "INBOX", false)
		v.mb.mu.Lock()
		defer v.mb.mu.Unlock()
		row := v.mb.row
		if err := v.mb.write(&row, v.mb.snap.Load(), func(*sqlite.Conn) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if row.curTime == 0 || row.newTime == 0 {
			t.Fatalf("times %d, %d are not trusted", row.curTime, row.newTime)
		}
	}
	settle()
	moment = "rename of an append with keywords"
	appendMessage(t, a, "INBOX", mail1, "Work", imap.FlagDeleted)
	moment = ""
	settle()
	moment = "syncdir of an expunge"
	if err := selectBox(t, a, "INBOX", false).Expunge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	moment = ""
	if len(seen) != 2 {
		t.Errorf("seen were %v", seen)
	}
}

// TestCrashFirstContact kills the process at every call of a first contact, and
// right after: what was shown then stays.
func TestCrashFirstContact(t *testing.T) {
	t.Parallel()
	fixture := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, fixture, filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir"))
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, fixture)
	copies := fastDir(t)
	var mu sync.Mutex // Courier's files are written beside
	n, over := 0, false
	var done []int // how many mailboxes had been shown at each copy
	shown := crashState{boxes: make(map[string]crashBox)}
	snap := func(maildir.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return nil
		}
		n++
		done = append(done, len(shown.boxes))
		to := filepath.Join(copies, fmt.Sprint(n), "Maildir")
		err := copyDir(to, dir)
		for errors.Is(err, fs.ErrNotExist) { // what was let go on before has renamed a file meanwhile
			err = errors.Join(os.RemoveAll(to), copyDir(to, dir))
		}
		if err != nil {
			t.Error(err)
		}
		return nil
	}
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, anyFile: true, ops: &maildir.Ops{Trace: snap}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	boxes := []string{"INBOX", "Never", "Sent"}
	for _, name := range boxes {
		box := observeBox(t, a, name)
		mu.Lock()
		shown.boxes[name] = box
		mu.Unlock()
	}
	snap(maildir.Op{})
	mu.Lock()
	over = true
	mu.Unlock()
	for i := range n {
		at := filepath.Join(copies, fmt.Sprint(i+1), "Maildir")
		b, err := Open(context.Background(), Options{Maildir: at, unwatched: true})
		if err != nil {
			t.Errorf("copy %d: %v", i, err)
			continue
		}
		for k, name := range boxes {
			got, want := observeBox(t, b, name), shown.boxes[name]
			if len(got.messages) != len(want.messages) {
				t.Errorf("copy %d of %d: %s has %d messages, want %d", i, n, name, len(got.messages), len(want.messages))
			}
			if k >= done[i] {
				continue // no one has seen its UIDs
			}
			if err := sameBox(got, want); err != nil {
				t.Errorf("copy %d of %d: %s: %v", i, n, name, err)
			}
		}
		b.Close()
	}
	if n < 5 {
		t.Errorf("%d copies", n)
	}
}

// TestKilledAhead kills a process that has written the rows of messages, and has placed the
// first of two. The other never was: that it is not there is nobody's doing.
func TestKilledAhead(t *testing.T) {
	dir, killed := newMaildir(t), filepath.Join(t.TempDir(), "Maildir")
	placed := 0
	ops := &maildir.Ops{Trace: func(op maildir.Op) error {
		if op.Call == "link" {
			if placed++; placed == 2 {
				copyTree(t, killed, dir)
			}
		}
		return nil
	}}
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	create(t, a, "Box")
	appendMessage(t, a, "INBOX", mail1, "$Label")
	appendMessage(t, a, "INBOX", mail2, "$Label")
	v := selectBox(t, a, "INBOX", false)
	if _, err := v.Copy(context.Background(), allSeqs(v), here(v, "Box")); err != nil || placed != 2 {
		t.Fatal(placed, err)
	}
	var lost []imap.UID
	b, err := Open(context.Background(), Options{Maildir: killed, unwatched: true, Lost: func(_ string, uids []imap.UID) { lost = append(lost, uids...) }})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	v = selectBox(t, b, "Box", false)
	if diff := cmp.Diff([]string{"1 $Label"}, lines(v)); diff != "" || lost != nil {
		t.Errorf("told as removed: %d; %s", lost, diff)
	}
	for _, name := range files(t, killed, ".Box", "cur") {
		if err := os.Remove(filepath.Join(killed, ".Box", "cur", name)); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, v)
	if diff := cmp.Diff([]imap.UID{1}, lost); diff != "" {
		t.Error("of what another program does remove:", diff)
	}
}
