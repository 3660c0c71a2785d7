package store

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

const (
	mail1 = "Subject: one\r\n\r\nfirst\r\n"
	mail2 = "Subject: two\r\n\r\nsecond\r\n"
	mail3 = "Subject: three\r\n\r\nthird\r\n"
)

func TestAppend(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	v := selectBox(t, a, "INBOX", false)
	date := time.Date(1999, 12, 31, 23, 59, 58, 0, time.FixedZone("", 3600))
	validity, uid, err := tryAppend(a, "inbox", "A: b\r\n\r\nlone \r stays\r\nno end", date, imap.FlagSeen, "Work", `\Recent`, imap.FlagDraft)
	if err != nil {
		t.Fatal(err)
	}
	if validity != v.UIDValidity() || uid != 1 || v.Len() != 0 {
		t.Errorf("uidvalidity %d, uid %d, %d messages before Poll", validity, uid, v.Len())
	}
	want := []Update{{Kind: UpdateExists, Seq: 1}}
	if diff := cmp.Diff(want, poll(t, v)); diff != "" {
		t.Error(diff)
	}
	m := v.At(1)
	if diff := cmp.Diff([]imap.Flag{imap.FlagSeen, imap.FlagDraft, "Work"}, m.Flags); diff != "" {
		t.Error(diff)
	}
	if !m.InternalDate.Equal(date) || !m.Recent || v.Recent() != 1 {
		t.Errorf("%+v, %d recent", m, v.Recent())
	}
	const body = "A: b\r\n\r\nlone \r stays\r\nno end\r\n"
	if got := read(t, v, 1); got != body {
		t.Errorf("read %q", got)
	}
	if n, err := v.Size(context.Background(), 1); n != int64(len(body)) || err != nil {
		t.Errorf("size %d, %v; want %d", n, err, len(body))
	}
	name := files(t, dir, "cur")[0]
	if data, _ := os.ReadFile(filepath.Join(dir, "cur", name)); string(data) != strings.ReplaceAll(body, "\r\n", "\n") {
		t.Errorf("on disk is %q", data)
	}
	if !strings.HasSuffix(name, ",S=26:2,DS") {
		t.Errorf("its name is %q", name)
	}
	if left := files(t, dir, "tmp"); len(left) > 0 {
		t.Errorf("tmp has %q", left)
	}
}

func TestAppendRefused(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	if _, err := a.NewDraft(context.Background(), "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("append to no mailbox: %v", err)
	}
	for _, flag := range []imap.Flag{"a b", "", `\Foo`, "x]", imap.Flag(strings.Repeat("x", 300)), "naïve"} {
		if _, _, err := tryAppend(a, "INBOX", mail1, time.Time{}, flag); !errors.Is(err, ErrKeywords) {
			t.Errorf("append with %q: %v", flag, err)
		}
	}
	d, err := a.NewDraft(context.Background(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	d.Abort()
	d.Abort()
	if left := files(t, dir, "tmp"); len(left) > 0 {
		t.Errorf("tmp has %q", left)
	}
	if _, _, err := d.Commit(context.Background(), nil, time.Time{}); err == nil {
		t.Error("commit after abort has passed")
	}
}

func TestStoreAndExpunge(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	for _, m := range []string{mail1, mail2, mail3} {
		appendMessage(t, a, "INBOX", m)
	}
	v, w := selectBox(t, a, "INBOX", false), selectBox(t, a, "INBOX", false)
	ctx := context.Background()
	if err := v.Store(ctx, []SeqNum{1, 3}, StoreAdd, []imap.Flag{imap.FlagDeleted, "work"}); err != nil {
		t.Fatal(err)
	}
	if err := v.Store(ctx, []SeqNum{3}, StoreSet, []imap.Flag{imap.FlagFlagged, "WORK", "Other"}); err != nil {
		t.Fatal(err)
	}
	own := []Update{{Kind: UpdateFlags, Seq: 1, UID: 1, Own: true}, {Kind: UpdateFlags, Seq: 3, UID: 3, Own: true}}
	if diff := cmp.Diff(own, poll(t, v)); diff != "" {
		t.Error(diff)
	}
	others := []Update{{Kind: UpdateFlags, Seq: 1, UID: 1}, {Kind: UpdateFlags, Seq: 3, UID: 3}}
	if diff := cmp.Diff(others, poll(t, w)); diff != "" {
		t.Error(diff)
	}
	want := []string{`1 \Deleted work`, `2`, `3 \Flagged Other work`}
	if diff := cmp.Diff(want, lines(w)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]imap.Flag{"Other", "work"}, v.Keywords()); diff != "" {
		t.Error(diff)
	}
	if err := v.Expunge(ctx, imap.UIDSetNum(2, 3)); err != nil {
		t.Fatal(err)
	}
	if got := poll(t, v); got != nil {
		t.Errorf("expunge of nothing tells %+v", got)
	}
	if err := v.Expunge(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.Poll(ctx, false, true); got != nil || w.Len() != 3 {
		t.Errorf("expunge is told too early: %+v", got)
	}
	if _, err := w.Read(ctx, 1); !errors.Is(err, ErrExpunged) {
		t.Errorf("read of an expunged message: %v", err)
	}
	appendMessage(t, a, "INBOX", mail1)
	if got, _ := w.Poll(ctx, false, true); len(got) != 1 || w.Len() != 4 {
		t.Errorf("poll without expunge tells %+v", got)
	}
	for _, x := range []*View{v, w} {
		poll(t, x)
		if diff := cmp.Diff([]string{"2", `3 \Flagged Other work`, "4"}, lines(x)); diff != "" {
			t.Error(diff)
		}
	}
	a = reopen(t, a)
	if diff := cmp.Diff([]string{"2", `3 \Flagged Other work`, "4"}, lines(selectBox(t, a, "INBOX", false))); diff != "" {
		t.Error(diff)
	}
}

func TestSilentStoreHidesNothing(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	appendMessage(t, a, "INBOX", mail1)
	v, w := selectBox(t, a, "INBOX", false), selectBox(t, a, "INBOX", false)
	ctx := context.Background()
	for _, s := range []struct {
		v    *View
		flag imap.Flag
	}{{v, imap.FlagSeen}, {w, imap.FlagFlagged}, {v, imap.FlagDraft}} {
		if err := s.v.Store(ctx, []SeqNum{1}, StoreAdd, []imap.Flag{s.flag}); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []*View{v, w} {
		if got := poll(t, x); len(got) != 1 || got[0].Own {
			t.Errorf("a change by another is told as %+v", got)
		}
	}
}

func TestCopyAndMove(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	ctx := context.Background()
	if err := a.Create(ctx, "Box"); err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{mail1, mail2, mail3} {
		appendMessage(t, a, "INBOX", m, imap.FlagSeen, "Work")
	}
	v := selectBox(t, a, "INBOX", false)
	res, err := v.Copy(ctx, []SeqNum{2, 3}, here(v, "Box"))
	if err != nil {
		t.Fatal(err)
	}
	w := selectBox(t, a, "Box", false)
	want := CopyResult{UIDValidity: w.UIDValidity(), Source: []imap.UID{2, 3}, Dest: []imap.UID{1, 2}}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`1 \Seen Work`, `2 \Seen Work`}, lines(w)); diff != "" {
		t.Error(diff)
	}
	res, err = v.Move(ctx, []SeqNum{1, 2}, here(v, "Box"))
	if err != nil {
		t.Fatal(err)
	}
	want = CopyResult{UIDValidity: w.UIDValidity(), Source: []imap.UID{1, 2}, Dest: []imap.UID{3, 4}}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Error(diff)
	}
	updates := []Update{{Kind: UpdateExpunge, Seq: 2, UID: 2}, {Kind: UpdateExpunge, Seq: 1, UID: 1}}
	if diff := cmp.Diff(updates, poll(t, v)); diff != "" {
		t.Error(diff)
	}
	poll(t, w)
	if got := read(t, w, 1) + read(t, w, 3) + read(t, w, 4); got != mail2+mail1+mail2 {
		t.Errorf("read %q", got)
	}
	if _, err := v.Copy(ctx, []SeqNum{1}, here(v, "none")); !errors.Is(err, ErrNotFound) {
		t.Errorf("copy to no mailbox: %v", err)
	}
	if res, err := v.Copy(ctx, []SeqNum{1}, here(v, "inbox")); err != nil || res.Dest[0] != 4 {
		t.Errorf("copy to itself: %+v, %v", res, err)
	}
	a = reopen(t, a)
	if diff := cmp.Diff([]string{`1 \Seen Work`, `2 \Seen Work`, `3 \Seen Work`, `4 \Seen Work`}, lines(selectBox(t, a, "Box", false))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`3 \Seen Work`, `4 \Seen Work`}, lines(selectBox(t, a, "INBOX", false))); diff != "" {
		t.Error(diff)
	}
}

// TestWake holds that a delivery wakes a session at once.
func TestWake(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	v := selectBox(t, a, "INBOX", false)
	for i, name := range []string{"1.a", "2.b", "3.c"} {
		start := time.Now()
		deliver(t, dir, name, "x: y\n\nz\n")
		select {
		case <-v.Wake():
		case <-time.After(5 * time.Second):
			t.Fatal("no wake")
		}
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("woken after %v", d)
		}
		if u, err := v.Poll(context.Background(), true, false); len(u) != 1 || v.Len() != i+1 || err != nil {
			t.Errorf("poll tells %+v, %v", u, err)
		}
	}
}

// TestPolled has no kernel to tell of changes.
func TestPolled(t *testing.T) {
	dir := newMaildir(t)
	a := openWith(t, Options{Maildir: dir, Notifier: &Notifier{log: slog.New(slog.DiscardHandler)}})
	v := selectBox(t, a, "INBOX", false)
	deliver(t, dir, "1.a", "x: y\n\nz\n")
	select {
	case <-v.Wake():
	case <-time.After(pollUnwatched + 3*time.Second):
		t.Fatal("no wake")
	}
}

func TestSeq(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	for range 4 {
		appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted)
	}
	v := selectBox(t, a, "INBOX", false)
	if err := v.Expunge(context.Background(), imap.UIDSetNum(2)); err != nil {
		t.Fatal(err)
	}
	poll(t, v)
	for uid, want := range map[imap.UID]struct {
		n  SeqNum
		ok bool
	}{0: {1, false}, 1: {1, true}, 2: {2, false}, 3: {2, true}, 4: {3, true}, 5: {4, false}, 1<<32 - 1: {4, false}} {
		if n, ok := v.Seq(uid); n != want.n || ok != want.ok {
			t.Errorf("uid %d is %d, %v; want %v", uid, n, ok, want)
		}
	}
}

// TestSizesAreKept holds that what was counted once is in the index.
func TestSizesAreKept(t *testing.T) {
	dir := newMaildir(t)
	fill(t, dir, 1100)
	a := openAccount(t, dir)
	st, err := a.Status(context.Background(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	a = reopen(t, a)
	v := selectBox(t, a, "INBOX", false)
	total := int64(0)
	v.told.all(func(r *record) bool { total += r.size.Load(); return true })
	if total != st.Size {
		t.Errorf("sizes in the index are %d, were %d", total, st.Size)
	}
}
