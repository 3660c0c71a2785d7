package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/maildir"
)

// TestOutsideRenamer has 20,000 messages whose flags another program changes as
// fast as it can, while mail is delivered and sessions work. No message may be
// lost, told as gone, or get another UID.
func TestOutsideRenamer(t *testing.T) {
	t.Parallel()
	n := 20_000
	if testing.Short() {
		n = 2000
	}
	testOutsideRenamer(t, n, &maildir.Ops{})
}

// TestOutsideRenamerJoined does so where no look is a snapshot.
func TestOutsideRenamerJoined(t *testing.T) {
	t.Parallel()
	testOutsideRenamer(t, 1000, &maildir.Ops{Joined: true})
}

func testOutsideRenamer(t *testing.T, n int, ops *maildir.Ops) {
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, newMaildir(t))
	for i := range n {
		put(t, filepath.Join(dir, "cur", fmt.Sprintf("%d.host:2,", i+1)), fmt.Sprintf("Subject: %d\n\n", i+1))
	}
	ctx, stop := context.WithCancel(context.Background())
	var outside sync.WaitGroup
	outside.Go(func() { renameAll(ctx, t, dir, n) })
	delivered := 0
	outside.Go(func() {
		for ; ctx.Err() == nil; delivered++ {
			deliver(t, dir, fmt.Sprintf("3000000000.d%d.host", delivered), fmt.Sprintf("Subject: d%d\n\n", delivered))
			time.Sleep(5 * time.Millisecond)
		}
	})
	a, err := Open(ctx, Options{Maildir: dir, ops: ops}) // first contact in the midst of it
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	v := selectBox(t, a, "INBOX", false)
	if v.Len() < n {
		t.Fatalf("first contact saw %d of %d messages", v.Len(), n)
	}
	var sessions sync.WaitGroup
	appended := make([]imap.UID, 30)
	sessions.Go(func() {
		for i := range appended {
			appended[i] = appendMessage(t, a, "INBOX", fmt.Sprintf("Subject: a%d\r\n\r\n", i))
		}
	})
	sessions.Go(func() { storeAll(t, a, n) })
	longest := time.Duration(0)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		start := time.Now()
		for _, u := range poll(t, v) {
			if u.Kind == UpdateExpunge {
				t.Errorf("message %d is told as gone", u.UID)
			}
		}
		longest = max(longest, time.Since(start))
	}
	sessions.Wait()
	stop()
	outside.Wait()
	t.Logf("the longest poll took %v", longest)
	if longest > 2*time.Minute { // less than one second; half a minute with the race detector on a busy machine
		t.Errorf("a poll took %v", longest)
	}
	poll(t, v)
	if ops.Joined {
		time.Sleep(missingWait)
	}
	poll(t, v)
	checkAll(t, v, n, delivered, appended)
}

// renameAll changes the flags of one message after the other.
func renameAll(ctx context.Context, t *testing.T, dir string, n int) {
	for round := 0; ; round++ {
		for i := range n {
			if ctx.Err() != nil {
				return
			}
			base := filepath.Join(dir, "cur", fmt.Sprintf("%d.host:2,", i+1))
			from, to := base, base+"S"
			if round%2 == 1 {
				from, to = to, from
			}
			// A session may have changed it; then it stays.
			if err := os.Rename(from, to); err != nil && !os.IsNotExist(err) {
				t.Error(err)
				return
			}
		}
	}
}

// storeAll changes flags of some messages as a session does.
func storeAll(t *testing.T, a *Account, n int) {
	v := selectBox(t, a, "INBOX", false)
	for i := range 20 {
		seq := SeqNum(1 + i*n/20)
		if err := v.Store(context.Background(), []SeqNum{seq}, StoreAdd, []imap.Flag{imap.FlagFlagged, "Work"}); err != nil {
			t.Errorf("store of %d: %v", seq, err)
		}
	}
}

// checkAll holds that every message is there once, under its first UID.
func checkAll(t *testing.T, v *View, n, delivered int, appended []imap.UID) {
	if want := n + delivered + len(appended); v.Len() != want {
		t.Fatalf("%d messages, want %d", v.Len(), want)
	}
	subjects := make(map[string]imap.UID)
	for i := SeqNum(1); int(i) <= v.Len(); i++ {
		if r := v.told.at(int(i) - 1); int(i) <= n && !strings.HasPrefix(r.base, fmt.Sprintf("%d.", i)) || int(r.uid) != int(i) {
			t.Fatalf("message %d is uid %d, %q", i, r.uid, r.base)
		}
		if int(i) > n || i%100 == 0 {
			subject := strings.TrimSpace(strings.TrimPrefix(read(t, v, i), "Subject: "))
			if subjects[subject] != 0 {
				t.Errorf("%q is there twice", subject)
			}
			subjects[subject] = v.UIDAt(i)
		}
	}
	for i := range delivered {
		if subjects[fmt.Sprint("d", i)] == 0 {
			t.Errorf("delivery %d is lost", i)
		}
	}
	for i, uid := range appended {
		if got := subjects[fmt.Sprint("a", i)]; got != uid {
			t.Errorf("appended message %d is uid %d, was %d", i, got, uid)
		}
	}
}

// TestExpungeAside has a mailbox end while an EXPUNGE of it waits for the disk: the EXPUNGE
// then drops no row of the next one, be that of another name or, put back from elsewhere,
// of the same.
func TestExpungeAside(t *testing.T) {
	for _, meanwhile := range []func(t *testing.T, a *Account) (next string){
		func(t *testing.T, a *Account) string {
			if err := a.Delete(context.Background(), "Foo"); err != nil {
				t.Error(err)
			}
			create(t, a, "Bar")
			appendMessage(t, a, "Bar", mail1, "$Label")
			return "Bar"
		},
		func(t *testing.T, a *Account) string {
			foo := filepath.Join(a.dir, ".Foo")
			if err := errors.Join(os.Rename(foo, foo+"-old"), os.Rename(filepath.Join(a.dir, "backup"), foo)); err != nil {
				t.Error(err)
			}
			return "Foo"
		},
	} {
		var a *Account
		var next string
		var want []string
		armed := false
		ops := &maildir.Ops{Trace: func(op maildir.Op) error {
			if armed && op.Call == "syncdir" && strings.HasSuffix(op.Path, ".Foo/cur") {
				armed = false
				next = meanwhile(t, a)
				want = lines(selectBox(t, a, next, false))
			}
			return nil
		}}
		dir := newMaildir(t)
		a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, ops: ops})
		if err != nil {
			t.Fatal(err)
		}
		create(t, a, "Foo")
		appendMessage(t, a, "Foo", mail1, imap.FlagDeleted, "$Label")
		copyTree(t, filepath.Join(dir, "backup"), filepath.Join(dir, ".Foo"))
		v := selectBox(t, a, "Foo", false)
		armed = true
		if err := v.Expunge(context.Background(), nil); err != nil || len(want) == 0 {
			t.Errorf("%v, %v", want, err)
		}
		if b := selectBox(t, a, next, true); next != "Foo" && b.mb.row.id == v.mb.row.id {
			t.Error("another mailbox has the same id")
		}
		v.Close()
		a = reopen(t, a)
		if diff := cmp.Diff(want, lines(selectBox(t, a, next, true))); diff != "" {
			t.Error(next, diff)
		}
		a.Close()
	}
}
