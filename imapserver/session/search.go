package session

import (
	"context"
	"iter"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/search"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// search is SEARCH and UID SEARCH (RFC 9051 §6.4.4).
func (s *session) search(ctx context.Context, tag string, c *wire.Search) (imap.ResponseCode, error) {
	q := s.newQuery(c)
	if err := q.run(ctx, s.conn); err != nil {
		return "", err
	}
	if c.Return == nil {
		s.w.Raw("* SEARCH")
		for _, n := range q.found {
			s.w.Raw(" ")
			s.w.Number(uint64(n))
		}
		s.w.CRLF()
		return "", nil
	}
	s.writeESearch(tag, c, q)
	return "", nil
}

// query is a search while it runs.
type query struct {
	view  *store.View
	scan  *scan
	spans []span // where to look
	uid   bool   // found holds UIDs
	found []uint32
	// first and last say that the lowest or the highest match alone is wanted.
	first, last bool
}

func (s *session) newQuery(c *wire.Search) *query {
	v := s.selected.view
	total := store.SeqNum(v.Len())
	last := search.Last{Seq: uint32(total)}
	q := &query{view: v, uid: c.UID}
	if total > 0 {
		last.UID = v.UIDAt(total)
		q.spans = s.selected.scope(c.Key)
	}
	q.scan = newScan(v, func() *search.Program { return search.Compile(c.Key, last) })
	if r := c.Return; r != nil {
		q.first = *r == wire.SearchReturn{Min: true}
		q.last = *r == wire.SearchReturn{Max: true}
	}
	return q
}

// scope narrows a search to what its first set of messages names, if it has one
// that every match must be in. The program looks at the set again.
func (v *selection) scope(k wire.SearchKey) []span {
	all := []span{{1, store.SeqNum(v.view.Len())}}
	switch k.Op {
	case wire.SearchUID:
		return v.uidSpans(k.UIDSet)
	case wire.SearchSeq:
		if list, err := v.spans(k.SeqSet); err == nil {
			return list
		}
	case wire.SearchAnd:
		for _, part := range k.Keys {
			if part.Op == wire.SearchUID || part.Op == wire.SearchSeq {
				return v.scope(part)
			}
		}
	}
	return all
}

// run looks at the messages.
func (q *query) run(ctx context.Context, c *conn) error {
	return q.scan.run(ctx, c, q.seqs(), q.take)
}

// seqs is the messages to look at, in the order in which they are wanted.
func (q *query) seqs() iter.Seq[store.SeqNum] {
	return func(yield func(store.SeqNum) bool) {
		for i := range q.spans {
			sp := q.spans[i]
			if q.last {
				sp = q.spans[len(q.spans)-1-i]
			}
			for k := range sp.last - sp.first + 1 {
				seq := sp.first + k
				if q.last {
					seq = sp.last - k
				}
				if !yield(seq) {
					return
				}
			}
		}
	}
}

// take keeps a match, and says whether it was the only one wanted.
func (q *query) take(seq store.SeqNum) bool {
	n := uint32(seq)
	if q.uid {
		n = uint32(q.view.UIDAt(seq))
	}
	q.found = append(q.found, n)
	return q.first || q.last
}

// writeESearch writes the answer of RFC 4731. Without a match, only COUNT has
// something to say.
func (s *session) writeESearch(tag string, c *wire.Search, q *query) {
	s.w.Raw("* ESEARCH (TAG ")
	s.w.String(tag)
	s.w.Raw(")")
	if c.UID {
		s.w.Raw(" UID")
	}
	item := func(name string, n int) {
		s.w.Raw(name)
		s.w.Number(uint64(n))
	}
	n := len(q.found)
	if c.Return.Min && n > 0 {
		item(" MIN ", int(q.found[0]))
	}
	if c.Return.Max && n > 0 {
		item(" MAX ", int(q.found[n-1]))
	}
	if c.Return.Count {
		item(" COUNT ", n)
	}
	if c.Return.All && n > 0 {
		s.w.Raw(" ALL ")
		s.w.Raw(imap.SeqSet(appendRuns(nil, q.found)).String())
	}
	s.w.CRLF()
}
