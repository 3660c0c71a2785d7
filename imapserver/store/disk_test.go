package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// TestUnwritten opens an index as on a disk that cannot be written, with its log as a
// kill leaves it, and without: all is there, and nothing is written.
func TestUnwritten(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	create(t, a, "Box")
	killed := filepath.Join(t.TempDir(), "a dir?#%")
	copyTree(t, killed, filepath.Join(dir, "mailstead"))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{killed, filepath.Join(dir, "mailstead")} {
		before := fmt.Sprint(os.ReadDir(own))
		conn, err := openUnwritten(filepath.Join(own, indexFile), &indexForm)
		if err != nil {
			t.Fatalf("%s: %v", own, err)
		}
		row, ok, err := findMailbox(conn, ".Box")
		if err != nil || !ok {
			t.Errorf("%s: the mailbox is there: %v, %v", own, ok, err)
		}
		if err := putMailbox(conn, &row); sqlite.ErrCode(err).ToPrimary() != sqlite.ResultReadOnly {
			t.Errorf("%s: written: %v", own, err)
		}
		conn.Close()
		if after := fmt.Sprint(os.ReadDir(own)); after != before {
			t.Errorf("%s has %s, had %s", own, after, before)
		}
	}
}

// TestDiskUnwritten has an index that cannot be written for a while: what is refused is
// not done, mail is read on though others have renamed it, and then all goes on.
func TestDiskUnwritten(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	ctx := context.Background()
	appendMessage(t, a, "INBOX", mail1)
	appendMessage(t, a, "INBOX", mail2)
	v := selectBox(t, a, "INBOX", false)
	if err := a.SetQuota(Limits{Messages: 9}); err != nil {
		t.Fatal(err)
	}
	_, used, _ := a.Quota()
	before := files(t, dir, "cur")
	a.index.unwritten = diskError(unix.EROFS)
	if err := v.Store(ctx, allSeqs(v), StoreAdd, []imap.Flag{imap.FlagDeleted}); !errors.Is(err, ErrDisk) {
		t.Errorf("store: %v", err)
	}
	wantUsage(t, a, used.Octets, used.Messages)
	if after := files(t, dir, "cur"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a STORE that was refused: %q, before %q", after, before)
	}
	cur := filepath.Join(dir, "cur")
	if err := os.Rename(filepath.Join(cur, before[0]), filepath.Join(cur, before[0]+"R")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, v, 1); got != mail1 {
		t.Errorf("renamed by another program, the message reads %q", got)
	}
	a.index.unwritten = nil
	if err := v.Store(ctx, allSeqs(v), StoreAdd, []imap.Flag{imap.FlagFlagged}); err != nil {
		t.Error(err)
	}
}

// TestCopyUnsynced: a fsync that has failed may have dropped what it was to write, and the
// next one of the same file says nothing of that. So a COPY of what another program has
// left unsynced is not tried again.
func TestCopyUnsynced(t *testing.T) {
	dir := newMaildir(t)
	broken := false
	a, err := Open(t.Context(), Options{Maildir: dir, unwatched: true, ops: &maildir.Ops{Trace: func(op maildir.Op) error {
		if broken && op.Call == "sync" && filepath.Base(filepath.Dir(op.Path)) == "cur" {
			return unix.EIO
		}
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Create(t.Context(), "Box"); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "cur", "1700000008.unsynced.host:2,"), mail1)
	v := selectBox(t, a, "INBOX", false)
	broken = true
	if _, err := v.Copy(t.Context(), allSeqs(v), here(v, "Box")); !errors.Is(err, unix.EIO) {
		t.Fatalf("the copy of what cannot be synced: %v", err)
	}
	broken = false
	if _, err := v.Copy(t.Context(), allSeqs(v), here(v, "Box")); err == nil {
		t.Error("the account goes on, and says that it is copied")
	}
}

// TestReplaced has another Maildir in the place of one that is open, as an older one that
// is restored from a backup: the account is ended, has changed nothing of it, and opened
// anew it has what was restored.
func TestReplaced(t *testing.T) {
	restored := newMaildir(t)
	a := openUnwatched(t, restored)
	appendMessage(t, a, "INBOX", mail1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for what, replace := range map[string]func(dir string) error{
		"moved aside": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".bad"), os.Rename(dir+".backup", dir))
		},
		"removed": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Rename(dir+".backup", dir)) },
		"removed, and the inode is taken again": func(dir string) error {
			return errors.Join(os.RemoveAll(dir), maildir.MakeTree(dir, false), os.RemoveAll(filepath.Join(dir, "cur")),
				os.Rename(filepath.Join(dir+".backup", "cur"), filepath.Join(dir, "cur")))
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "Maildir")
			copyTree(t, dir, restored)
			copyTree(t, dir+".backup", restored)
			broken := 0
			a, err := Open(t.Context(), Options{Maildir: dir, unwatched: true, Broken: func() { broken++ }})
			if err != nil {
				t.Fatal(err)
			}
			if err := replace(dir); err != nil {
				t.Fatal(err)
			}
			before := treeNames(t, dir)
			if _, uid, err := tryAppend(a, "INBOX", mail1, time.Time{}); !errors.Is(err, ErrDisk) || broken != 1 {
				t.Errorf("append: uid %d, %v; broken %d times", uid, err, broken)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if after := treeNames(t, dir); !slices.Equal(after, before) {
				t.Errorf("there is %q, and was %q", after, before)
			}
			v := selectBox(t, openUnwatched(t, dir), "INBOX", false)
			if v.Len() != 1 || read(t, v, 1) != mail1 {
				t.Errorf("%d messages after the restore", v.Len())
			}
		})
	}
}

// TestRemoved: the account ends whose Maildir is gone, so that a user who comes back is not
// shown what was there, and nothing of it is made again.
func TestRemoved(t *testing.T) {
	dir := newMaildir(t)
	broken := make(chan struct{})
	a, err := Open(t.Context(), Options{Maildir: dir, Broken: func() { close(broken) }})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // of which the kernel tells
		appendMessage(t, a, "INBOX", mail1)
	}
	selectBox(t, a, "INBOX", false)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	select {
	case <-broken: // with nobody asking
	case <-time.After(10 * time.Second):
		t.Error("it is still open")
	}
	if _, err := a.Select(t.Context(), "INBOX", false); !errors.Is(err, ErrDisk) {
		t.Errorf("select: %v", err)
	}
	a.Close()
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is made again: %v", err)
	}
}

// treeNames gives all that is below a directory.
func treeNames(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTempsOfAKill: what a killed process has left of files of ours goes once it is old,
// and nothing else does.
func TestTempsOfAKill(t *testing.T) {
	dir := newMaildir(t)
	own := filepath.Join(dir, maildir.OwnDir)
	a := openUnwatched(t, dir)
	create(t, a, "Box")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	box := filepath.Join(dir, ".Box")
	left := map[string]bool{
		filepath.Join(box, courierUIDNext+".4711.0.tmp"):            false,
		filepath.Join(box, maildir.ACLFile+".4711.0.tmp"):           false,
		filepath.Join(box, courierUIDNext+".4711.0.bak"):            true,
		filepath.Join(dir, maildir.SubscriptionsFile+".4711.0.tmp"): false,
		filepath.Join(own, maildir.SpecialUseFile+".4711.12.tmp"):   false,
		filepath.Join(dir, "notes.4711.0.tmp"):                      true,
		filepath.Join(dir, maildir.SubscriptionsFile+".old.0.tmp"):  true,
		filepath.Join(dir, maildir.SubscriptionsFile+".4711.0.bak"): true,
		filepath.Join(dir, maildir.SubscriptionsFile):               true,
	}
	old := time.Now().Add(-48 * time.Hour)
	for path := range left {
		put(t, path, "INBOX\n")
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	young := filepath.Join(dir, maildir.SubscriptionsFile+".4711.1.tmp")
	put(t, young, "INBOX\n")
	left[young] = true
	selectBox(t, openUnwatched(t, dir), "Box", true)
	for path, want := range left {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}
