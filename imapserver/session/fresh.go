package session

import (
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// noteFresh notes the messages that an EXISTS has told of, for tellFresh.
func (s *session) noteFresh(exists int) {
	v := s.selected
	if g := s.notify.selectedGroup(); g != nil && g.Fetch != nil && v.fresh == 0 && exists > v.exists {
		v.fresh = v.view.UIDAt(store.SeqNum(v.exists + 1))
	}
	v.exists = exists
}

// tellFresh tells what NOTIFY wants to know of new messages (RFC 5465 §5.2), and UPDATE
// of those that have come to its results (§7), in one response each.
func (s *session) tellFresh(ctx context.Context, news []liveNews) error {
	v, g := s.selected, s.notify.selectedGroup()
	total := store.SeqNum(v.view.Len())
	noted, first := total+1, total+1
	if v.fresh != 0 && g != nil {
		noted, _ = v.view.Seq(v.fresh)
		first, v.fresh = noted, 0
	}
	for _, n := range news {
		if len(n.fresh) > 0 {
			first = min(first, n.fresh[0])
		}
	}
	fetches := map[uint]*fetch{} // by who wants the message: a bit for each of news, and the lowest for NOTIFY
	defer func() {
		for _, f := range fetches {
			f.kept.Close()
		}
	}()
	for seq := first; seq <= total && s.w.Err() == nil; seq++ {
		var who uint
		if seq >= noted {
			who = 1
		}
		for i, n := range news {
			if _, found := slices.BinarySearch(n.fresh, seq); found {
				who |= 2 << i
			}
		}
		if who == 0 {
			continue
		}
		if fetches[who] == nil {
			fetches[who] = s.newUnasked(itemsFor(who, g, news))
		}
		if err := fetches[who].row(ctx, seq); err != nil {
			return err
		}
	}
	return nil // what is gone already will be told
}

// itemsFor gives what all of those want.
func itemsFor(who uint, g *wire.NotifyGroup, news []liveNews) (items []wire.FetchItem) {
	if who&1 != 0 {
		items = slices.Clip(g.Fetch)
	}
	for i, n := range news {
		if who&(2<<i) != 0 {
			items = wire.AddItems(items, n.items)
		}
	}
	return items
}

// newUnasked is newFetch for responses that are no answer: they say which message they are
// about (RFC 9051 §7.5.2, RFC 7162 §3.2.4).
func (s *session) newUnasked(items []wire.FetchItem) *fetch {
	told := fetch{items: items}
	if !s.on(imap.CapUIDOnly) {
		told.add(wire.FetchUID)
	}
	if s.on(imap.CapCondStore) {
		told.add(wire.FetchModSeq)
	}
	return s.newFetch(&wire.Fetch{Items: told.items})
}

// peek changes items so that to tell them of a message does not make it seen.
func peek(items []wire.FetchItem) {
	for i := range items {
		if items[i].Section != nil {
			items[i].Section.Peek = true
		}
	}
}
