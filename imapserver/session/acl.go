package session

import (
	"context"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// An identifier is a user's name, "anyone", "owner" for whoever the mailbox
// belongs to, or one in the form of Courier's files, "user=NAME" and
// "group=NAME"; behind a "-" it has negative rights. The owner goes by name in
// answers.

// errIdentifier is the answer to what can be no identifier (RFC 4314 §3).
var errIdentifier = bad("this identifier cannot be used")

// identifier gives an identifier as an ACL has it.
func (p place) identifier(client string) (id string, negative bool, err error) {
	id, negative = strings.CutPrefix(client, "-")
	switch {
	case id == "anonymous":
		id = store.IDAnyone
	case id == p.owner, id == store.IDUser+p.owner:
		id = store.IDOwner
	case id == store.IDAnyone, id == store.IDOwner, strings.HasPrefix(id, store.IDUser), strings.HasPrefix(id, store.IDGroup):
	default:
		id = store.IDUser + id
	}
	if store.CheckID(id) != nil {
		return "", false, errIdentifier
	}
	return id, negative, nil
}

// shownID is an identifier as answers have it: one that the client may hand back.
func (p place) shownID(g store.Grant) string {
	id := g.ID
	name, isUser := strings.CutPrefix(id, store.IDUser)
	switch {
	case id == store.IDOwner:
		id = p.owner
	case isUser && name != store.IDAnyone && name != store.IDOwner && name[0] != '-' && !strings.Contains(name, "="):
		id = name
	}
	if g.Negative {
		return "-" + id
	}
	return id
}

// getACL is GETACL (RFC 4314 §3.3).
func (s *session) getACL(ctx context.Context, c *wire.GetACL) (imap.ResponseCode, error) {
	return "", s.at(ctx, c.Mailbox, func(p place) error {
		acl, err := p.account.ACL(ctx, p.name)
		if err != nil {
			return err
		}
		s.w.Raw("* ACL ")
		s.w.Mailbox(shown(c.Mailbox))
		for _, g := range p.merged(acl) {
			s.w.Raw(" ")
			s.w.String(p.shownID(g))
			s.w.Raw(" ")
			s.writeRights(g.Rights)
		}
		s.w.CRLF()
		return nil
	})
}

// merged gives an ACL in which the owner has one entry, with what the rights
// come to that a file has for the name.
func (p place) merged(acl store.ACL) store.ACL {
	for _, negative := range []bool{false, true} {
		byName := store.IDUser + p.owner
		r := acl.Of(store.IDOwner, negative) | acl.Of(byName, negative)
		if !negative {
			r |= store.RightLookup | store.RightAdmin
		}
		if r != 0 {
			acl = acl.With(store.IDOwner, negative, r).Without(byName, negative)
		}
	}
	return acl
}

func (s *session) writeRights(r store.Rights) {
	s.w.Append(func(dst []byte) []byte { return wire.AppendRights(dst, r.String()) })
}

// setACL is SETACL (RFC 4314 §3.1). Rights that the owner always has are not
// taken away, and that is no error.
func (s *session) setACL(ctx context.Context, c *wire.SetACL) (imap.ResponseCode, error) {
	change := func(have store.Rights) store.Rights {
		r := store.ParseRights(c.Rights)
		switch c.Op {
		case wire.StoreAdd:
			return have | r
		case wire.StoreRemove:
			return have &^ r
		}
		return r
	}
	return "", s.changeACL(ctx, c.Mailbox, c.Identifier, change)
}

// deleteACL is DELETEACL (RFC 4314 §3.2).
func (s *session) deleteACL(ctx context.Context, c *wire.DeleteACL) (imap.ResponseCode, error) {
	return "", s.changeACL(ctx, c.Mailbox, c.Identifier, func(store.Rights) store.Rights { return 0 })
}

// changeACL changes the rights of one identifier; without any it has no entry.
func (s *session) changeACL(ctx context.Context, mailbox, client string, change func(store.Rights) store.Rights) error {
	return s.at(ctx, mailbox, func(p place) error {
		id, negative, err := p.identifier(client)
		if err != nil {
			return err
		}
		err = p.account.ChangeACL(ctx, p.name, func(acl store.ACL) (store.ACL, error) {
			acl = p.merged(acl)
			if r := change(acl.Of(id, negative)); r != 0 {
				return acl.With(id, negative, r), nil
			}
			return acl.Without(id, negative), nil
		})
		if s.Others != nil {
			s.Others.Forget(p.owner)
		}
		return err
	})
}

// listRights is LISTRIGHTS (RFC 4314 §3.4). No right is tied to another.
func (s *session) listRights(ctx context.Context, c *wire.ListRights) (imap.ResponseCode, error) {
	return "", s.at(ctx, c.Mailbox, func(p place) error {
		id, negative, err := p.identifier(c.Identifier)
		if err != nil {
			return err
		}
		if !p.account.Exists(ctx, p.name) {
			return store.ErrNotFound
		}
		var always store.Rights
		if id == store.IDOwner && !negative {
			always = store.RightLookup | store.RightAdmin
		}
		s.w.Raw("* LISTRIGHTS ")
		s.w.Mailbox(shown(c.Mailbox))
		s.w.Raw(" ")
		s.w.String(c.Identifier)
		s.w.Raw(" ")
		s.w.AString(always.String())
		for _, right := range wire.StandardRights + wire.ObsoleteRights {
			if !strings.ContainsRune(always.String(), right) {
				s.w.Raw(" " + string(right))
			}
		}
		s.w.CRLF()
		return nil
	})
}

// myRights is MYRIGHTS (RFC 4314 §3.5).
func (s *session) myRights(ctx context.Context, c *wire.MyRights) (imap.ResponseCode, error) {
	return "", s.at(ctx, c.Mailbox, func(p place) error {
		if !p.account.Exists(ctx, p.name) {
			return store.ErrNotFound
		}
		s.writeMyRights(shown(c.Mailbox), p.rights)
		return nil
	})
}

func (s *session) writeMyRights(client string, r store.Rights) {
	s.w.Raw("* MYRIGHTS ")
	s.w.Mailbox(client)
	s.w.Raw(" ")
	s.writeRights(r)
	s.w.CRLF()
}
