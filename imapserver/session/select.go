package session

import (
	"context"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// selectMailbox is SELECT and EXAMINE (RFC 9051 §6.3.2). The mailbox selected
// before is left even where this fails.
func (s *session) selectMailbox(ctx context.Context, c *wire.Select) (imap.ResponseCode, error) {
	s.leavePrevious()
	err := s.at(ctx, c.Mailbox, func(p place) error {
		view, err := p.account.Select(ctx, p.name, c.ReadOnly || !p.rights.Any(change))
		if err != nil {
			return err
		}
		view.Restrict(p.rights)
		s.selected = &selection{
			home: p.home, view: view, rights: p.rights,
			counts: counts{recent: view.Recent(), exists: view.Len()}, keywords: slices.Clone(view.Keywords()),
		}
		s.watchRemovals(s.selected)
		if !p.own { // it is given back when f returns
			_, s.selected.release, err = s.Others.Open(ctx, p.owner, s.User)
		}
		return err
	})
	if err != nil {
		s.deselect()
		return "", err
	}
	s.writeSelected()
	if s.rev2() { // RFC 9051 §6.3.2
		s.writeListed(&wire.List{}, listed{name: shown(c.Mailbox)})
	}
	if s.selected.own {
		s.warnQuota()
	}
	if c.QResync != nil {
		if err := s.resync(ctx, c.QResync); err != nil {
			s.deselect()
			return "", err
		}
	}
	if s.selected.view.ReadOnly() {
		return codeReadOnly, nil
	}
	return codeReadWrite, nil
}

func (s *session) leavePrevious() {
	if s.selected != nil {
		s.deselect()
		s.w.Status("*", imap.StatusResponseTypeOK, codeClosed, "previous mailbox closed")
	}
}

// leave does what a command has to do that was refused as it was read. After NO
// to SELECT, for a name that cannot be, no mailbox is selected; after NO to a
// search, for a character set, it has found nothing. BAD changes nothing.
func (s *session) leave(req wire.Request, refused *imap.Error) {
	if refused.Type != imap.StatusResponseTypeNo {
		return
	}
	switch c := req.Command.(type) {
	case *wire.Select:
		s.leavePrevious()
	case *wire.Search:
		s.unsave(c)
	case *wire.Sort:
		s.unsave(&c.Search)
	case *wire.ESearch:
		s.unsave(&c.Search)
	}
}

func (s *session) writeSelected() {
	v := s.selected.view
	s.writeMailboxFlags()
	s.writeCount(uint64(v.Len()), "EXISTS")
	if !s.rev2() {
		s.writeCount(uint64(v.Recent()), "RECENT")
	}
	if n := v.FirstUnseen(); n > 0 && !s.on(imap.CapUIDOnly) && !s.rev2() {
		s.writeCode("first unseen message", "UNSEEN %d", n)
	}
	s.writeCode("UIDs are valid", "UIDVALIDITY %d", v.UIDValidity())
	s.writeCode("next UID", "UIDNEXT %d", v.UIDNext())
	if !s.off(imap.CapCondStore) {
		s.tellHighest()
	}
	if !s.off(imap.CapObjectID) {
		s.writeCode("mailbox identifier", "MAILBOXID (%s)", v.MailboxID())
	}
}

// writeCode writes an untagged OK for its code.
func (s *session) writeCode(text, code string, args ...any) {
	s.w.Status("*", imap.StatusResponseTypeOK, imap.ResponseCode(fmt.Sprintf(code, args...)), text)
}
