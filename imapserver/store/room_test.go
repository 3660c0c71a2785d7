package store

import (
	"context"
	"fmt"
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
