package store

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// TestNoRoom has a disk without a free block: what is there can be marked and removed,
// all of it at once, in an account that was open and in one that is opened then.
func TestNoRoom(t *testing.T) {
	dir := newMaildir(t)
	const each = 3000
	for i := range 2 * each {
		put(t, filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1_1.host:2,", 1700000000+i, i)), mail1)
	}
	room := make(map[string]int64) // of files, once the disk is full: bytes
	own := filepath.Join(dir, maildir.OwnDir)
	fill := func() {
		for _, name := range []string{indexFile, indexFile + "-wal"} {
			var st unix.Stat_t
			unix.Stat(filepath.Join(own, name), &st) // or none, if it is not there
			room[filepath.Join(own, name)] = st.Blocks * 512
		}
	}
	watchSQLite(t, &sqliteWatch{root: own, before: func(op sqliteOp) error {
		if size, ok := room[op.path]; ok && op.call == "write" && op.offset+int64(len(op.data)) > size {
			return unix.ENOSPC
		}
		return nil
	}})
	ctx := context.Background()
	a := openUnwatched(t, dir)
	for _, left := range []int{each, 0} {
		v := selectBox(t, a, "INBOX", false)
		if left > 0 {
			fill() // the log is longer now than later
		}
		if err := v.Store(ctx, allSeqs(v)[:each], StoreAdd, []imap.Flag{imap.FlagDeleted, imap.FlagFlagged}); err != nil {
			t.Fatalf("store: %v", err)
		}
		for first := 1; first < 2*each; first += 500 { // each makes room for the next
			var uids imap.UIDSet
			uids.AddRange(imap.UID(first), imap.UID(first+499))
			if err := v.Expunge(ctx, uids); err != nil {
				t.Fatalf("expunge: %v", err)
			}
		}
		if poll(t, v); v.Len() != left {
			t.Fatalf("%d messages, want %d", v.Len(), left)
		}
		v.Close()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		fill()
		a = openUnwatched(t, dir)
	}
	if names := files(t, dir, "cur"); len(names) != 0 {
		t.Errorf("%d files", len(names))
	}
}

// TestNoRoomXFS is the same on XFS, which wants room for all that it is asked to set aside:
// less is free than the index is long.
func TestNoRoomXFS(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") == "" || os.Geteuid() != 0 {
		t.Skip("makes a file system: needs MAILSTEAD_E2E=1, and root")
	}
	image, disk := filepath.Join(t.TempDir(), "image"), t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("truncate", "-s", "400M", image)
	run("mkfs.xfs", "-q", image)
	run("mount", "-o", "loop", image, disk)
	t.Cleanup(func() { run("umount", disk) })
	dir := filepath.Join(disk, "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 {
		put(t, filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1_1.host:2,", 1700000000+i, i)), mail1)
	}
	open := func() (*Account, *View) {
		a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true})
		if err != nil {
			t.Fatal(err)
		}
		return a, selectBox(t, a, "INBOX", false)
	}
	a, v := open()
	v.Close()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	const free = 1 << 20
	var fs unix.Statfs_t
	for i := 0; ; i++ {
		if err := unix.Statfs(disk, &fs); err != nil {
			t.Fatal(err)
		}
		left := int64(fs.Bavail)*fs.Bsize - free
		if left < 16<<10 {
			break
		}
		run("fallocate", "-l", fmt.Sprint(max(16<<10, left/2)), filepath.Join(disk, fmt.Sprint("filler", i)))
	}
	a, v = open()
	if st, err := os.Stat(filepath.Join(dir, maildir.OwnDir, indexFile)); err != nil || st.Size() < free {
		t.Fatalf("%v, %v", st, err)
	}
	if err := v.Store(context.Background(), allSeqs(v)[:100], StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
		t.Error(err)
	}
	if err := v.Expunge(context.Background(), nil); err != nil {
		t.Error(err)
	}
	if poll(t, v); v.Len() != 19_900 {
		t.Errorf("%d messages", v.Len())
	}
	v.Close()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
