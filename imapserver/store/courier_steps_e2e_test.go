package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailstead/imapserver/maildir"
	"mailstead/imapserver/store"
)

// someFlags are flags that both servers can have on a message.
var someFlags = []imap.Flag{
	imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDraft, imap.FlagDeleted,
	imap.FlagForwarded, imap.FlagJunk, "Work", "Later", "x.y/z:1", "$Label2",
}

func (tr *traveller) flags() []imap.Flag {
	var list []imap.Flag
	for _, f := range someFlags {
		if tr.rnd.IntN(4) == 0 {
			list = append(list, f)
		}
	}
	return list
}

func (tr *traveller) message() string {
	tr.made++
	return fmt.Sprintf("From: a@example.test\r\nSubject: message %d\r\n\r\n%s\r\n", tr.made, strings.Repeat("text\r\n", tr.rnd.IntN(20)))
}

func (tr *traveller) date() time.Time {
	return time.Unix(1500000000+tr.rnd.Int64N(200000000), 0)
}

func (tr *traveller) name() string {
	tr.made++
	return fmt.Sprintf("%s%d", []string{"Box", "Ünï", "R&D ", "a.b"}[tr.rnd.IntN(4)], tr.made)
}

// ourStep is one random change by us. That a mailbox is not there, or has
// others below it, is no failure.
func (tr *traveller) ourStep(a *store.Account) {
	ctx := context.Background()
	box, other := tr.ourBox(a), tr.ourBox(a)
	var err error
	switch tr.rnd.IntN(14) {
	case 0:
		err = a.Create(ctx, tr.name())
	case 1:
		err = a.Rename(ctx, box, tr.name())
	case 2:
		if tr.rnd.IntN(2) == 0 && box != "Trash" {
			err = a.Delete(ctx, box)
		}
	case 3:
		err = a.Subscribe(ctx, box, tr.rnd.IntN(2) == 0)
	case 4:
		tr.made++
		dir := tr.dirOf(box)
		name := fmt.Sprintf("%d.M%dP1.host", 1700000000+tr.made, tr.made)
		err = os.WriteFile(filepath.Join(dir, "new", name), []byte(strings.ReplaceAll(tr.message(), "\r", "")), 0o600)
	case 5, 6, 7:
		var d *store.Draft
		if d, err = a.NewDraft(ctx, box); err == nil {
			_, err = d.Write([]byte(tr.message()))
			if err == nil {
				_, _, err = d.Commit(ctx, tr.flags(), tr.date())
			}
			d.Abort()
		}
	default:
		err = tr.ourMessageStep(ctx, a, box, other)
	}
	for _, fine := range []error{store.ErrNotFound, store.ErrExists, store.ErrInbox, store.ErrChildren, store.ErrName} {
		if errors.Is(err, fine) {
			return
		}
	}
	if err != nil {
		tr.t.Fatal(err)
	}
}

// dirOf is the directory of a mailbox, however names are spelt.
func (tr *traveller) dirOf(box string) string {
	for _, enc := range []maildir.Encoding{maildir.UTF8, maildir.ModifiedUTF7} {
		dir, err := maildir.EncodeName(box, enc)
		if err != nil {
			tr.t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(tr.dir, dir)); err == nil {
			return filepath.Join(tr.dir, dir)
		}
	}
	tr.t.Fatalf("%q has no directory", box)
	return ""
}

func (tr *traveller) ourBox(a *store.Account) string {
	list, err := a.List(context.Background())
	if err != nil {
		tr.t.Fatal(err)
	}
	for {
		if e := list[tr.rnd.IntN(len(list))]; e.Selectable {
			return e.Name
		}
	}
}

func (tr *traveller) ourMessageStep(ctx context.Context, a *store.Account, box, other string) error {
	v, err := a.Select(ctx, box, false)
	if err != nil {
		return err
	}
	defer v.Close()
	to := store.Target{Account: a, Mailbox: other, Rights: store.AllRights}
	var seqs []store.SeqNum
	for n := range v.Len() {
		if tr.rnd.IntN(4) == 0 {
			seqs = append(seqs, store.SeqNum(n+1))
		}
	}
	switch tr.rnd.IntN(4) {
	case 0:
		_, err = v.Copy(ctx, seqs, to)
	case 1:
		_, err = v.Move(ctx, seqs, to)
	case 2:
		err = v.Expunge(ctx, nil)
	default:
		op := []store.StoreOp{store.StoreAdd, store.StoreRemove, store.StoreSet}[tr.rnd.IntN(3)]
		err = v.Store(ctx, seqs, op, tr.flags())
	}
	return err
}

// theirStep is one random change by the other server.
func (tr *traveller) theirStep(c *imapclient.Client) {
	box, other := tr.theirPick(c), tr.theirPick(c)
	if tr.rnd.IntN(3) == 0 {
		text := tr.message()
		app := c.Append(box, int64(len(text)), &imap.AppendOptions{Flags: tr.flags(), Time: tr.date()})
		_, err := app.Write([]byte(text))
		err = errors.Join(err, app.Close())
		if _, werr := app.Wait(); err != nil || werr != nil {
			tr.t.Fatalf("APPEND %s: %v", box, errors.Join(err, werr))
		}
		return
	}
	sel, err := c.Select(box, nil).Wait()
	if err != nil {
		tr.t.Fatalf("SELECT %s: %v", box, err)
	}
	var set imap.SeqSet
	for n := range sel.NumMessages {
		if tr.rnd.IntN(4) == 0 {
			set.AddNum(n + 1)
		}
	}
	if len(set) == 0 {
		return
	}
	switch tr.rnd.IntN(4) {
	case 0:
		_, err = c.Copy(set, other).Wait()
	case 1:
		err = c.Expunge().Close()
	default:
		op := []imap.StoreFlagsOp{imap.StoreFlagsAdd, imap.StoreFlagsDel, imap.StoreFlagsSet}[tr.rnd.IntN(3)]
		if flags := tr.flags(); len(flags) > 0 {
			err = c.Store(set, &imap.StoreFlags{Op: op, Flags: flags, Silent: true}, nil).Close()
		}
	}
	if err != nil {
		tr.t.Fatalf("in %s: %v", box, err)
	}
}

// theirManage changes their mailboxes; each change takes Courier two seconds.
func (tr *traveller) theirManage(c *imapclient.Client) {
	try := func(what string, err error) {
		var ierr *imap.Error
		if err != nil && !errors.As(err, &ierr) {
			tr.t.Fatalf("%s: %v", what, err)
		}
	}
	_, err := c.Select("INBOX", nil).Wait() // Dovecot ends sessions in a mailbox that goes
	try("SELECT", err)
	name := tr.theirName(tr.name())
	try("CREATE", c.Create(name, nil).Wait())
	try("SUBSCRIBE", c.Subscribe(name).Wait())
	try("UNSUBSCRIBE", c.Unsubscribe(tr.theirPick(c)).Wait())
	if box := tr.theirPick(c); box != "INBOX" && box != tr.theirName("Trash") {
		try("RENAME", c.Rename(box, tr.theirName(tr.name()), nil).Wait())
	}
	// Dovecot goes on to list one that had others below it.
	if box := tr.theirPick(c, imap.MailboxAttrHasChildren); box != "INBOX" && box != tr.theirName("Trash") {
		try("DELETE", c.Delete(box).Wait())
	}
}

// theirPick gives one of their mailboxes, without these attributes.
func (tr *traveller) theirPick(c *imapclient.Client, but ...imap.MailboxAttr) string {
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		tr.t.Fatal(err)
	}
	for {
		e := list[tr.rnd.IntN(len(list))]
		if !slices.ContainsFunc(e.Attrs, func(a imap.MailboxAttr) bool { return a == imap.MailboxAttrNoSelect || slices.Contains(but, a) }) {
			return e.Mailbox
		}
	}
}
