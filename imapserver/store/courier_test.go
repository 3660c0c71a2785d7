package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/maildir"
)

// readUIDs reads what Courier would know of a mailbox.
func readUIDs(t *testing.T, box string) maildir.UIDDB {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(box, maildir.UIDDBFile))
	if err != nil {
		t.Fatal(err)
	}
	db, err := maildir.ParseUIDDB(data)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// sameUIDs compares it with what a view has.
func sameUIDs(t *testing.T, db maildir.UIDDB, v *View) {
	t.Helper()
	var want []maildir.UIDDBMessage
	v.mb.snap.Load().all(func(r *record) bool {
		want = append(want, maildir.UIDDBMessage{UID: uint32(r.uid), Base: r.base})
		return true
	})
	if diff := cmp.Diff(want, db.Messages); diff != "" || db.Validity != v.UIDValidity() {
		t.Errorf("uidvalidity %d, want %d %s", db.Validity, v.UIDValidity(), diff)
	}
}

// TestCourierFollows: Courier's files follow what changes, a while after it,
// with a next UID that is ahead; when the account is closed, they are exact.
func TestCourierFollows(t *testing.T) {
	dir := filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir")
	sizes, err := os.ReadFile(filepath.Join(dir, "courierpop3dsizelist"))
	if err != nil {
		t.Fatal(err)
	}
	a := openWith(t, Options{Maildir: dir, courierDelay: 10 * time.Millisecond})
	v := selectBox(t, a, "INBOX", false)
	given := appendMessage(t, a, "INBOX", mail1, "Fresh")
	poll(t, v)
	create(t, a, "Made")
	box := filepath.Join(dir, ".Made")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(filepath.Join(box, maildir.UIDDBFile))
		if db := readUIDs(t, dir); db.Ours && db.Next > uint32(given)+500 && err == nil {
			sameUIDs(t, db, v)
			break
		}
		if time.Now().After(end) {
			t.Fatalf("Courier's files have not followed: %v", err)
		}
	}
	next := v.UIDNext()
	base := v.mb.snap.Load().find(given).base
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if db := readUIDs(t, dir); db.Ours || db.Next != uint32(next) {
		t.Errorf("left behind are uidnext %d, ours %v; want %d", db.Next, db.Ours, next)
	}
	if db := readUIDs(t, box); db.Ours || db.Next != 1 {
		t.Errorf("left behind in a new mailbox: %+v", db)
	}
	list, err := os.ReadFile(filepath.Join(dir, maildir.KeywordsDir, maildir.KeywordsList))
	if got := maildir.ParseKeywords(list)[base]; err != nil || !slices.Equal(got, []string{"Fresh"}) {
		t.Errorf("keywords are %q, %v", got, err)
	}
	if left := files(t, dir, maildir.KeywordsDir); len(left) != 1 {
		t.Errorf("beside :list there are %q", left)
	}
	if now, err := os.ReadFile(filepath.Join(dir, "courierpop3dsizelist")); err != nil || string(now) != string(sizes) {
		t.Errorf("courierpop3dsizelist has changed, %v", err)
	}
}

// TestCourierInProportion: what Courier's files do not show does not write them.
func TestCourierInProportion(t *testing.T) {
	dir := newMaildir(t)
	a := openWith(t, Options{Maildir: dir, Courier: true})
	appendMessage(t, a, "INBOX", mail1, "Work")
	a = reopen(t, a)
	written := func() (times [2]int64) {
		return [2]int64{dirTime(filepath.Join(dir, maildir.UIDDBFile)), dirTime(filepath.Join(dir, maildir.KeywordsDir))}
	}
	before := written()
	v := selectBox(t, a, "INBOX", false)
	if err := v.Store(t.Context(), []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagSeen}); err != nil {
		t.Fatal(err)
	}
	a = reopen(t, a)
	if after := written(); after != before {
		t.Errorf("a flag has written Courier's files: %v, were %v", after, before)
	}
	v = selectBox(t, a, "INBOX", false)
	if err := v.Store(t.Context(), []SeqNum{1}, StoreAdd, []imap.Flag{"More"}); err != nil {
		t.Fatal(err)
	}
	reopen(t, a)
	if after := written(); after[0] != before[0] || after[1] == before[1] {
		t.Errorf("a keyword has written %v, were %v", after, before)
	}
}

// TestCourierNotKept: a tree in which Courier never was gets none of its files,
// unless that is asked for; then it has them from that day on.
func TestCourierNotKept(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	appendMessage(t, a, "INBOX", mail1)
	a = reopen(t, a)
	if _, err := os.Stat(filepath.Join(dir, maildir.UIDDBFile)); err == nil {
		t.Error("Courier's file is made in a tree of ours")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = openWith(t, Options{Maildir: dir, Courier: true})
	if _, err := a.Handback(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	a = reopen(t, a)
	sameUIDs(t, readUIDs(t, dir), selectBox(t, a, "INBOX", false))
	appendMessage(t, a, "INBOX", mail1)
	reopen(t, a)
	if db := readUIDs(t, dir); len(db.Messages) != 2 || db.Next != 3 {
		t.Errorf("Courier's file is not kept after a handback: %+v", db)
	}
}

// TestCourierAfterCrash: we die before Courier's file says which UIDs we gave,
// Courier goes on from that file, and comes to give the same ones. No message
// then has a UID that another one had.
func TestCourierAfterCrash(t *testing.T) {
	dir := newMaildir(t)
	a := openWith(t, Options{Maildir: dir, Courier: true, unwatched: true})
	appendMessage(t, a, "INBOX", mail1, "Old")
	a = reopen(t, a)
	db := readUIDs(t, dir)
	ours := appendMessage(t, a, "INBOX", mail1, "Ours")
	crashed := filepath.Join(t.TempDir(), "Maildir")
	copyTree(t, crashed, dir)
	db.Messages = append(db.Messages, maildir.UIDDBMessage{UID: uint32(ours), Base: "1.courier"})
	deliver(t, crashed, "1.courier", "Subject: Courier's\n\nx\n")
	db.Next += 5 // others came and went
	if err := os.WriteFile(filepath.Join(crashed, maildir.UIDDBFile), maildir.EncodeUIDDB(db), 0o600); err != nil {
		t.Fatal(err)
	}
	b := openWith(t, Options{Maildir: crashed, unwatched: true})
	v := selectBox(t, b, "INBOX", false)
	if got := lines(v); len(got) != 3 || got[0] != "1 Old" || got[1] != fmt.Sprint(ours) || !strings.HasSuffix(got[2], " Ours") {
		t.Errorf("messages are %q", got)
	}
	if uid := v.UIDAt(3); uid < imap.UID(db.Next) {
		t.Errorf("uid %d may have been given by Courier", uid)
	}
	if got := read(t, v, 2); got != "Subject: Courier's\r\n\r\nx\r\n" {
		t.Errorf("the message with the UID that Courier gave is %q", got)
	}
}

// TestCourierRestored: a courierimapuiddb from a backup brings nothing back.
func TestCourierRestored(t *testing.T) {
	dir := newMaildir(t)
	a := openWith(t, Options{Maildir: dir, Courier: true})
	appendMessage(t, a, "INBOX", mail1)
	a = reopen(t, a)
	backup, err := os.ReadFile(filepath.Join(dir, maildir.UIDDBFile))
	if err != nil {
		t.Fatal(err)
	}
	v := selectBox(t, a, "INBOX", false)
	given := appendMessage(t, a, "INBOX", mail1)
	poll(t, v)
	before := lines(v)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, maildir.UIDDBFile), backup, 0o600); err != nil {
		t.Fatal(err)
	}
	a = openAccount(t, dir)
	if diff := cmp.Diff(before, lines(selectBox(t, a, "INBOX", false))); diff != "" {
		t.Error(diff)
	}
	if uid := appendMessage(t, a, "INBOX", mail1); uid <= given {
		t.Errorf("uid %d was given before", uid)
	}
	reopen(t, a)
	if db := readUIDs(t, dir); len(db.Messages) != 3 {
		t.Errorf("Courier's file is left as it was restored: %+v", db)
	}
}

// TestCourierManyBoxes: mailboxes that are let go of are right in the end.
func TestCourierManyBoxes(t *testing.T) {
	dir := newMaildir(t)
	a := openWith(t, Options{Maildir: dir, Courier: true})
	for i := range 3 * maxIdleMailboxes {
		name := fmt.Sprint("b", i)
		create(t, a, name)
		appendMessage(t, a, name, mail1, "Work")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxIdleMailboxes {
		box := filepath.Join(dir, fmt.Sprint(".b", i))
		if db := readUIDs(t, box); db.Ours || db.Next != 2 || len(db.Messages) != 1 {
			t.Errorf("%s: %+v", box, db)
		}
	}
}

// TestCourierAnew: Courier gives a mailbox a new UIDVALIDITY, as it does when it
// renames it away and makes another one.
func TestCourierAnew(t *testing.T) {
	dir := newMaildir(t)
	a := openWith(t, Options{Maildir: dir, Courier: true})
	create(t, a, "Box")
	appendMessage(t, a, "Box", mail1, "Old")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	box := filepath.Join(dir, ".Box")
	if err := os.RemoveAll(box); err != nil {
		t.Fatal(err)
	}
	if err := maildir.MakeTree(box, true); err != nil {
		t.Fatal(err)
	}
	deliver(t, box, "1.new", "Subject: new\n\nx\n")
	anew := maildir.UIDDB{Validity: 795000000, Next: 8, Messages: []maildir.UIDDBMessage{{UID: 7, Base: "1.new"}}}
	if err := os.WriteFile(filepath.Join(box, maildir.UIDDBFile), maildir.EncodeUIDDB(anew), 0o600); err != nil {
		t.Fatal(err)
	}
	a = openAccount(t, dir)
	st, err := a.Status(context.Background(), "Box", false)
	if err != nil || st.UIDValidity != 795000000 || st.UIDNext != 8 {
		t.Errorf("%+v, %v", st, err)
	}
	if diff := cmp.Diff([]string{"7"}, lines(selectBox(t, a, "Box", false))); diff != "" {
		t.Error(diff)
	}
}

// TestCourierCrash kills the process at every call while Courier's files are
// written: what was shown stays, and Courier would give none of the UIDs again.
func TestCourierCrash(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir"))
	copies := fastDir(t)
	n := 0
	var given []imap.UID // at each copy
	var uid imap.UID
	var mu sync.Mutex // two syncs may be made at once
	ops := &maildir.Ops{Trace: func(maildir.Op) error {
		mu.Lock()
		defer mu.Unlock()
		n++
		given = append(given, uid)
		copyTree(t, filepath.Join(copies, fmt.Sprint(n), "Maildir"), dir)
		return nil
	}}
	a, err := Open(t.Context(), Options{Maildir: dir, unwatched: true, ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	a.keeper.close() // one call at a time
	for range 3 {
		uid = appendMessage(t, a, "Sent", mail1, "Work")
		v := selectBox(t, a, "Sent", false)
		if err := v.mb.writeCourier(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		v.Close()
	}
	want := observeBox(t, a, "Sent")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for i, uid := range given {
		at := filepath.Join(copies, fmt.Sprint(i+1), "Maildir")
		if db := readUIDs(t, filepath.Join(at, ".Sent")); db.Ours && db.Next <= uint32(uid) {
			t.Errorf("copy %d of %d: Courier would go on with %d, and %d is given", i, n, db.Next, uid)
		}
		b, err := Open(t.Context(), Options{Maildir: at, unwatched: true})
		if err != nil {
			t.Errorf("copy %d of %d: %v", i, n, err)
			continue
		}
		got := observeBox(t, b, "Sent")
		for u, m := range want.messages {
			if u > uid {
				continue // not shown yet
			}
			if diff := cmp.Diff(fmt.Sprint(m), fmt.Sprint(got.messages[u])); diff != "" {
				t.Errorf("copy %d of %d: uid %d: %s", i, n, u, diff)
			}
		}
		b.Close()
	}
	if n < 20 {
		t.Errorf("%d copies", n)
	}
}
