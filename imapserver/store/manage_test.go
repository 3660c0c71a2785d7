package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/limit"
	"mailstead/imapserver/maildir"
)

func create(t testing.TB, a *Account, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := a.Create(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t testing.TB, a *Account) []string {
	t.Helper()
	entries, err := a.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		s := e.Name
		switch {
		case !e.Exists:
			s += " -"
		case !e.Selectable:
			s += " noselect"
		}
		if e.Subscribed {
			s += " sub"
		}
		all = append(all, s+string(e.Use))
	}
	return all
}

func TestCreateAndList(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	create(t, a, "Sent", "a.b.c", "Entwürfe", "inbox.x")
	for name, want := range map[string]error{
		"Sent": ErrExists, "INBOX": ErrExists, "inbox": ErrExists, "a..b": ErrName, "../x": ErrName, "": ErrName,
		"a/b": ErrName, "x\ny": ErrName, strings.Repeat("x", 300): ErrName,
	} {
		if err := a.Create(context.Background(), name); !errors.Is(err, want) {
			t.Errorf("create %q: %v, want %v", name, err, want)
		}
	}
	for _, name := range []string{".Sent", ".a.b.c"} {
		if got := files(t, dir, name); strings.Join(got, " ") != "cur maildirfolder new tmp" {
			t.Errorf("%s has %q", name, got)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, ".Sent"), filepath.Join(dir, ".link")); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []string{".plain", "..x", ".a..b", ".\xff"} {
		if err := os.Mkdir(filepath.Join(dir, odd), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	uses, err := maildir.EncodeSpecialUse([]maildir.SpecialUse{{Use: "sent", Name: "Sent"}, {Use: "trash", Name: "Gone"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := maildir.WriteFile(a.own, maildir.SpecialUseFile, 0o600, uses); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Sent", "Later", "inBOX"} {
		if err := a.Subscribe(context.Background(), name, true); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"INBOX sub", "Entwürfe", "Later - sub", `Sent sub\Sent`, "a -", "a.b -", "a.b.c", "inbox -", "inbox.x", "plain noselect"}
	if diff := cmp.Diff(want, list(t, a)); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"plain", "link", "file", "a", "none"} {
		if _, err := a.Select(context.Background(), name, true); !errors.Is(err, ErrNotFound) {
			t.Errorf("select %q: %v", name, err)
		}
		if _, err := a.Status(context.Background(), name, false); !errors.Is(err, ErrNotFound) {
			t.Errorf("status %q: %v", name, err)
		}
	}
}

// TestSubscribeTooMany has a file with more subscriptions than may be made: it keeps them,
// they can be ended, and no more are made.
func TestSubscribeTooMany(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	var lines strings.Builder
	most := limit.Default().Worker.Subscriptions
	for n := range most + 1 {
		fmt.Fprintf(&lines, "INBOX.%d\n", n)
	}
	path := filepath.Join(dir, maildir.SubscriptionsFile)
	put(t, path, lines.String())
	for _, step := range []struct {
		name string
		on   bool
		want error
		left int
	}{{"New", true, ErrSubscriptions, most + 1}, {"0", true, nil, most + 1}, {"0", false, nil, most}, {"New", true, ErrSubscriptions, most}, {"1", false, nil, most - 1}, {"New", true, nil, most}} {
		if err := a.Subscribe(t.Context(), step.name, step.on); !errors.Is(err, step.want) {
			t.Errorf("%+v: %v", step, err)
		}
		if n := strings.Count(content(t, path), "\n"); n != step.left {
			t.Errorf("%+v: %d lines", step, n)
		}
	}
}

func TestSubscribe(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	path := filepath.Join(dir, maildir.SubscriptionsFile)
	if err := os.WriteFile(path, []byte("INBOX\nINBOX.Old\n#shared.x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, s := range []struct {
		name string
		on   bool
	}{{"New", true}, {"Old", false}, {"Old", false}, {"inbox", true}} {
		if err := a.Subscribe(ctx, s.name, s.on); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(path); string(data) != "INBOX\n#shared.x\nINBOX.New\n" {
		t.Errorf("the file is %q, %v", data, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o644 {
		t.Errorf("its mode is %v now, %v", st.Mode(), err)
	}
	if st, err := os.Stat(filepath.Join(a.own, indexFile)); err != nil || st.Mode() != 0o600 {
		t.Errorf("the index has mode %v, %v", st.Mode(), err)
	}
	if err := a.Subscribe(ctx, "a/b", true); !errors.Is(err, ErrName) {
		t.Errorf("subscribe to no name: %v", err)
	}
}

func TestDelete(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	ctx := context.Background()
	create(t, a, "Box", "Box.Sub", "a.b")
	appendMessage(t, a, "Box", mail1)
	v := selectBox(t, a, "Box", false)
	validity := v.UIDValidity()
	for name, want := range map[string]error{"INBOX": ErrInbox, "none": ErrNotFound, "a": ErrChildren, "a/b": ErrName} {
		if err := a.Delete(ctx, name); !errors.Is(err, want) {
			t.Errorf("delete %q: %v, want %v", name, err, want)
		}
	}
	if err := a.Delete(ctx, "Box"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-v.Wake():
	default:
		t.Error("the view is not woken")
	}
	if _, err := v.Poll(ctx, true, true); !errors.Is(err, ErrNotFound) {
		t.Errorf("poll of a deleted mailbox: %v", err)
	}
	if err := v.Store(ctx, []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagSeen}); !errors.Is(err, ErrNotFound) {
		t.Errorf("store in a deleted mailbox: %v", err)
	}
	if _, err := v.Read(ctx, 1); err == nil {
		t.Error("a deleted message is read")
	}
	if _, err := v.Copy(ctx, []SeqNum{1}, here(v, "INBOX")); !errors.Is(err, ErrNotFound) {
		t.Errorf("copy from a deleted mailbox: %v", err)
	}
	v.Close()
	if diff := cmp.Diff([]string{"INBOX", "Box -", "Box.Sub", "a -", "a.b"}, list(t, a)); diff != "" {
		t.Error(diff)
	}
	if left := files(t, a.own, deletedDir); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	create(t, a, "Box")
	w := selectBox(t, a, "Box", false)
	if w.Len() != 0 || w.UIDValidity() <= validity {
		t.Errorf("made anew, it has %d messages and uidvalidity %d, which was %d", w.Len(), w.UIDValidity(), validity)
	}
}

// TestCreateAnew has another program remove a mailbox that is in use, and a client make it
// anew: what was loaded of it takes no part in that, nor has it a word in the next one's row.
func TestCreateAnew(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	create(t, a, "Foo")
	v := selectBox(t, a, "Foo", false)
	if err := os.RemoveAll(filepath.Join(dir, ".Foo")); err != nil {
		t.Fatal(err)
	}
	create(t, a, "Foo", "Bar")
	appendMessage(t, a, "Bar", mail1, "$Label")
	now := func(name string) string {
		b := selectBox(t, a, name, true)
		defer b.Close()
		return fmt.Sprint(b.UIDValidity(), lines(b))
	}
	want := now("Bar")
	for i := range maxIdleMailboxes + 1 { // Bar is let go
		name := fmt.Sprint("other", i)
		create(t, a, name)
		now(name)
	}
	v.Close()
	a = reopen(t, a)
	if got := now("Bar"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRename(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	ctx := context.Background()
	create(t, a, "a", "a.b", "a.b.c", "ab", "p.q", "Other")
	appendMessage(t, a, "a.b", mail1, "Work")
	v := selectBox(t, a, "a.b", false)
	validity := v.UIDValidity()
	for _, tt := range []struct {
		from, to string
		want     error
	}{
		{"none", "x", ErrNotFound}, {"a", "Other", ErrExists}, {"a", "inbox", ErrExists}, {"a", "a.x", ErrName},
		{"a", "x/y", ErrName}, {"a", "a", ErrExists}, {"a", strings.Repeat("x", 252), ErrName},
	} {
		if err := a.Rename(ctx, tt.from, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("rename %q to %q: %v, want %v", tt.from, tt.to, err, tt.want)
		}
	}
	if err := a.Rename(ctx, "a", "z.y"); err != nil {
		t.Fatal(err)
	}
	if err := a.Rename(ctx, "p", "r"); err != nil { // it has no directory of its own
		t.Fatal(err)
	}
	want := []string{"INBOX", "Other", "ab", "r -", "r.q", "z -", "z.y", "z.y.b", "z.y.b.c"}
	if diff := cmp.Diff(want, list(t, a)); diff != "" {
		t.Error(diff)
	}
	if v.Name() != "z.y.b" || read(t, v, 1) != mail1 {
		t.Errorf("the view is of %q", v.Name())
	}
	deliver(t, filepath.Join(dir, ".z.y.b"), "1.x", "a: b\n\n")
	select {
	case <-v.Wake():
	case <-time.After(5 * time.Second):
		t.Error("a renamed mailbox is not watched any more")
	}
	poll(t, v)
	a = reopen(t, a)
	w := selectBox(t, a, "z.y.b", true)
	if diff := cmp.Diff([]string{"1 Work", "2"}, lines(w)); diff != "" || w.UIDValidity() != validity {
		t.Errorf("uidvalidity %d, was %d; %s", w.UIDValidity(), validity, diff)
	}
	if _, err := a.Select(ctx, "a.b", true); !errors.Is(err, ErrNotFound) {
		t.Errorf("select of the old name: %v", err)
	}
}

// TestRenameOfMany plans the RENAME of twice as many mailboxes in twice the work, and none of it for who has gone.
func TestRenameOfMany(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	ctx, cancel := context.WithCancel(context.Background())
	made := 0
	plan := func(n int) float64 {
		for ; made < n; made++ {
			if err := os.Mkdir(filepath.Join(a.dir, fmt.Sprint(".a.", made)), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		return testing.AllocsPerRun(1, func() {
			if moves, err := a.planRename(ctx, "a", "a&b"); len(moves) != n || err != nil {
				t.Errorf("%d of %d: %v", len(moves), n, err)
			}
		})
	}
	if one, two := plan(200), plan(400); two > 3*one {
		t.Errorf("%.0f allocations for 200 mailboxes, %.0f for 400", one, two)
	}
	cancel()
	if _, err := a.planRename(ctx, "a", "b"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRenameInbox(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	ctx := context.Background()
	appendMessage(t, a, "INBOX", mail1, imap.FlagSeen)
	appendMessage(t, a, "INBOX", mail2, "Work")
	create(t, a, "INBOX.child", "There")
	v := selectBox(t, a, "INBOX", false)
	if err := a.Rename(ctx, "inbox", "There"); !errors.Is(err, ErrExists) {
		t.Errorf("rename to a mailbox that exists: %v", err)
	}
	if err := a.Rename(ctx, "inbox", "Archive"); err != nil {
		t.Fatal(err)
	}
	poll(t, v)
	if v.Len() != 0 {
		t.Errorf("INBOX has %d messages", v.Len())
	}
	if diff := cmp.Diff([]string{`1 \Seen`, "2 Work"}, lines(selectBox(t, a, "Archive", false))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"INBOX", "Archive", "INBOX.child", "There"}, list(t, a)); diff != "" {
		t.Error(diff)
	}
}

// TestModifiedUTF7 has a tree that Courier 4 or Dovecot has made.
func TestModifiedUTF7(t *testing.T) {
	dir := newMaildir(t)
	if err := maildir.MakeTree(filepath.Join(dir, ".Entw&APw-rfe"), true); err != nil {
		t.Fatal(err)
	}
	a := openAccount(t, dir)
	create(t, a, "R&D")
	if err := a.Subscribe(context.Background(), "Entwürfe", true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"INBOX", "Entwürfe sub", "R&D"}, list(t, a)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(dir, ".R&-D")); err != nil {
		t.Error(err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, maildir.SubscriptionsFile)); string(data) != "INBOX.Entw&APw-rfe\n" {
		t.Errorf("subscriptions are %q", data)
	}
}

// TestEncodingStays holds that no name a client may choose makes the tree read
// as one of the other encoding, now or later.
func TestEncodingStays(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	ctx := context.Background()
	for _, name := range []string{"A&AOk-B", "R&-D"} {
		if err := a.Create(ctx, name); !errors.Is(err, ErrName) {
			t.Errorf("create %q: %v", name, err)
		}
	}
	create(t, a, "Plain", "Plain.Too")
	if err := a.Rename(ctx, "Plain", "R&-D"); !errors.Is(err, ErrName) {
		t.Errorf("rename: %v", err)
	}
	create(t, a, "R&D", "é", "A&AOk-B")
	for _, name := range []string{"R&D", "é"} {
		if err := a.Delete(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	a = reopen(t, a)
	if diff := cmp.Diff([]string{"INBOX", "A&AOk-B", "Plain", "Plain.Too"}, list(t, a)); diff != "" {
		t.Error(diff)
	}
}

func TestStatus(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	ctx := context.Background()
	create(t, a, "Box")
	appendMessage(t, a, "Box", mail1, imap.FlagSeen)
	appendMessage(t, a, "Box", mail2, imap.FlagDeleted)
	appendMessage(t, a, "Box", mail3)
	st, err := a.Status(ctx, "Box", true)
	if err != nil {
		t.Fatal(err)
	}
	want := Status{
		Messages: 3, Recent: 3, Unseen: 2, Deleted: 1, UIDNext: 4, UIDValidity: st.UIDValidity, HighestModSeq: st.HighestModSeq,
		MailboxID: st.MailboxID, Size: int64(len(mail1 + mail2 + mail3)),
		DeletedSize: int64(len(strings.ReplaceAll(mail2, "\r", ""))),
	}
	if diff := cmp.Diff(want, st); diff != "" {
		t.Error(diff)
	}
	time.Sleep(2 * clockTick) // let the directories' times be trusted
	if _, err := a.Status(ctx, "Box", false); err != nil {
		t.Fatal(err)
	}
	a = reopen(t, a)
	want.Size, want.DeletedSize = 0, 0
	for range 2 {
		got, err := a.Status(ctx, "Box", false)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
	selectBox(t, a, "Box", false)
	want.Recent = 0
	if got, err := a.Status(ctx, "Box", false); err != nil || got != want {
		t.Errorf("after SELECT: %+v, %v", got, err)
	}
}

// TestQuickStatus holds that STATUS of a mailbox that nothing has happened to
// reads one row, and that of another one looks at it.
func TestQuickStatus(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	create(t, a, "Box")
	appendMessage(t, a, "Box", mail1)
	box := filepath.Join(dir, ".Box")
	time.Sleep(2 * clockTick)
	selectBox(t, a, "Box", true).Close()
	a = reopen(t, a)
	if st, ok, err := a.quickStatus("Box"); !ok || err != nil || st.Messages != 1 {
		t.Errorf("%+v, %v, %v", st, ok, err)
	}
	before, err := os.Stat(filepath.Join(box, "new"))
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, box, "1.x", "a: b\n\n")
	// As when the directory is restored from a backup, over what is there.
	if err := os.Chtimes(filepath.Join(box, "new"), time.Time{}, before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := a.quickStatus("Box"); ok || err != nil {
		t.Errorf("after a delivery: %v, %v", ok, err)
	}
	if st, err := a.Status(context.Background(), "Box", false); err != nil || st.Messages != 2 {
		t.Errorf("after a delivery: %+v, %v", st, err)
	}
}
