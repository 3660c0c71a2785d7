package session

import (
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

var storeOps = map[wire.StoreOp]store.StoreOp{
	wire.StoreSet:    store.StoreSet,
	wire.StoreAdd:    store.StoreAdd,
	wire.StoreRemove: store.StoreRemove,
}

// store is STORE and UID STORE (RFC 9051 §6.4.6). Unless it is silent it tells
// the flags of every message of the set, changed or not. What others have
// changed is told in any case.
func (s *session) store(ctx context.Context, c *wire.Store) (imap.ResponseCode, error) {
	spans, err := s.selected.spans(c.Set)
	if err != nil {
		return "", err
	}
	if !mayStore(c, s.selected.rights) {
		return "", errRights
	}
	if len(spans) == 0 {
		return "", s.readOnly()
	}
	view := s.selected.view
	if err := view.Store(ctx, numbers(spans), storeOps[c.Op], c.Flags); err != nil {
		return "", err
	}
	updates, err := s.selected.poll(ctx, false, false)
	if err != nil {
		return "", s.gone(err)
	}
	s.writeUpdates(others(updates))
	s.writeKeywords()
	if c.Silent {
		return "", nil
	}
	for _, sp := range spans {
		for seq := sp.first; seq <= sp.last && s.w.Err() == nil; seq++ {
			s.writeFlags(seq, view.At(seq))
		}
	}
	return "", nil
}

// mayStore tells whether one of the flags may be changed, which is enough
// (RFC 4314 §4).
func mayStore(c *wire.Store, have store.Rights) bool {
	if c.Op == wire.StoreSet { // it takes away what it does not name
		return have.Any(flagRights)
	}
	return len(c.Flags) == 0 || len(permitted(c.Flags, have)) > 0
}

// others leaves out what this session's own STORE has changed.
func others(updates []store.Update) []store.Update {
	return slices.DeleteFunc(updates, func(u store.Update) bool { return u.Own })
}
