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

// account is an opened tree with what its mailboxes have in common, each read when
// it is first asked for and written once for all of them.
type account struct {
	*tree
	enc  maildir.Encoding
	uses shared[[]maildir.SpecialUse]
	subs shared[maildir.Subscriptions]
}

// shared is the content of a file of an account.
type shared[T any] struct {
	read    bool
	value   T
	err     error
	changed bool
}

func (s *shared[T]) get(read func() (T, error)) (T, error) {
	if !s.read {
		s.read = true
		s.value, s.err = read()
	}
	return s.value, s.err
}

// openAccount opens the tree around a mailbox; nil without an error if there is none.
func openAccount(t mailThing) (*account, error) {
	p, err := t.place()
	if err != nil {
		return nil, err
	}
	tree, err := openTree(p, false)
	if tree == nil || err != nil {
		return nil, err
	}
	names, err := tree.dots()
	if err != nil {
		tree.close()
		return nil, err
	}
	return &account{tree: tree, enc: maildir.DetectEncoding(names)}, nil
}

// mailbox gives the name of a mailbox and that of its directory in the tree.
func (a *account) mailbox(t mailThing) (name, dir string, err error) {
	if name = t.get("name"); strings.EqualFold(name, maildir.Inbox) {
		name = maildir.Inbox
	}
	dir, err = maildir.EncodeName(name, a.enc)
	return name, dir, err
}

// observeFolders looks at mailboxes of one account.
func observeFolders(asks []mailThing) []mailSeen {
	out := make([]mailSeen, len(asks))
	a, err := openAccount(asks[0])
	if a != nil {
		defer a.close()
	}
	for i, ask := range asks {
		if out[i].err = err; a != nil {
			out[i] = a.observe(ask)
		}
	}
	return out
}

func (a *account) observe(ask mailThing) (s mailSeen) {
	name, dir, err := a.mailbox(ask)
	if err != nil {
		return mailSeen{err: err}
	}
	n, err := a.tree.dir.open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s
	}
	if err != nil {
		return mailSeen{err: err}
	}
	defer n.close()
	if !n.isMailbox() {
		return s
	}
	use, err := a.use(name)
	if err != nil {
		return mailSeen{err: err}
	}
	s.There = true
	s.differ(ask, "use", use)
	if ask.get("subscribed") == "yes" {
		subs, err := a.subscriptions()
		if err != nil {
			return mailSeen{err: err}
		}
		if !subs.Has(name) {
			s.differ(ask, "subscribed", "no")
		}
	}
	return s
}

// subscriptions gives the list of the account.
func (a *account) subscriptions() (maildir.Subscriptions, error) {
	return a.subs.get(func() (maildir.Subscriptions, error) {
		data, err := a.tree.dir.readFile(maildir.SubscriptionsFile)
		return maildir.ParseSubscriptions(data, a.enc), err
	})
}

// specialUses gives the special uses of the account's mailboxes.
func (a *account) specialUses() ([]maildir.SpecialUse, error) {
	return a.uses.get(func() ([]maildir.SpecialUse, error) {
		own, err := a.tree.dir.open(maildir.OwnDir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer own.close()
		data, err := own.readFile(maildir.SpecialUseFile)
		return maildir.ParseSpecialUse(data), err
	})
}

// use gives the special use of a mailbox, "" for none.
func (a *account) use(name string) (string, error) {
	uses, err := a.specialUses()
	for _, u := range uses {
		if u.Name == name {
			return u.Use, err
		}
	}
	return "", err
}

// makeFolders makes mailboxes of one account. The list of its subscriptions and
// that of its special uses are written once: a new account has ten of each.
func makeFolders(wants []mailThing) []error {
	errs := make([]error, len(wants))
	a, err := openAccount(wants[0])
	if a == nil && err == nil {
		err = fmt.Errorf("no Maildir %s", wants[0].get("path"))
	}
	if err == nil {
		defer a.close()
		for i, want := range wants {
			errs[i] = a.make(want)
		}
		err = errors.Join(a.writeUses(), a.writeSubscriptions())
	}
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
	return errs
}

// make makes what is missing of a mailbox, and notes its special use and its
// subscription.
func (a *account) make(want mailThing) error {
	name, dir, err := a.mailbox(want)
	if err != nil {
		return err
	}
	n, err := a.tree.dir.open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		n, err = a.mkdir(a.tree.dir, dir)
	}
	if err != nil {
		return err
	}
	defer n.close()
	if err := a.complete(n, name != maildir.Inbox); err != nil {
		return err
	}
	if err := a.setUse(name, want.get("use")); err != nil {
		return err
	}
	if want.get("subscribed") != "yes" {
		return nil
	}
	if _, err := a.subscriptions(); err != nil {
		return err
	}
	a.subs.changed = a.subs.value.Set(name, true) || a.subs.changed
	return nil
}

// setUse gives the mailbox its special use, or takes it away. What had the use
// before loses it: clients look for one mailbox of each (RFC 6154 §2).
func (a *account) setUse(name, use string) error {
	uses, err := a.specialUses()
	if err != nil {
		return err
	}
	next := slices.DeleteFunc(slices.Clone(uses), func(u maildir.SpecialUse) bool { return u.Name == name || u.Use == use })
	if use != "" {
		next = append(next, maildir.SpecialUse{Use: use, Name: name})
	}
	if have, err := a.use(name); err != nil || have == use && len(next) == len(uses) {
		return err
	}
	if _, err := maildir.EncodeSpecialUse(next); err != nil {
		return err
	}
	a.uses.value, a.uses.changed = next, true
	return nil
}

func (a *account) writeUses() error {
	if !a.uses.changed {
		return nil
	}
	data, err := maildir.EncodeSpecialUse(a.uses.value)
	if err != nil {
		return err
	}
	own, err := a.tree.dir.open(maildir.OwnDir)
	if errors.Is(err, fs.ErrNotExist) {
		own, err = a.mkdir(a.tree.dir, maildir.OwnDir)
	}
	if err != nil {
		return err
	}
	defer own.close()
	return own.writeFile(maildir.SpecialUseFile, data)
}

func (a *account) writeSubscriptions() error {
	if !a.subs.changed {
		return nil
	}
	data, err := maildir.EncodeSubscriptions(a.subs.value, a.enc)
	if err != nil {
		return err
	}
	return a.tree.dir.writeFile(maildir.SubscriptionsFile, data)
}
