package session

import (
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// status is STATUS (RFC 9051 §6.3.11).
func (s *session) status(ctx context.Context, c *wire.Status) (imap.ResponseCode, error) {
	return "", s.at(ctx, c.Mailbox, func(p place) error {
		return s.writeStatus(ctx, p, shown(c.Mailbox), c.Items)
	})
}

// writeStatus looks a mailbox up and writes its STATUS response. client is its
// name as the client knows it.
func (s *session) writeStatus(ctx context.Context, p place, client string, items []wire.StatusItem) error {
	sizes := slices.Contains(items, wire.StatusSize) || slices.Contains(items, wire.StatusDeletedStorage)
	st, err := p.account.Status(ctx, p.name, sizes)
	if err != nil {
		return err
	}
	s.writeStatusItems(client, items, &st)
	return nil
}

// writeStatusItems writes a STATUS response.
func (s *session) writeStatusItems(client string, items []wire.StatusItem, st *store.Status) {
	s.w.Raw("* STATUS ")
	s.w.Mailbox(client)
	for i, item := range items {
		if i == 0 {
			s.w.Raw(" (")
		} else {
			s.w.Raw(" ")
		}
		s.w.Raw(string(item))
		s.w.Raw(" ")
		switch item {
		case wire.StatusMailboxID:
			s.w.Raw("(" + st.MailboxID + ")")
		case wire.StatusAppendLimit:
			s.w.Number(uint64(s.Limits.Message))
		default:
			s.w.Number(statusValue(st, item))
		}
	}
	s.w.Raw(")\r\n")
}

func statusValue(st *store.Status, item wire.StatusItem) uint64 {
	switch item {
	case wire.StatusMessages:
		return uint64(st.Messages)
	case wire.StatusRecent:
		return uint64(st.Recent)
	case wire.StatusUIDNext:
		return uint64(st.UIDNext)
	case wire.StatusUIDValidity:
		return uint64(st.UIDValidity)
	case wire.StatusUnseen:
		return uint64(st.Unseen)
	case wire.StatusDeleted:
		return uint64(st.Deleted)
	case wire.StatusSize:
		return uint64(st.Size)
	case wire.StatusDeletedStorage:
		return uint64(storageUnits(st.DeletedSize))
	case wire.StatusHighestModSeq:
		return uint64(st.HighestModSeq)
	}
	panic("session: no value for STATUS item " + string(item)) // a row without code; a test looks for it
}
