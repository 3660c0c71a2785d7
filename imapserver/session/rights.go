package session

import (
	"context"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// need is the rights that a command needs (RFC 4314 §4).
type need struct {
	named    store.Rights // of the mailbox that it names
	oneOf    store.Rights // one of them, of that mailbox; 0: none
	above    store.Rights // of the mailbox above the name that it makes
	selected store.Rights // of the selected mailbox
}

// needs is every command after login. Those that are about no mailbox need
// nothing; neither do SUBSCRIBE and UNSUBSCRIBE, which do not look whether there
// is one. What depends on the command's arguments its own code looks at: LIST
// shows what may be looked up, STORE and FETCH change flags that may be changed,
// CLOSE expunges where that is allowed.
var needs = map[string]need{
	"CAPABILITY":  {},
	"NOOP":        {},
	"LOGOUT":      {},
	"ID":          {},
	"ENABLE":      {},
	"NAMESPACE":   {},
	"IDLE":        {},
	"COMPRESS":    {},
	"NOTIFY":      {},
	"LIST":        {},
	"LSUB":        {},
	"XLIST":       {},
	"SUBSCRIBE":   {},
	"UNSUBSCRIBE": {},

	"GETQUOTA":     {},
	"SETQUOTA":     {},
	"GETQUOTAROOT": {named: store.RightRead},

	"UNAUTHENTICATE": {},

	"SELECT":  {named: store.RightRead},
	"EXAMINE": {named: store.RightRead},
	"STATUS":  {named: store.RightRead},
	"ESEARCH": {named: store.RightRead},
	"CREATE":  {above: store.RightCreate},
	"DELETE":  {named: store.RightDelete},
	"RENAME":  {named: store.RightDelete, above: store.RightCreate},
	"APPEND":  {named: store.RightInsert},

	"GETACL":     {named: store.RightAdmin},
	"SETACL":     {named: store.RightAdmin},
	"DELETEACL":  {named: store.RightAdmin},
	"LISTRIGHTS": {named: store.RightAdmin},
	"MYRIGHTS":   {oneOf: store.RightLookup | store.RightRead | store.RightInsert | store.RightCreate | store.RightDelete | store.RightAdmin},

	"GETMETADATA": {named: store.RightLookup, oneOf: annotated},
	"SETMETADATA": {named: store.RightLookup, oneOf: annotated},

	"CHECK":    {},
	"CLOSE":    {},
	"UNSELECT": {},
	"EXPUNGE":  {selected: store.RightExpunge},
	"SEARCH":   {selected: store.RightRead},
	"SORT":     {selected: store.RightRead},
	"THREAD":   {selected: store.RightRead},

	"CANCELUPDATE": {},

	"FETCH":      {selected: store.RightRead},
	"STORE":      {selected: store.RightRead},
	"COPY":       {selected: store.RightRead, named: store.RightInsert},
	"UIDBATCHES": {selected: store.RightRead},
	"REPLACE":    {selected: store.RightDeleted | store.RightExpunge, named: store.RightInsert},
	"MOVE":       {selected: store.RightRead | store.RightDeleted | store.RightExpunge, named: store.RightInsert},
}

// needOf gives the row of a command; UID forms need what the others do.
func needOf(command string) need { return needs[strings.TrimPrefix(command, "UID ")] }

// errRights is the answer to who may see a mailbox, but not do that with it.
var errRights = no(imap.ResponseCodeNoPerm, "not permitted")

// met tells whether the rights to the mailbox that a command names suffice.
func (n need) met(have store.Rights) bool {
	return have.Has(n.named) && (n.oneOf == 0 || have.Any(n.oneOf))
}

// change are the rights without any of which a mailbox is read-only: its flags
// are shared by all who see it (RFC 4314 §5.2).
const change = store.RightInsert | store.RightExpunge | store.RightSeen | store.RightWrite | store.RightDeleted

// flagRights are those that it takes to change flags, of which one is enough for
// a STORE not to fail (RFC 4314 §4).
const flagRights = store.RightSeen | store.RightWrite | store.RightDeleted

// rightTo gives the right that it takes to change a flag.
func rightTo(f imap.Flag) store.Rights {
	switch f {
	case imap.FlagSeen:
		return store.RightSeen
	case imap.FlagDeleted:
		return store.RightDeleted
	}
	return store.RightWrite
}

// permitted leaves out the flags that a new message may not be given: they are
// lost without a word (RFC 4314 §4, APPEND).
func permitted(flags []imap.Flag, have store.Rights) []imap.Flag {
	var out []imap.Flag
	for _, f := range flags {
		if have.Has(rightTo(f)) {
			out = append(out, f)
		}
	}
	return out
}

// authorize looks at the rights to the selected mailbox before a command that is
// about it.
func (s *session) authorize(req wire.Request) error {
	if s.selected == nil || req.Row.States != wire.Selected {
		return nil
	}
	if err := s.review(); err != nil {
		return err
	}
	if !s.selected.rights.Has(s.need.selected) {
		return errRights
	}
	return nil
}

// reviewEvery is how long rights to the selected mailbox hold that another program
// may change meanwhile. What changes through us is seen at once.
const reviewEvery = 100 * time.Millisecond

// review takes note of what others have made of the rights to the selected
// mailbox (RFC 4314 §5.1.1). One that may not be read any more is gone.
func (s *session) review() error {
	v := s.selected
	if v.changes == v.account.RightsChanged() && time.Since(v.reviewed) < reviewEvery {
		return nil
	}
	v.changes, v.reviewed = v.account.RightsChanged(), time.Now()
	now := v.view.Rights(s.User, v.own)
	if now == v.rights {
		return nil
	}
	if !now.Has(store.RightRead) {
		return s.gone(store.ErrNotFound)
	}
	v.rights = now
	v.view.Restrict(now)
	s.writeMailboxFlags()
	return nil
}

// place is a mailbox that a command is about, as the session's user sees it.
type place struct {
	home
	name   string // the store's
	rights store.Rights
}

// home is the account of a mailbox.
type home struct {
	account *store.Account
	owner   string // the user whose mail it is
	own     bool   // that is the session's
}

// denied is the answer to who lacks a right. Without the right to look a mailbox
// up, it is as if there were none (RFC 4314 §6).
func (p place) denied(ctx context.Context) error {
	if p.rights.Has(store.RightLookup) && p.account.Exists(ctx, p.name) {
		return errRights
	}
	return store.ErrNotFound
}

// home is the user's own account.
func (s *session) home() home { return home{account: s.Account, owner: s.User, own: true} }

// target is the place as one to copy to.
func (p place) target() store.Target {
	return store.Target{Account: p.account, Mailbox: p.name, Rights: p.rights}
}

// at calls f with the mailbox that a client's name means, if the user has the
// rights to it that the command needs. Where the name may mean two mailboxes, it
// goes on to the second if there is not the first.
func (s *session) at(ctx context.Context, client string, f func(p place) error) error {
	if user, name, ok := s.cutOthers(client); ok {
		h, err := s.borrow(ctx, user)
		if err != nil {
			return err
		}
		return s.enter(ctx, h, name, f)
	}
	return s.names.resolve(client, func(name string) error { return s.enter(ctx, s.home(), name, f) })
}

// enter calls f with a mailbox of an account, if the user has the rights.
func (s *session) enter(ctx context.Context, h home, name string, f func(p place) error) error {
	p := place{home: h, name: name}
	var err error
	if p.rights, err = h.account.Rights(ctx, name, s.User, h.own); err != nil {
		return err
	}
	if !s.need.met(p.rights) {
		return p.denied(ctx)
	}
	return f(p)
}

// borrow gives the account of another user, who shares something with this one,
// until the command has been answered. Of anyone else there is nothing to be
// found.
func (s *session) borrow(ctx context.Context, user string) (home, error) {
	a, release, err := s.Others.Open(ctx, user, s.User)
	if err != nil {
		return home{}, err
	}
	s.borrowed = append(s.borrowed, release)
	return home{account: a, owner: user}, nil
}

// giveBack gives back what the command has borrowed.
func (s *session) giveBack() {
	for _, release := range s.borrowed {
		release()
	}
	s.borrowed = nil
}

// visit calls f with the account of another user as borrow gives it, for as long
// as f runs.
func (s *session) visit(ctx context.Context, user string, f func(h home) error) error {
	a, release, err := s.Others.Open(ctx, user, s.User)
	if err != nil {
		return err
	}
	defer release()
	return f(home{account: a, owner: user})
}

// toMake calls f with the place of a mailbox that is to be made under a client's
// name, if the user has the rights to the one above it that the command needs.
func (s *session) toMake(ctx context.Context, client string, f func(p place) error) error {
	client = strings.TrimSuffix(client, delimiter)
	if user, name, ok := s.cutOthers(client); ok {
		h, err := s.borrow(ctx, user)
		if err != nil {
			return err
		}
		return s.makeIn(ctx, h, name, f)
	}
	name, err := s.names.target(client)
	if err != nil {
		return err
	}
	return s.makeIn(ctx, s.home(), name, f)
}

func (s *session) makeIn(ctx context.Context, h home, name string, f func(p place) error) error {
	p := place{home: h, name: name}
	var err error
	if p.rights, err = h.account.RightsToMake(ctx, name, s.User, h.own); err != nil {
		return err
	}
	switch {
	case p.rights.Has(s.need.above):
		if err := s.newName(ctx, p); err != nil {
			return err
		}
		return f(p)
	case p.rights.Has(store.RightLookup):
		return errRights
	}
	return store.ErrNotFound // as if the one above were not there
}
