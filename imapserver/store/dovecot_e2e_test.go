package store_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/store"
)

// toDovecot has the other server be Dovecot, and nobody else's mail.
func toDovecot(t *testing.T, fixture string) *traveller {
	t.Helper()
	dialogue.LabDir(t)
	path, err := exec.LookPath("dovecot")
	if err != nil {
		t.Fatal(err)
	}
	user := &dialogue.Script{Name: "demo"}
	d := dialogue.StartDovecot(t, path, []*dialogue.Script{user})
	demo, err := d.Account(user)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraveller(t, filepath.Dir(demo.Maildir), fixture)
	tr.subscribed = tr.dovecotSubscribed
	tr.handback = func(a *store.Account) error {
		tr.ours(a) // sizes are known then: a message whose size it does not know, Dovecot spoils as it copies it
		_, err := a.HandbackToDovecot(context.Background())
		return err
	}
	tr.dial = func() (*imapclient.Client, error) {
		tr.give(demo.UID, demo.GID)
		conn, err := demo.Dial("plain")
		if err != nil {
			return nil, err
		}
		return imapclient.New(conn, nil), nil
	}
	return tr
}

// give gives all mail to whom Dovecot serves it as.
func (tr *traveller) give(uid, gid int) {
	tr.t.Helper()
	err := filepath.WalkDir(tr.dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, gid))
	})
	if err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *traveller) dovecotSubscribed(c *imapclient.Client) (names []string) {
	list, err := c.List("", "*", &imap.ListOptions{SelectSubscribed: true}).Collect()
	if err != nil {
		tr.t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Mailbox)
	}
	return names
}

// TestDovecotRoundTrip: after random changes by us Dovecot serves the same, and after
// random changes by Dovecot we do; three times.
func TestDovecotRoundTrip(t *testing.T) {
	tr := toDovecot(t, "dovecot-A")
	a := tr.open()
	if err := a.Delete(t.Context(), "ManyKw"); err != nil { // in which there are more than Dovecot's files have
		t.Fatal(err)
	}
	tr.close(a)
	for range 3 {
		tr.round(true)
	}
}
