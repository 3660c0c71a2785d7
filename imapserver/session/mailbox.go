package session

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// codeUseAttr says that a mailbox cannot have a special use (RFC 6154 §6).
const codeUseAttr imap.ResponseCode = "USEATTR"

// create is CREATE (RFC 9051 §6.3.4). A delimiter at the end says that names
// below this one will follow, which needs no preparation.
func (s *session) create(ctx context.Context, c *wire.Create) (code imap.ResponseCode, err error) {
	err = s.toMake(ctx, c.Mailbox, func(p place) error {
		if len(c.Uses) > 0 && !p.own { // what mailboxes are used for is their owner's
			return store.ErrUse
		}
		err := p.account.Create(ctx, p.name, c.Uses...)
		if err != nil || s.off(imap.CapObjectID) {
			return err
		}
		st, err := p.account.Status(ctx, p.name, false)
		code = imap.ResponseCode("MAILBOXID (" + st.MailboxID + ")") // RFC 8474 §4.1
		return err
	})
	return code, err
}

// delete is DELETE (RFC 9051 §6.3.5). The client's own selected mailbox is left
// first.
func (s *session) delete(ctx context.Context, c *wire.Delete) (imap.ResponseCode, error) {
	return "", s.at(ctx, c.Mailbox, func(p place) error {
		if err := p.account.Delete(ctx, p.name); err != nil {
			return err
		}
		if s.selected != nil && s.selected.account == p.account && s.selected.view.Name() == p.name {
			s.deselect()
			s.w.Status("*", imap.StatusResponseTypeOK, codeClosed, "selected mailbox deleted")
		}
		s.tellGone(p, "")
		return nil
	})
}

// rename is RENAME (RFC 9051 §6.3.6).
func (s *session) rename(ctx context.Context, c *wire.Rename) (imap.ResponseCode, error) {
	return "", s.at(ctx, c.From, func(from place) error {
		return s.toMake(ctx, c.To, func(to place) error {
			if from.account != to.account {
				return no(imap.ResponseCodeCannot, "a mailbox stays with its owner")
			}
			err := from.account.Rename(ctx, from.name, to.name)
			if err == nil {
				s.tellGone(from, to.name)
			}
			if err == nil && s.rev2() { // RFC 9051 §6.3.6
				s.writeListed(&wire.List{}, listed{name: shown(c.To), oldName: shown(c.From)})
			}
			return err
		})
	})
}

// subscribe is SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7 and §6.3.8). Of two
// mailboxes that the name may mean it takes the one that is there, or that is
// subscribed.
func (s *session) subscribe(ctx context.Context, c *wire.Subscribe) (imap.ResponseCode, error) {
	if _, _, ok := s.cutOthers(c.Mailbox); ok {
		return "", s.Account.SubscribeOther(ctx, c.Mailbox, c.On)
	}
	names := s.names.candidates(c.Mailbox)
	if len(names) > 1 {
		entries, err := s.Account.List(ctx)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if e.Name == names[0] && (e.Exists || e.Subscribed) {
				return "", s.Account.Subscribe(ctx, e.Name, c.On)
			}
		}
	}
	name, err := s.names.target(c.Mailbox)
	if err != nil {
		return "", err
	}
	return "", s.Account.Subscribe(ctx, name, c.On)
}
