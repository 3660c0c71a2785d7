package store

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// failing is an account whose k-th change of files fails, once it is armed.
type failing struct {
	*Account
	k, calls int
	sticky   bool // all later ones fail, too
	armed    bool
}

func openFailing(t *testing.T, dir string, k int, sticky bool) *failing {
	f := &failing{k: k, sticky: sticky}
	ops := &maildir.Ops{Trace: func(maildir.Op) error {
		if !f.armed {
			return nil
		}
		if f.calls++; f.calls == f.k || f.sticky && f.calls > f.k {
			return unix.EIO
		}
		return nil
	}}
	a, err := Open(context.Background(), Options{Maildir: dir, ops: ops, unwatched: true})
	if err != nil {
		t.Fatal(err)
	}
	f.Account = a
	return f
}

// run arms it, runs a command and closes the account; then it opens it anew and counts
// the messages of all mailboxes.
func (f *failing) run(t *testing.T, command func() error) (messages int, err error) {
	f.armed = true
	err = command()
	f.armed = false
	_ = f.Close() // what has failed before may fail it
	a := openUnwatched(t, f.dir)
	f.Account = a
	entries, lerr := a.List(context.Background())
	if lerr != nil {
		t.Fatal(lerr)
	}
	for _, e := range entries {
		if e.Selectable {
			messages += selectBox(t, a, e.Name, true).Len()
		}
	}
	return messages, err
}

// TestRenameInboxFails fails every call of a RENAME of INBOX: the messages stay,
// wherever they are then.
func TestRenameInboxFails(t *testing.T) {
	t.Parallel()
	for _, sticky := range []bool{false, true} {
		for k := 1; ; k++ {
			f := openFailing(t, newMaildir(t), k, sticky)
			appendMessage(t, f.Account, "INBOX", mail1)
			appendMessage(t, f.Account, "INBOX", mail2, "Work")
			n, err := f.run(t, func() error { return f.Rename(context.Background(), "INBOX", "Archive") })
			if n != 2 {
				t.Errorf("call %d fails, and later ones %v: %d messages are left of 2; the command said %v", k, sticky, n, err)
			}
			if f.calls < k {
				break
			}
		}
	}
}

// TestDeleteFails fails every call of a DELETE, and those after it: while it says no, the
// mailbox is there, also after the next start, with the UIDVALIDITY that it had.
func TestDeleteFails(t *testing.T) {
	t.Parallel()
	for n := range 4 {
		sticky, life := n%2 > 0, time.Duration(n/2)*time.Hour
		for k := 1; ; k++ {
			f := openFailing(t, newMaildir(t), k, sticky)
			create(t, f.Account, "Box")
			appendMessage(t, f.Account, "Box", mail1)
			f.SetKeep(life)
			before, err := f.Status(context.Background(), "Box", false)
			if err != nil {
				t.Fatal(err)
			}
			n, err := f.run(t, func() error { return f.Delete(context.Background(), "Box") })
			if err != nil && n != 1 {
				t.Errorf("call %d fails, and later ones %v: %d messages are left; the command said %v", k, sticky, n, err)
			}
			if err == nil && n != 0 {
				t.Errorf("call %d fails, and later ones %v: the command said yes, and %d messages are left", k, sticky, n)
			}
			if err != nil {
				if now, err := f.Status(context.Background(), "Box", false); err != nil || now.UIDValidity != before.UIDValidity {
					t.Errorf("call %d fails, and later ones %v: UIDVALIDITY %d becomes %d, %v", k, sticky, before.UIDValidity, now.UIDValidity, err)
				}
			}
			if f.calls < k {
				break
			}
		}
	}
}

// TestCreateFails fails every call of a CREATE, and those after it but for what takes the
// mailbox back: while it says no, there is none, and it can be made later.
func TestCreateFails(t *testing.T) {
	t.Parallel()
	for k := 1; ; k++ {
		f := openFailing(t, newMaildir(t), k, false)
		f.armed = true
		err := f.Create(context.Background(), "Box")
		f.armed = false
		if there := f.Exists(context.Background(), "Box"); there != (err == nil) {
			t.Errorf("call %d fails: the command said %v, and the mailbox is there: %v", k, err, there)
		}
		if f.index.failed == nil && err != nil {
			create(t, f.Account, "Box")
			appendMessage(t, f.Account, "Box", mail1)
		}
		broken := f.index.failed != nil
		_ = f.Close() // what has failed before may fail it
		if a := openUnwatched(t, f.dir); a.Exists(context.Background(), "Box") == broken {
			t.Errorf("call %d fails, and the account ends by that: %v; the mailbox is there after a restart: %v", k, broken, !broken)
		}
		if f.calls < k {
			break
		}
	}
}

// TestCreateDelivered has mail come into a mailbox that could not be opened: it stays, with
// what is in it.
func TestCreateDelivered(t *testing.T) {
	dir := newMaildir(t)
	made := false
	ops := &maildir.Ops{}
	a, err := Open(t.Context(), Options{Maildir: dir, ops: ops, unwatched: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	ops.Trace = func(op maildir.Op) error {
		if op.Call == "rename" && filepath.Base(op.To) == ".Box" {
			made = true
		} else if made && op.Call == "syncdir" {
			made = false
			deliver(t, filepath.Join(dir, ".Box"), "1000.M1P1.host", mail1)
			return unix.EIO
		}
		return nil
	}
	if err := a.Create(t.Context(), "Box"); err == nil {
		t.Error("the sync that failed is no error")
	}
	ops.Trace = nil
	if v := selectBox(t, a, "Box", true); v.Len() != 1 {
		t.Errorf("%d messages", v.Len())
	}
}

// TestPutBackTaken puts a mailbox that was set aside beside another one that has its name by
// now. For as long as that cannot be done, it stays where it is.
func TestPutBackTaken(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	create(t, a, "Box", "Other")
	appendMessage(t, a, "Box", mail1)
	appendMessage(t, a, "Other", mail2)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(a.own, deletedDir)
	err := os.Mkdir(aside, 0o700)
	for _, step := range [][2]string{{filepath.Join(a.dir, ".Box"), filepath.Join(aside, ".Box")}, {filepath.Join(a.dir, ".Other"), filepath.Join(a.dir, ".Box")}} {
		if err == nil {
			err = os.Rename(step[0], step[1])
		}
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(aside, "1.unfinished"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	a = openWith(t, Options{Maildir: a.dir, unwatched: true, ops: &maildir.Ops{Trace: func(op maildir.Op) error {
		if op.Call == "rename" && strings.HasPrefix(filepath.Base(op.To), ".Box") {
			return unix.EIO
		}
		return nil
	}}})
	if left := files(t, aside); len(left) != 1 || left[0] != ".Box" || len(files(t, aside, ".Box", "cur")) != 1 {
		t.Errorf("left: %q", left)
	}
	if v := selectBox(t, a, "Box", true); v.Len() != 1 || read(t, v, 1) != mail2 {
		t.Errorf("%d messages in the other one", v.Len())
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = openUnwatched(t, a.dir)
	for box, text := range map[string]string{"Box": mail2, "Box-1": mail1} {
		if v := selectBox(t, a, box, true); v.Len() != 1 || read(t, v, 1) != text {
			t.Errorf("%d messages in %s", v.Len(), box)
		}
	}
	if err := a.Delete(t.Context(), "Box"); err != nil {
		t.Errorf("what has been in its way is: %v", err)
	}
}
