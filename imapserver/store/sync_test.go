package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// put writes a message file straight into a directory of a mailbox.
func put(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestOutsideChanges has another program at work: mutt, Courier, a delivery
// agent.
func TestOutsideChanges(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	for _, m := range []string{mail1, mail2, mail3} {
		appendMessage(t, a, "INBOX", m, "Work")
	}
	v := selectBox(t, a, "INBOX", false)
	cur := filepath.Join(dir, "cur")
	names := []string{v.told.at(0).name(), v.told.at(1).name()} // which need not sort as the messages do
	modseq := v.HighestModSeq()

	rename(t, filepath.Join(cur, names[0]), filepath.Join(cur, names[0]+"PSa"))
	if diff := cmp.Diff([]Update{{Kind: UpdateFlags, Seq: 1, UID: 1}}, poll(t, v)); diff != "" {
		t.Error(diff)
	}
	if v.At(1).ModSeq <= modseq || v.HighestModSeq() != v.At(1).ModSeq {
		t.Errorf("modseq %d, highest %d; was %d", v.At(1).ModSeq, v.HighestModSeq(), modseq)
	}
	if err := v.Store(context.Background(), []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagFlagged}); err != nil {
		t.Fatal(err)
	}
	if got := files(t, cur); !slices.Contains(got, names[0]+"FPSa") {
		t.Errorf("letters of others are lost: %q", got)
	}
	if err := os.Remove(filepath.Join(cur, names[1])); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(cur, "2000000000.b:2,R"), "x: y\n\n")
	put(t, filepath.Join(cur, "999.z:2,"), "x: y\n\n")
	deliver(t, dir, "1000.M2P1.h", "x: y\n\n")
	deliver(t, dir, "1000.M10P1.h:2,F", "x: y\n\n") // as mbsync leaves it
	poll(t, v)
	want := []string{`1 \Flagged \Seen Work`, `3 Work`, `4`, `5 \Flagged`, `6`, `7 \Answered`}
	if diff := cmp.Diff(want, lines(v)); diff != "" {
		t.Error(diff)
	}
	a = reopen(t, a)
	if diff := cmp.Diff(want, lines(selectBox(t, a, "INBOX", false))); diff != "" {
		t.Error(diff)
	}
}

// TestStaleNames has every command meet files that another program has renamed
// since the last look.
func TestStaleNames(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	ctx := context.Background()
	create(t, a, "Box")
	v := selectBox(t, a, "INBOX", false)
	cur := filepath.Join(dir, "cur")
	commands := []func() error{
		func() error { _, err := v.Read(ctx, 1); return err },
		func() error { return v.Store(ctx, []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagDraft}) },
		func() error { _, err := v.Copy(ctx, []SeqNum{1}, here(v, "Box")); return err },
		func() error { return v.Expunge(ctx, nil) },
		func() error { _, err := v.Move(ctx, []SeqNum{1}, here(v, "Box")); return err },
	}
	for i, cmd := range commands {
		uid := appendMessage(t, a, "INBOX", mail1)
		poll(t, v)
		if v.Len() != 1 {
			t.Fatalf("command %d: %d messages", i, v.Len())
		}
		if err := v.Store(ctx, []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
			t.Fatal(err)
		}
		name := files(t, cur)[0]
		rename(t, filepath.Join(cur, name), filepath.Join(cur, strings.Replace(name, ":2,T", ":2,ST", 1)))
		if err := cmd(); err != nil {
			t.Errorf("command %d: %v", i, err)
		}
		poll(t, v)
		if v.Len() == 1 {
			if flags := v.At(1).Flags; v.UIDAt(1) != uid || !slices.Contains(flags, imap.FlagSeen) {
				t.Errorf("command %d: uid %d has %v", i, v.UIDAt(1), flags)
			}
			if err := v.Expunge(ctx, nil); err != nil {
				t.Fatal(err)
			}
			poll(t, v)
		}
	}
	// Taken back just before: it must not be removed.
	appendMessage(t, a, "INBOX", mail2, imap.FlagDeleted)
	poll(t, v)
	name := files(t, cur)[0]
	rename(t, filepath.Join(cur, name), filepath.Join(cur, strings.Replace(name, ":2,T", ":2,", 1)))
	if err := v.Expunge(ctx, nil); err != nil || len(files(t, cur)) != 1 {
		t.Errorf("expunge has left %q, %v", files(t, cur), err)
	}
	// Gone altogether.
	if err := os.Remove(filepath.Join(cur, files(t, cur)[0])); err != nil {
		t.Fatal(err)
	}
	for i, cmd := range commands[:3] {
		if err := cmd(); !errors.Is(err, ErrExpunged) {
			t.Errorf("command %d on a message that is gone: %v", i, err)
		}
	}
	poll(t, v)
	if v.Len() != 0 {
		t.Errorf("%d messages", v.Len())
	}
}

// TestGoneOnlyAtSecondLook hides a file from one look.
func TestGoneOnlyAtSecondLook(t *testing.T) {
	dir := newMaildir(t)
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	appendMessage(t, a, "INBOX", mail1)
	v := selectBox(t, a, "INBOX", false)
	name := filepath.Join(dir, "cur", files(t, dir, "cur")[0])
	rename(t, name, filepath.Join(dir, "aside"))
	v.mb.mu.Lock()
	if settled, err := v.mb.syncOnce(true, false); settled || err != nil {
		t.Errorf("one look without a message: %v, %v", settled, err)
	}
	v.mb.mu.Unlock()
	rename(t, filepath.Join(dir, "aside"), name)
	if got := poll(t, v); got != nil || v.Len() != 1 {
		t.Errorf("a message that was back is told as %+v", got)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if got := poll(t, v); len(got) != 1 || got[0].Kind != UpdateExpunge {
		t.Errorf("a message that is gone is told as %+v", got)
	}
}

// TestUnreadableDirectory holds that a mailbox that cannot be read is not taken
// for an empty one.
func TestUnreadableDirectory(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	appendMessage(t, a, "INBOX", mail1)
	v := selectBox(t, a, "INBOX", false)
	mb := v.mb
	mb.mu.Lock()
	mb.folder.Close() // every call fails from now on
	mb.mu.Unlock()
	if _, err := v.Poll(context.Background(), true, true); err == nil {
		t.Error("a directory that cannot be read passes")
	}
	if v.Len() != 1 || mb.snap.Load().len != 1 {
		t.Error("its messages are gone")
	}
	folder, err := maildir.OpenFolder(dir, a.ops)
	if err != nil {
		t.Fatal(err)
	}
	mb.mu.Lock()
	mb.folder = folder
	mb.mu.Unlock()
	if got := poll(t, v); got != nil {
		t.Errorf("when it can be read again: %+v", got)
	}
}

// TestDoubles has two files of one base name: first the same file twice, then
// two messages.
func TestDoubles(t *testing.T) {
	dir := newMaildir(t)
	cur := filepath.Join(dir, "cur")
	put(t, filepath.Join(cur, "1.a:2,S"), "one\n")
	if err := os.Link(filepath.Join(cur, "1.a:2,S"), filepath.Join(cur, "1.a:2,FS")); err != nil {
		t.Fatal(err)
	}
	a := openUnwatched(t, dir)
	v := selectBox(t, a, "INBOX", false)
	if v.Len() != 1 {
		t.Errorf("%d messages: %q", v.Len(), lines(v))
	}
	if err := os.Remove(filepath.Join(cur, "1.a:2,FS")); err != nil {
		t.Fatal(err)
	}
	poll(t, v)
	put(t, filepath.Join(cur, "1.a:2,R"), "two\n")
	deliver(t, dir, "1.a", "three\n")
	poll(t, v)
	if v.Len() != 3 || v.UIDAt(1) != 1 {
		t.Fatalf("messages %q, files %q", lines(v), files(t, cur))
	}
	bodies := []string{read(t, v, 1), read(t, v, 2), read(t, v, 3)}
	slices.Sort(bodies)
	if diff := cmp.Diff([]string{"one\r\n", "three\r\n", "two\r\n"}, bodies); diff != "" {
		t.Error(diff)
	}
	if n := len(files(t, cur)); n != 3 {
		t.Errorf("%d files", n)
	}
	before := lines(v)
	a = reopen(t, a)
	if diff := cmp.Diff(before, lines(selectBox(t, a, "INBOX", false))); diff != "" {
		t.Error(diff)
	}
}

// TestHostileMaildir plants everything that is no message, and names that lie.
// TestStaysInNew has a message in new whose name is too long for that of one in cur, and one that may not
// be renamed: they are served from there, and are no reason to list the directories again and again. Nor is
// one that may not be renamed and has the name of another a reason to serve none.
func TestStaysInNew(t *testing.T) {
	dir := newMaildir(t)
	long := strings.Repeat("n", 254)
	text := "a: b\n\n"
	deliver(t, dir, "1.M1P1.host", text)
	deliver(t, dir, long, text)
	var log bytes.Buffer
	ops := &maildir.Ops{Trace: func(op maildir.Op) error {
		if op.Call == "rename" && strings.HasPrefix(filepath.Base(op.Path), "immutable") {
			return unix.EPERM
		}
		return nil
	}}
	a := openWith(t, Options{Maildir: dir, unwatched: true, ops: ops, Log: slog.New(slog.NewTextHandler(&log, nil))})
	deliver(t, dir, "immutable", text)
	deliver(t, dir, "immutable.double", text)
	put(t, filepath.Join(dir, "cur", "immutable.double:2,"), text)
	v := selectBox(t, a, "INBOX", false)
	if v.Len() != 4 || v.mb.inNew != 2 {
		t.Fatalf("%d messages, %d of them in new", v.Len(), v.mb.inNew)
	}
	for n := range 4 {
		if got := read(t, v, SeqNum(n+1)); got != "a: b\r\n\r\n" {
			t.Errorf("message %d: %q", n+1, got)
		}
	}
	time.Sleep(3 * clockTick)
	poll(t, v)
	for range 50 {
		if v.mb.new.lasting() != 0 {
			break // the last look was long enough after the last change
		}
		time.Sleep(clockTick)
		poll(t, v)
	}
	v.mb.new.cost = -1 // until it is listed
	poll(t, v)
	if v.mb.new.cost != -1 {
		t.Error("new is listed although nothing has changed")
	}
	deliver(t, dir, "2.M2P2.host", text)
	poll(t, v)
	if v.Len() != 5 || v.mb.inNew != 2 {
		t.Errorf("%d messages, %d of them in new", v.Len(), v.mb.inNew)
	}
	if n := strings.Count(log.String(), "cannot be renamed"); n != 3 {
		t.Errorf("%d lines in the log: %s", n, &log)
	}
}

func TestHostileMaildir(t *testing.T) {
	dir := newMaildir(t)
	cur := filepath.Join(dir, "cur")
	secret := filepath.Join(t.TempDir(), "secret")
	put(t, secret, "secret\n")
	for _, err := range []error{
		os.Symlink(secret, filepath.Join(cur, "1.link:2,")),
		unix.Mkfifo(filepath.Join(cur, "1.fifo:2,"), 0o600),
		os.Mkdir(filepath.Join(cur, "1.dir:2,"), 0o700),
		os.Symlink(secret, filepath.Join(dir, "new", "1.newlink")),
		unix.Mkfifo(filepath.Join(dir, "new", "1.newfifo"), 0o600),
		os.Symlink(filepath.Dir(secret), filepath.Join(dir, ".Linked")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(cur, ".dot"), "not a message\n")
	put(t, filepath.Join(cur, "2.lies,S=1,W=99999:2,S"), "Subject: x\n\nlonger\n")
	put(t, filepath.Join(cur, "3.junk:2,\x01\xffS~"), "a\n")
	put(t, filepath.Join(cur, "4.line\nbreak:2,"), "a\n")
	put(t, filepath.Join(cur, "5."+strings.Repeat("x", 250)), "a\n")
	put(t, filepath.Join(cur, "6.bare"), "")
	put(t, filepath.Join(cur, "7.crlf:2,"), "a: b\r\nlone \r cr\n\r\n\r")
	var log bytes.Buffer
	a, err := Open(context.Background(), Options{Maildir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	v := selectBox(t, a, "INBOX", false)
	want := []string{`1 \Seen`, `2 \Seen`, `3`, `4`, `5`, `6`}
	if diff := cmp.Diff(want, lines(v)); diff != "" {
		t.Fatal(diff)
	}
	for n, body := range []string{"Subject: x\r\n\r\nlonger\r\n", "a\r\n", "a\r\n", "a\r\n", "", "a: b\r\nlone \r cr\r\n\r\n\r"} {
		size, err := v.Size(context.Background(), SeqNum(n+1))
		if got := read(t, v, SeqNum(n+1)); got != body || size != int64(len(body)) || err != nil {
			t.Errorf("message %d is %q, size %d, %v; want %q", n+1, got, size, err, body)
		}
	}
	for range 3 {
		poll(t, v)
	}
	for _, name := range []string{"1.link", "1.fifo", "1.dir", "1.newlink", "1.newfifo"} {
		if c := strings.Count(log.String(), name); c != 1 {
			t.Errorf("%s is logged %d times", name, c)
		}
	}
	// A name that cannot take a flag letter more.
	err = v.Store(context.Background(), []SeqNum{4}, StoreAdd, []imap.Flag{imap.FlagSeen})
	if err == nil {
		t.Error("a name of 255 bytes has taken a flag")
	}
	if err := v.Store(context.Background(), []SeqNum{5}, StoreAdd, []imap.Flag{imap.FlagSeen}); err != nil {
		t.Error(err)
	}
}

// TestSizeFollowsFile has a file change under us: what is served counts.
func TestSizeFollowsFile(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	appendMessage(t, a, "INBOX", mail1)
	v := selectBox(t, a, "INBOX", false)
	put(t, filepath.Join(dir, "cur", files(t, dir, "cur")[0]), "short\n")
	if got := read(t, v, 1); got != "short\r\n" {
		t.Errorf("read %q", got)
	}
	if n, err := v.Size(context.Background(), 1); n != 7 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	a = reopen(t, a)
	if n, err := selectBox(t, a, "INBOX", false).Size(context.Background(), 1); n != 7 || err != nil {
		t.Errorf("size %d, %v from the index", n, err)
	}
}

func TestRecent(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	deliver(t, dir, "1.a", "x\n")
	ro := selectBox(t, a, "INBOX", true)
	first := selectBox(t, a, "INBOX", false)
	second := selectBox(t, a, "INBOX", false)
	if ro.Recent() != 1 || first.Recent() != 1 || second.Recent() != 0 || !first.At(1).Recent || second.At(1).Recent {
		t.Errorf("recent: %d read-only, %d first, %d second", ro.Recent(), first.Recent(), second.Recent())
	}
	deliver(t, dir, "2.b", "x\n")
	poll(t, second)
	poll(t, first)
	if first.Recent() != 1 || second.Recent() != 1 || first.At(2).Recent || !second.At(2).Recent {
		t.Errorf("recent: %d first, %d second", first.Recent(), second.Recent())
	}
	a = reopen(t, a)
	if v := selectBox(t, a, "INBOX", false); v.Recent() != 0 {
		t.Errorf("recent: %d in a new process", v.Recent())
	}
}

func TestTmpIsPurged(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	put(t, filepath.Join(dir, "tmp", "young"), "x")
	selectBox(t, a, "INBOX", false)
	if got := files(t, dir, "tmp"); len(got) != 1 {
		t.Errorf("tmp has %q", got)
	}
}

// TestMissingDirectoriesAreMade has a tmp and a new that someone has removed.
func TestMissingDirectoriesAreMade(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	for _, d := range []string{"tmp", "new"} {
		if err := os.Remove(filepath.Join(dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	appendMessage(t, a, "INBOX", mail1)
	if got := files(t, dir); !slices.Contains(got, "tmp") || !slices.Contains(got, "new") {
		t.Errorf("the Maildir has %q", got)
	}
}

func TestIdleMailboxesAreLetGo(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	for i := range 2 * maxIdleMailboxes {
		name := fmt.Sprint("Box", i)
		create(t, a, name)
		appendMessage(t, a, name, mail1, "Work")
		selectBox(t, a, name, false).Close()
	}
	a.mu.Lock()
	if n := len(a.boxes); n > maxIdleMailboxes {
		t.Errorf("%d mailboxes are loaded", n)
	}
	a.mu.Unlock()
	v := selectBox(t, a, "Box0", false)
	if diff := cmp.Diff([]string{"1 Work"}, lines(v)); diff != "" || v.UIDNext() != 2 {
		t.Errorf("uidnext %d %s", v.UIDNext(), diff)
	}
}

func TestLock(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	ctx, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer stop()
	if b, err := Open(ctx, Options{Maildir: a.dir}); !errors.Is(err, context.DeadlineExceeded) {
		b.Close()
		t.Errorf("a second one is opened: %v", err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		a.Close()
	}()
	b, err := Open(context.Background(), Options{Maildir: a.dir})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := b.Select(context.Background(), "INBOX", false); !errors.Is(err, errClosed) {
		t.Errorf("select when closed: %v", err)
	}
	if _, err := Open(context.Background(), Options{Maildir: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no Maildir: %v", err)
	}
}

// TestDirectoryReplaced has another program rename a mailbox that is selected,
// and make another of its name.
func TestDirectoryReplaced(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	create(t, a, "Box")
	appendMessage(t, a, "Box", mail1)
	v := selectBox(t, a, "Box", false)
	box := filepath.Join(dir, ".Box")
	rename(t, box, filepath.Join(dir, ".Other"))
	if _, err := v.Poll(context.Background(), true, true); !errors.Is(err, ErrNotFound) {
		t.Errorf("poll of a mailbox that is gone: %v", err)
	}
	if _, err := a.Select(context.Background(), "Box", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("select of a mailbox that is gone: %v", err)
	}
	w := selectBox(t, a, "Other", false)
	if w.Len() != 1 || read(t, w, 1) != mail1 {
		t.Errorf("the renamed one has %q", lines(w))
	}
	if err := maildir.MakeTree(box, true); err != nil {
		t.Fatal(err)
	}
	deliver(t, box, "1.x", "other\n")
	x := selectBox(t, a, "Box", false)
	if x.Len() != 1 || read(t, x, 1) != "other\r\n" || x.UIDAt(1) == 1 && x.UIDValidity() == v.UIDValidity() {
		t.Errorf("the new one has %q", lines(x))
	}
}
