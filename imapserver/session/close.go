package session

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// close is CLOSE (RFC 9051 §6.4.1): UNSELECT, and what is marked as deleted
// goes without a word. Where it cannot go, the mailbox stays selected. With QRESYNC
// no mod-sequence is told either: a client that went on from it would never hear
// what has gone (RFC 7162 §3.2.8).
func (s *session) close(ctx context.Context) (imap.ResponseCode, error) {
	if !s.selected.view.ReadOnly() && s.selected.rights.Has(store.RightExpunge) {
		if err := s.expel(ctx, nil); err != nil {
			return "", err
		}
	}
	return s.unselect()
}

// expel has the messages with \Deleted go: for good, or into the trash.
func (s *session) expel(ctx context.Context, uids imap.UIDSet) error {
	if s.Discard && s.selected.own {
		return s.selected.view.Discard(ctx, uids)
	}
	return s.selected.view.Expunge(ctx, uids)
}

// unselect is UNSELECT (RFC 3691).
func (s *session) unselect() (imap.ResponseCode, error) {
	s.deselect()
	return "", nil
}

// expunge is EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3 and §6.4.9). The poll
// at the command's end tells it.
func (s *session) expunge(ctx context.Context, c *wire.Expunge) (imap.ResponseCode, error) {
	view := s.selected.view
	if c.UIDs == nil {
		return "", s.expel(ctx, nil)
	}
	spans, err := s.selected.spans(c.UIDs)
	if err != nil {
		return "", err
	}
	uids := imap.UIDSet{} // without "*", and not nil
	for _, sp := range spans {
		uids = append(uids, imap.UIDRange{Start: view.UIDAt(sp.first), Stop: view.UIDAt(sp.last)})
	}
	return "", s.expel(ctx, uids)
}
