package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// indexWrite is the call by which SQLite writes the index.
const indexWrite = "write index"

// crashFaults are what calls fail with.
var crashFaults = []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EMFILE, unix.ENOMEM, unix.EINTR, unix.EACCES, unix.EROFS}

// TestFaults fails every call of every command in turn, SQLite's writes to the index among them: once, and from then on
// until the command is over; with every fault if MAILSTEAD_CRASH is set, else with
// one each. The command may fail; no message may be lost, no UID be given twice, and
// what the session then sees is what a new one sees.
func TestFaults(t *testing.T) {
	t.Parallel()
	template := crashTemplate(t)
	for i, cmd := range slices.Concat(crashCommands, named("keep-expunge", "keep-expunge-anew")) {
		if testing.Short() && i%3 > 0 {
			continue
		}
		after, err := faultTruth(t, template, cmd)
		if err != nil {
			t.Errorf("%s: %v", cmd.name, err)
			continue
		}
		for _, fault := range crashFaults {
			for _, sticky := range []bool{false, true} {
				if os.Getenv("MAILSTEAD_CRASH") == "" && (fault != unix.EIO || sticky) && (fault != unix.ENOSPC || !sticky || testing.Short()) {
					continue
				}
				for hit, k := true, 1; hit; k++ {
					var err error
					if hit, err = faultRun(t, template, cmd, after, fault, k, sticky); err != nil {
						t.Errorf("%s, call %d, %v, from then on %v: %v", cmd.name, k, fault, sticky, err)
					}
				}
			}
		}
	}
}

// faultRun runs a command, which is to lead to after, with call k failing. It tells whether there was such
// a call, and what is wrong after.
func faultRun(t *testing.T, template string, cmd crashCommand, after crashState, fault error, k int, sticky bool) (hit bool, err error) {
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, template)
	defer os.RemoveAll(dir)
	var armed atomic.Bool
	calls := 0
	var failed maildir.Op
	trace := func(op maildir.Op) error {
		if !armed.Load() {
			return nil
		}
		if cmd.anew && otherDevice(op) != nil {
			return otherDevice(op)
		}
		calls++
		// Where there is no room for the index, names can still be taken back.
		if calls == k || sticky && calls > k && (failed.Call != indexWrite || op.Call == indexWrite) {
			if calls == k {
				failed = op
			}
			return fault
		}
		return nil
	}
	ops := &maildir.Ops{Trace: trace}
	w := &sqliteWatch{root: dir, before: func(op sqliteOp) error {
		if op.call != "write" || !strings.Contains(op.path, "/"+indexFile) {
			return nil
		}
		return trace(maildir.Op{Call: indexWrite, Path: op.path})
	}}
	watchSQLite(t, w)
	defer unwatchSQLite(w)
	r := &crashRun{t: t, ctx: context.Background()}
	if r.a, err = Open(r.ctx, Options{Maildir: dir, unwatched: true, ops: ops}); err != nil {
		return false, err
	}
	r.v = selectBox(t, r.a, "INBOX", false)
	before := observe(t, r.a)
	armed.Store(true)
	cmdErr := cmd.run(r)
	armed.Store(false)
	hit = calls >= k
	if !hit && cmdErr != nil {
		return hit, fmt.Errorf("without a fault: %w", cmdErr)
	}
	describe := func(err error) error {
		return fmt.Errorf("%s %s failed, the command said %v: %w", failed.Call, failed.Path, cmdErr, err)
	}
	if cmdErr == nil {
		before = anyValidity(after, before)
	}
	if r.a.index.failed == nil {
		live := observe(t, r.a)
		if err := crashCompare(live, before, after); err != nil {
			return hit, describe(err)
		}
		before = seen(before, live)
	}
	r.v.Close()
	if err := r.a.Close(); err != nil && r.a.index.failed == nil {
		return hit, describe(err)
	}
	if err := crashCheck(t, Options{Maildir: dir, unwatched: true}, crashCompare, before, after); err != nil {
		return hit, describe(fmt.Errorf("opened anew: %w", err))
	}
	return hit, nil
}

// seen adds to what must stay the counters that a live session has seen.
func seen(before, live crashState) crashState {
	for name, b := range before.boxes {
		if l, ok := live.boxes[name]; ok {
			b.next, b.modseq, b.validity = max(b.next, l.next), max(b.modseq, l.modseq), l.validity
			before.boxes[name] = b
		}
	}
	return before
}

// anyValidity gives a state that another account was led to, in which mailboxes
// that are new have a UIDVALIDITY of their own.
func anyValidity(s, old crashState) crashState {
	boxes := make(map[string]crashBox)
	for name, b := range s.boxes {
		if _, ok := old.boxes[name]; !ok {
			b.validity = 0
		}
		boxes[name] = b
	}
	s.boxes = boxes
	return s
}

// faultTruth gives what a command leads to where nothing fails.
func faultTruth(t *testing.T, template string, cmd crashCommand) (crashState, error) {
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, template)
	defer os.RemoveAll(dir)
	r := &crashRun{t: t, ctx: context.Background()}
	var err error
	if r.a, err = Open(r.ctx, Options{Maildir: dir, unwatched: true}); err != nil {
		return crashState{}, err
	}
	defer r.a.Close()
	r.v = selectBox(t, r.a, "INBOX", false)
	defer r.v.Close()
	if err := cmd.run(r); err != nil {
		return crashState{}, err
	}
	return observe(t, r.a), nil
}

// TestIndexFull has no room left for the index: commands say so, nothing is
// half done, what is there is served on, and EXPUNGE makes room.
func TestIndexFull(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	ctx := context.Background()
	create(t, a, "Box")
	v := selectBox(t, a, "INBOX", false)
	limit := func(pages string) {
		err := a.index.view(func(conn *sqlite.Conn) error {
			n, err := pragmaInt(conn, "PRAGMA page_count")
			if err == nil {
				_, err = pragmaInt(conn, fmt.Sprintf("PRAGMA max_page_count=%d%s", n, pages))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit("")
	n := 0
	var err error
	for ; err == nil; n++ {
		if n == 1000 {
			t.Fatal("the index does not get full")
		}
		_, _, err = tryAppend(a, "INBOX", mail1, time.Time{}, imap.FlagDeleted)
	}
	n--
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("append: %v", err)
	}
	if left := append(files(t, dir, "cur"), files(t, dir, "tmp")...); len(left) != n {
		t.Errorf("%d files, want %d", len(left), n)
	}
	deliver(t, dir, "1."+strings.Repeat("x", 150), "a: b\n\n") // a longer row than those that did not fit
	poll(t, v)
	if v.Len() != n || read(t, v, 1) != mail1 {
		t.Errorf("%d messages, want %d", v.Len(), n)
	}
	if _, err := v.Copy(ctx, allSeqs(v), here(v, "Box")); !errors.Is(err, ErrNoSpace) {
		t.Errorf("copy: %v", err)
	}
	if _, err := v.Move(ctx, allSeqs(v), here(v, "Box")); !errors.Is(err, ErrNoSpace) {
		t.Errorf("move: %v", err)
	}
	poll(t, v)
	if got := files(t, dir, ".Box", "cur"); v.Len() != n || len(got) != 0 {
		t.Errorf("%d messages, want %d; %q in Box", v.Len(), n, got)
	}
	for i := range 100 { // the room for a mailbox is smaller than for any message here
		name := fmt.Sprint(strings.Repeat("long ", 40), i)
		if err := a.Create(ctx, name); err == nil {
			continue
		} else if !errors.Is(err, ErrNoSpace) || a.Exists(ctx, name) {
			t.Errorf("create: %v, and it is there: %v", err, a.Exists(ctx, name))
		}
		break
	}
	if err := v.Expunge(ctx, nil); err != nil {
		t.Errorf("expunge: %v", err)
	}
	poll(t, v)
	if v.Len() != 1 {
		t.Errorf("%d messages, want the one that was delivered", v.Len())
	}
	appendMessage(t, a, "INBOX", mail1)
}

// TestStrayRow has a copy fail whose row has been written ahead, for as long as the row
// cannot be dropped either. The message that then gets its UID has nothing of it.
func TestStrayRow(t *testing.T) {
	dir := newMaildir(t)
	var failing atomic.Bool
	watchSQLite(t, &sqliteWatch{root: dir, before: func(op sqliteOp) error {
		if failing.Load() && op.call == "write" {
			return unix.EIO
		}
		return nil
	}})
	ops := &maildir.Ops{Trace: func(op maildir.Op) error {
		if op.Call == "link" {
			failing.Store(true)
		}
		return nil
	}}
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	appendMessage(t, a, "INBOX", mail1, "$Label")
	create(t, a, "Box")
	v := selectBox(t, a, "INBOX", false)
	if _, err := v.Copy(context.Background(), allSeqs(v), here(v, "Box")); err == nil {
		t.Fatal("the copy was made")
	}
	failing.Store(false)
	appendMessage(t, a, "Box", "Subject: another\r\n\r\nbody\r\n")
	b := selectBox(t, a, "Box", false)
	from, err := v.Arrival(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Arrival(context.Background(), 1); err != nil || got.EmailID == from.EmailID {
		t.Errorf("%v, %v: that is the EMAILID of the message that was to be copied", got, err)
	}
}

// TestUnburied has the index fail where an EXPUNGE notes what is gone, and no more. A client
// that was not there is told of it all the same, and nobody that another program did it.
func TestUnburied(t *testing.T) {
	for _, look := range []bool{true, false} {
		dir := newMaildir(t)
		var armed, failing atomic.Bool
		watchSQLite(t, &sqliteWatch{root: dir, before: func(op sqliteOp) error {
			if op.call == "write" && failing.Swap(false) {
				return unix.EIO
			}
			return nil
		}})
		ops := &maildir.Ops{Trace: func(op maildir.Op) error {
			if op.Call == "unlink" && armed.Swap(false) {
				failing.Store(true)
			}
			return nil
		}}
		lost := func(_ string, uids []imap.UID) { t.Errorf("%d are told as removed by another program", uids) }
		a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, ops: ops, Lost: lost})
		if err != nil {
			t.Fatal(err)
		}
		appendMessage(t, a, "INBOX", mail1)
		appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted)
		v := selectBox(t, a, "INBOX", false)
		since := v.HighestModSeq()
		armed.Store(true)
		if err := v.Expunge(context.Background(), nil); err == nil {
			t.Error("the expunge says that all went well")
		}
		if look {
			poll(t, v)
		}
		v.Close()
		v = selectBox(t, reopen(t, a), "INBOX", true)
		gone, err := v.Vanished(v.Since(since), Known{})
		if err != nil || gone.String() != "2" || v.Len() != 1 {
			t.Errorf("vanished %v, want 2; %d messages, %v", gone, v.Len(), err)
		}
	}
}
