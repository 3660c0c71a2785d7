package session

import (
	"context"
	"errors"
	"math"
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
	since := store.ModSeq(math.MaxInt64)
	if c.UnchangedSince != nil {
		since = store.ModSeq(*c.UnchangedSince)
	}
	left, err := view.StoreUnchanged(ctx, numbers(spans), storeOps[c.Op], c.Flags, since)
	if errors.Is(err, store.ErrKeywords) && view.KeywordsFull() { // the client may not know yet (RFC 9051 §7.1)
		s.selected.keywords = view.Keywords()
		s.writeMailboxFlags()
	}
	missing := s.byUID && errors.Is(err, store.ErrExpunged) // which is no error (RFC 9051 §6.4.9)
	if err != nil && !missing {
		return "", s.partly(left, err)
	}
	if err := s.pollFlags(ctx); err != nil {
		return "", err
	}
	s.writeKeywords()
	if !c.Silent || s.on(imap.CapCondStore) {
		s.writeStored(spans, left, c.Silent)
	}
	return s.modified(left), nil
}

// writeStored tells what STORE has made of the messages, but for those that it
// has left, and those that are gone.
func (s *session) writeStored(spans []span, left []imap.UID, silent bool) {
	for _, sp := range spans {
		for seq := sp.first; seq <= sp.last && s.w.Err() == nil; seq++ {
			m := s.selected.view.At(seq)
			if _, found := slices.BinarySearch(left, m.UID); found || s.selected.view.Gone(seq) {
				continue
			}
			if silent {
				s.writeChange(seq, m)
			} else {
				s.writeFlags(seq, m)
			}
		}
	}
}

// partly is the answer to a STORE that could not change all messages, and has
// left some.
func (s *session) partly(left []imap.UID, err error) error {
	code := s.modified(left)
	if code == "" || !errors.Is(err, store.ErrExpunged) {
		return err
	}
	return no(code, "some of the messages have been expunged, and some have been changed")
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
