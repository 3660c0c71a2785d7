package kind

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"mailstead/imapserver/maildir"
	"mailstead/reconcile"
)

// Folder is a mailbox of a user, with its special use and its subscription. It
// is ensured once: what a client deletes or unsubscribes later is not drift.
func Folder(m MaildirSpec, f FolderSpec, origin string) reconcile.Resource {
	subscribed := "no"
	if f.Subscribed {
		subscribed = "yes"
	}
	return reconcile.Resource{
		Ref:    FolderRef(m.User, f.Name),
		Origin: origin,
		Needs:  []reconcile.Ref{MaildirRef(m.User)},
		Attrs: append(m.attrs(),
			reconcile.Attr{Name: "name", Value: f.Name, Impact: reconcile.Live},
			reconcile.Attr{Name: "use", Value: f.Use, Impact: reconcile.Live, Shared: true},
			reconcile.Attr{Name: "subscribed", Value: subscribed, Impact: reconcile.Live}),
	}
}

// FolderRef names a mailbox of a user.
func FolderRef(user, name string) reconcile.Ref {
	return reconcile.Ref{Kind: "folder", Name: user + "/" + name}
}

// mailFolder is a mailbox in an opened tree.
type mailFolder struct {
	*tree
	name string
	dir  string // its directory in the tree
	enc  maildir.Encoding
}

// openFolder opens the tree around a mailbox; nil without an error if there is none.
func openFolder(r reconcile.Resource) (*mailFolder, error) {
	p, err := placeOf(r)
	if err != nil {
		return nil, err
	}
	t, err := openTree(p, false)
	if t == nil || err != nil {
		return nil, err
	}
	f := &mailFolder{tree: t, name: r.Get("name")}
	if strings.EqualFold(f.name, maildir.Inbox) {
		f.name = maildir.Inbox
	}
	names, err := t.dots()
	if err == nil {
		f.enc = maildir.DetectEncoding(names)
		f.dir, err = maildir.EncodeName(f.name, f.enc)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return f, nil
}

func observeFolder(ask reconcile.Ask) (*reconcile.Resource, error) {
	f, err := openFolder(ask.Resource)
	if f == nil || err != nil {
		return nil, err
	}
	defer f.close()
	n, err := f.tree.dir.open(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer n.close()
	if !n.isMailbox() {
		return nil, nil
	}
	use, err := f.use()
	if err != nil {
		return nil, err
	}
	have := found(ask.Resource, value{name: "use", value: use})
	if ask.Get("subscribed") == "yes" {
		subs, err := f.subscriptions()
		if err != nil {
			return nil, err
		}
		if !subs.Has(f.name) {
			value{name: "subscribed", value: "no"}.put(have)
		}
	}
	return have, nil
}

// subscriptions reads the list of the account.
func (f *mailFolder) subscriptions() (maildir.Subscriptions, error) {
	data, err := f.tree.dir.readFile(maildir.SubscriptionsFile)
	return maildir.ParseSubscriptions(data, f.enc), err
}

// uses reads the special uses of the account's mailboxes.
func (f *mailFolder) uses() ([]maildir.SpecialUse, error) {
	own, err := f.tree.dir.open(maildir.OwnDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer own.close()
	data, err := own.readFile(maildir.SpecialUseFile)
	return maildir.ParseSpecialUse(data), err
}

// use gives the special use of the mailbox, "" for none.
func (f *mailFolder) use() (string, error) {
	uses, err := f.uses()
	for _, u := range uses {
		if u.Name == f.name {
			return u.Use, err
		}
	}
	return "", err
}

func applyFolder(c reconcile.Change) error {
	f, err := openFolder(*c.Want)
	if err != nil {
		return err
	}
	if f == nil {
		return fmt.Errorf("no Maildir %s", c.Want.Get("path"))
	}
	defer f.close()
	if err := f.make(); err != nil {
		return err
	}
	if err := f.setUse(c.Want.Get("use")); err != nil {
		return err
	}
	if c.Want.Get("subscribed") != "yes" {
		return nil
	}
	return f.subscribe()
}

// make makes what is missing of the mailbox.
func (f *mailFolder) make() error {
	n, err := f.tree.dir.open(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		n, err = f.mkdir(f.tree.dir, f.dir)
	}
	if err != nil {
		return err
	}
	defer n.close()
	return f.complete(n, f.name != maildir.Inbox)
}

// setUse gives the mailbox its special use, or takes it away. What had the use
// before loses it: clients look for one mailbox of each (RFC 6154 §2).
func (f *mailFolder) setUse(use string) error {
	uses, err := f.uses()
	if err != nil {
		return err
	}
	next := slices.DeleteFunc(slices.Clone(uses), func(u maildir.SpecialUse) bool { return u.Name == f.name || u.Use == use })
	if use != "" {
		next = append(next, maildir.SpecialUse{Use: use, Name: f.name})
	}
	if have, err := f.use(); err != nil || have == use && len(next) == len(uses) {
		return err
	}
	data, err := maildir.EncodeSpecialUse(next)
	if err != nil {
		return err
	}
	own, err := f.tree.dir.open(maildir.OwnDir)
	if errors.Is(err, fs.ErrNotExist) {
		own, err = f.mkdir(f.tree.dir, maildir.OwnDir)
	}
	if err != nil {
		return err
	}
	defer own.close()
	return own.writeFile(maildir.SpecialUseFile, data)
}

// subscribe adds the mailbox to the account's list.
func (f *mailFolder) subscribe() error {
	subs, err := f.subscriptions()
	if err != nil {
		return err
	}
	if !subs.Set(f.name, true) {
		return nil
	}
	data, err := maildir.EncodeSubscriptions(subs, f.enc)
	if err != nil {
		return err
	}
	return f.tree.dir.writeFile(maildir.SubscriptionsFile, data)
}
