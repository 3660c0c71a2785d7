package session

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// search is SEARCH and UID SEARCH (RFC 9051 §6.4.4).
func (s *session) search(ctx context.Context, tag string, c *wire.Search) (imap.ResponseCode, error) {
	if err := s.checkLive(tag, c); err != nil {
		return "", err
	}
	if c.Return == nil && s.rev2() {
		c.Return = &wire.SearchReturn{All: true} // RFC 9051 §6.4.4
	}
	q := s.newQuery(c)
	q.narrow(c.Return)
	if err := q.run(ctx, s.newProgress(tag, q.total())); err != nil {
		s.unsave(c)
		return "", err
	}
	return "", s.answer(tag, "SEARCH", c, q.result())
}

// newQuery makes a search of the selected mailbox.
func (s *session) newQuery(c *wire.Search) *query {
	q := newQuery(s.selected.view, s.selected.saved, c.Key)
	if c.Return != nil && c.Return.Relevancy {
		q.rate()
	}
	return q
}

// result is what a search has found, in the order of the answer.
type result struct {
	view   *store.View
	seqs   []store.SeqNum
	scores []uint8 // of each, if they were asked for
	sorted bool    // the order is not that of the mailbox
	missed error   // of messages that could not be read, and may be results
}

// result gives what was found, in the order of the mailbox.
func (q *query) result() *result {
	return &result{view: q.view, seqs: q.found, scores: q.scores, missed: q.scan.missed}
}

// answer writes the answer to SEARCH or SORT, and does what its options ask for.
// As with FETCH, the command fails where a message could not be read, after what
// there is to tell; nothing is then saved or kept up to date.
func (s *session) answer(tag, name string, c *wire.Search, r *result) error {
	if c.Return == nil {
		s.w.Raw("* ")
		s.w.Raw(name)
		for i := range r.seqs {
			s.w.Raw(" ")
			s.w.Number(uint64(r.number(i, c.UID)))
		}
		if len(r.seqs) > 0 && c.Key.Uses(wire.SearchModSeq) { // RFC 7162 §3.1.5
			s.w.Raw(" (MODSEQ ")
			s.w.Number(uint64(r.modseq(&wire.SearchReturn{All: true})))
			s.w.Raw(")")
		}
		s.w.CRLF()
		return r.missed
	}
	switch {
	case r.missed != nil:
		s.unsave(c)
	case c.Return.Save:
		if err := s.save(r, c.Return); err != nil {
			return err
		}
	}
	if c.Return.Results() || !c.Return.Save { // RFC 5182 §2.1: SAVE alone says nothing
		s.writeESearch(tag, c, r)
	}
	if c.Return.Update && r.missed == nil {
		s.keepLive(tag, c, r)
	}
	return r.missed
}

// number is how the answer names match i.
func (r *result) number(i int, uid bool) uint32 {
	if uid {
		return uint32(r.view.UIDAt(r.seqs[i]))
	}
	return uint32(r.seqs[i])
}
