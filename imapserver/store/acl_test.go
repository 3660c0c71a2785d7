package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// writeFile writes a file as another program does.
func writeFile(t testing.TB, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// bob gives what bob, who owns none of it, has of each mailbox.
func bob(t testing.TB, a *Account, names ...string) string {
	t.Helper()
	var all []string
	for _, name := range names {
		r, err := a.Rights(context.Background(), name, "bob", false)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name+"="+r.String())
	}
	return strings.Join(all, " ")
}

func grant(t testing.TB, a *Account, name string, r Rights) {
	t.Helper()
	err := a.ChangeACL(context.Background(), name, func(acl ACL) (ACL, error) { return acl.With(IDUser+"bob", false, r), nil })
	if err != nil {
		t.Fatal(err)
	}
}

// A name without a file has the rights of the next one above it that has one.
func TestRightsFollow(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	create(t, a, "a", "a.b", "a.b.c", "d.e", "f")
	check := func(want string) {
		t.Helper()
		if got := bob(t, a, "INBOX", "a", "a.b", "a.b.c", "d", "d.e", "f"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	check("INBOX= a= a.b= a.b.c= d= d.e= f=")
	writeFile(t, "user=bob l\n", dir, ".a", maildir.ACLFile)
	writeFile(t, "user=bob r\n", dir, maildir.ACLDir, "d")
	check("INBOX= a=l a.b=l a.b.c=l d=r d.e=r f=")
	writeFile(t, "user=bob s\n", dir, maildir.ACLFile)
	writeFile(t, "owner lr\n", dir, ".a.b", maildir.ACLFile)
	check("INBOX=s a=l a.b= a.b.c= d=r d.e=r f=s")
	writeFile(t, "user=bob lrs\n", dir, ".a", maildir.ACLFile) // it is seen that the file is another
	check("INBOX=s a=lrs a.b= a.b.c= d=r d.e=r f=s")
	r, err := a.Rights(context.Background(), "a.b", "alice", true)
	if err != nil || r.String() != "lra" {
		t.Errorf("the owner has %s, %v", r, err)
	}
}

// SETACL changes the rights to one mailbox alone, and Courier will see it so.
func TestChangeACL(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	create(t, a, "a", "a.b", "a.b.c", "a-d", "x.y")
	grant(t, a, "a", RightLookup|RightCreate)
	for _, path := range []string{".a/" + maildir.ACLFile, ".a.b/" + maildir.ACLFile} {
		if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
			t.Error(err)
		}
	}
	grant(t, a, "INBOX", RightRead)
	if got, want := bob(t, a, "INBOX", "a", "a.b", "a.b.c", "a-d", "x", "x.y"), "INBOX=r a=lk a.b= a.b.c= a-d= x= x.y="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	data, err := os.ReadFile(filepath.Join(dir, ".a", maildir.ACLFile))
	if want := "owner aceilrstwx\nuser=bob cl\nadministrators aceilrstwx\n"; err != nil || string(data) != want {
		t.Errorf("file: %q, %v", data, err)
	}
	if got, want := files(t, dir, maildir.ACLDir), []string{"x"}; !cmp.Equal(got, want) {
		t.Errorf("files of names without a directory: %v, want %v", got, want)
	}
	// What is made now has the rights of the mailbox above it (RFC 4314 §4).
	create(t, a, "a.new", "new")
	if got, want := bob(t, a, "a.new", "new"), "a.new=lk new=r"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	grant(t, a, "a", RightLookup)
	if got, want := bob(t, a, "a", "a.new"), "a=l a.new=lk"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, want := range map[string]error{"none": ErrNotFound, "x": ErrNotFound, "../a": ErrName} {
		err := a.ChangeACL(context.Background(), name, func(acl ACL) (ACL, error) { return acl, nil })
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	a = reopen(t, a)
	if got, want := bob(t, a, "INBOX", "a", "a.b"), "INBOX=r a=l a.b="; got != want {
		t.Errorf("reopened: got %s, want %s", got, want)
	}
}

// RENAME takes the rights along, DELETE leaves nothing of them to a mailbox of
// that name that comes later, and to those below the ones that they had.
func TestRightsOfRenamedAndDeleted(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	create(t, a, "a", "a.b", "a.b.c", "z", "p.q")
	grant(t, a, "a", RightLookup)
	grant(t, a, "a.b", RightRead)
	writeFile(t, "user=bob s\n", dir, maildir.ACLDir, "p")
	ctx := context.Background()
	for from, to := range map[string]string{"a": "z.a", "p": "y"} {
		if err := a.Rename(ctx, from, to); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := bob(t, a, "z", "z.a", "z.a.b", "z.a.b.c", "y.q", "p.q"), "z= z.a=l z.a.b=r z.a.b.c= y.q=s p.q="; got != want {
		t.Errorf("renamed: got %s, want %s", got, want)
	}
	grant(t, a, "z", RightLookup)
	create(t, a, "z.n")
	if err := a.Delete(ctx, "z"); err != nil {
		t.Fatal(err)
	}
	create(t, a, "z")
	if got, want := bob(t, a, "z", "z.a", "z.n"), "z= z.a=l z.n=l"; got != want {
		t.Errorf("deleted: got %s, want %s", got, want)
	}
}

// Whatever lies where a list should be, the owner can do everything, and others
// nothing.
func TestUnreadableRights(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	create(t, a, "dir", "link", "fifo", "long", "mess")
	writeFile(t, "user=bob lr\n", dir, ".dir", maildir.ACLFile, "x")
	writeFile(t, "user=bob lr\n", dir, "elsewhere")
	if err := os.Symlink("../elsewhere", filepath.Join(dir, ".link", maildir.ACLFile)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, ".fifo", maildir.ACLFile), 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, strings.Repeat("user=bob lr\n", maildir.MaxACL/10), dir, ".long", maildir.ACLFile)
	writeFile(t, "\x00\xff\n\n bob lr\nuser=\nuser=bob", dir, ".mess", maildir.ACLFile)
	for _, name := range []string{"dir", "link", "fifo", "long"} {
		if got, want := bob(t, a, name), name+"="; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if r, err := a.Rights(context.Background(), name, "alice", true); err != nil || r != AllRights&^RightPost {
			t.Errorf("%s: the owner has %s, %v", name, r, err)
		}
		if name != "dir" { // nothing replaces a directory that is not empty
			grant(t, a, name, RightRead)
			if got, want := bob(t, a, name), name+"=r"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	if got, want := bob(t, a, "mess"), "mess="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "elsewhere")); err != nil || string(data) != "user=bob lr\n" {
		t.Errorf("what the link led to: %q, %v", data, err)
	}
}

// Messages go from one account to another, with the flags that may be set there.
func TestCopyToAnotherAccount(t *testing.T) {
	ctx := context.Background()
	a, b := openAccount(t, newMaildir(t)), openAccount(t, newMaildir(t))
	for range 3 {
		appendMessage(t, a, "INBOX", "Subject: x\r\n\r\nx\r\n", imap.FlagSeen, imap.FlagDeleted, imap.FlagFlagged, "work")
	}
	create(t, b, "Box")
	v := selectBox(t, a, "INBOX", false)
	to := Target{Account: b, Mailbox: "Box", Rights: AllRights}
	if _, err := v.Copy(ctx, []SeqNum{1}, to); err != nil {
		t.Fatal(err)
	}
	to.Rights = RightInsert | RightDeleted
	if _, err := v.Copy(ctx, []SeqNum{1}, to); err != nil {
		t.Fatal(err)
	}
	to.Rights = RightInsert | RightWrite
	if res, err := v.Move(ctx, []SeqNum{2, 3}, to); err != nil || res.UIDValidity == 0 || len(res.Dest) != 2 || res.Dest[0] != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	poll(t, v)
	b = reopen(t, b)
	w := selectBox(t, b, "Box", false)
	want := []string{`1 \Flagged \Deleted \Seen work`, `2 \Deleted`, `3 \Flagged work`, `4 \Flagged work`}
	if diff := cmp.Diff(want, lines(w)); diff != "" {
		t.Errorf("copied (-want +got):\n%s", diff)
	}
	if v.Len() != 1 || read(t, w, 4) != "Subject: x\r\n\r\nx\r\n" {
		t.Errorf("%d messages are left, and there is %q", v.Len(), read(t, w, 4))
	}
	// Both at once, in both directions.
	done := make(chan error, 2)
	go func() {
		_, err := w.Copy(ctx, []SeqNum{1, 2}, Target{Account: a, Mailbox: "INBOX", Rights: AllRights})
		done <- err
	}()
	go func() {
		_, err := v.Copy(ctx, []SeqNum{1}, Target{Account: b, Mailbox: "Box", Rights: AllRights})
		done <- err
	}()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if poll(t, v); v.Len() != 3 {
		t.Errorf("%d messages, want 3", v.Len())
	}
}

// STORE leaves flags that the user may not change as they are.
func TestRestrictedStore(t *testing.T) {
	ctx := context.Background()
	a := openAccount(t, newMaildir(t))
	appendMessage(t, a, "INBOX", "x\r\n", imap.FlagFlagged, imap.FlagDeleted, "work")
	v := selectBox(t, a, "INBOX", false)
	steps := []struct {
		rights Rights
		op     StoreOp
		flags  []imap.Flag
		want   string
	}{
		{RightSeen, StoreSet, []imap.Flag{imap.FlagSeen, imap.FlagAnswered, "new"}, `1 \Flagged \Deleted \Seen work`},
		{RightWrite, StoreSet, []imap.Flag{imap.FlagAnswered, "new"}, `1 \Answered \Deleted \Seen new`},
		{RightDeleted, StoreRemove, []imap.Flag{imap.FlagAnswered, imap.FlagDeleted, "new"}, `1 \Answered \Seen new`},
		{0, StoreSet, nil, `1 \Answered \Seen new`},
		{AllRights, StoreSet, nil, `1`},
	}
	for _, s := range steps {
		v.Restrict(s.rights)
		if err := v.Store(ctx, []SeqNum{1}, s.op, s.flags); err != nil {
			t.Fatal(err)
		}
		poll(t, v)
		if got := lines(v)[0]; got != s.want {
			t.Errorf("with %s: got %s, want %s", s.rights, got, s.want)
		}
	}
}

// TestChangeACLFails fails every call of a SETACL on INBOX: nobody gets rights to
// any other mailbox, and what was said to be done is.
func TestChangeACLFails(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		for k := 1; ; k++ {
			dir := newMaildir(t)
			a := openAccount(t, dir)
			create(t, a, "a", "b.c")
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			f := openFailing(t, dir, k, sticky)
			f.armed = true
			err := f.ChangeACL(context.Background(), "INBOX", func(acl ACL) (ACL, error) {
				return acl.With(IDUser+"bob", false, RightRead), nil
			})
			f.armed = false
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			a = openAccount(t, dir)
			got := bob(t, a, "INBOX", "a", "b", "b.c")
			if got != "INBOX=r a= b= b.c=" && (err == nil || got != "INBOX= a= b= b.c=") {
				t.Errorf("call %d, error %v: %s", k, err, got)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if f.calls < k {
				break
			}
		}
	}
}
