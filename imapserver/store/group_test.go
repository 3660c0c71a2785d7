package store

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/maildir"
)

// TestGroupCommit has fifty clients append to one mailbox, on a disk that takes
// its time for a sync, and counts: the message is each one's own, directory and
// index are synced for all who wait.
func TestGroupCommit(t *testing.T) {
	const clients, each = 50, 20
	var files, dirs, index atomic.Int64
	a := openWith(t, Options{Maildir: newMaildir(t), unwatched: true, ops: &maildir.Ops{Trace: func(op maildir.Op) error {
		switch {
		case op.Call == "syncdir" && filepath.Base(op.Path) == "cur":
			dirs.Add(1)
		case op.Call == "sync" && strings.HasSuffix(op.Path, "-wal"):
			index.Add(1)
		case op.Call == "sync":
			files.Add(1)
		default:
			return nil
		}
		time.Sleep(2 * time.Millisecond)
		return nil
	}}})
	if _, err := a.Status(context.Background(), "INBOX", false); err != nil {
		t.Fatal(err)
	}
	files.Store(0)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range each {
				if _, _, err := tryAppend(a, "INBOX", mail1, time.Time{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	const n = clients * each
	t.Logf("for each APPEND %.2f syncs of files, %.3f of the directory, %.3f of the index",
		float64(files.Load())/n, float64(dirs.Load())/n, float64(index.Load())/n)
	if files.Load() < n || dirs.Load() > 3*n/10 || index.Load() > 3*n/10 {
		t.Errorf("%d messages: %d syncs of files, %d of the directory, %d of the index", n, files.Load(), dirs.Load(), index.Load())
	}
}
