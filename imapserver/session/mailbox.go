package session

import (
	"context"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// create is CREATE (RFC 9051 §6.3.4). A delimiter at the end says that names
// below this one will follow, which needs no preparation.
func (s *session) create(ctx context.Context, c *wire.Create) (imap.ResponseCode, error) {
	name, err := s.names.target(strings.TrimSuffix(c.Mailbox, delimiter))
	if err != nil {
		return "", err
	}
	return "", s.Account.Create(ctx, name)
}

// delete is DELETE (RFC 9051 §6.3.5). The client's own selected mailbox is left
// first.
func (s *session) delete(ctx context.Context, c *wire.Delete) (imap.ResponseCode, error) {
	return "", s.names.resolve(c.Mailbox, func(name string) error {
		if err := s.Account.Delete(ctx, name); err != nil {
			return err
		}
		if s.selected != nil && s.selected.view.Name() == name {
			s.deselect()
			s.w.Status("*", imap.StatusResponseTypeOK, codeClosed, "selected mailbox deleted")
		}
		return nil
	})
}

// rename is RENAME (RFC 9051 §6.3.6).
func (s *session) rename(ctx context.Context, c *wire.Rename) (imap.ResponseCode, error) {
	to, err := s.names.target(strings.TrimSuffix(c.To, delimiter))
	if err != nil {
		return "", err
	}
	return "", s.names.resolve(c.From, func(from string) error { return s.Account.Rename(ctx, from, to) })
}

// subscribe is SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7 and §6.3.8). Of two
// mailboxes that the name may mean it takes the one that is there, or that is
// subscribed.
func (s *session) subscribe(ctx context.Context, c *wire.Subscribe) (imap.ResponseCode, error) {
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
