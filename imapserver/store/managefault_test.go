package store

import (
	"context"
	"testing"

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

// run arms it, runs a command and closes the account; then it counts the
// messages of all mailboxes anew.
func (f *failing) run(t *testing.T, command func() error) (messages int, err error) {
	f.armed = true
	err = command()
	f.armed = false
	_ = f.Close() // what has failed before may fail it
	a := openUnwatched(t, f.dir)
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

// TestDeleteFails fails every call of a DELETE: while it says no, the mailbox is
// there, also after the next start.
func TestDeleteFails(t *testing.T) {
	t.Parallel()
	for k := 1; ; k++ {
		f := openFailing(t, newMaildir(t), k, false)
		create(t, f.Account, "Box")
		appendMessage(t, f.Account, "Box", mail1)
		n, err := f.run(t, func() error { return f.Delete(context.Background(), "Box") })
		if err != nil && n != 1 {
			t.Errorf("call %d fails: %d messages are left; the command said %v", k, n, err)
		}
		if err == nil && n != 0 {
			t.Errorf("call %d fails: the command said yes, and %d messages are left", k, n)
		}
		if f.calls < k {
			break
		}
	}
}
