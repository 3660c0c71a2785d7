package store

import (
	"context"
	"errors"

	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/search"
)

// TextMatches is what the text index knows of a search: which messages need not
// be looked at.
type TextMatches struct {
	without []uint64 // one bit for each message, from sequence number 1
}

// May says whether message n must be looked at. All must be where there is no
// TextMatches.
func (m *TextMatches) May(n SeqNum) bool {
	i := int(n) - 1
	return m == nil || m.without[i/64]>>(i%64)&1 == 0
}

// TextMatches asks the text index which messages a narrowing leaves out. A
// message of which the index knows nothing is not left out, nor is any where the
// index cannot be used; build says that it is worth making one. Only ctx's error
// is returned.
func (v *View) TextMatches(ctx context.Context, n *search.Narrowing, build bool) (*TextMatches, error) {
	if n == nil || v.Len() == 0 {
		return nil, ctx.Err()
	}
	q := textQuery{
		narrowing: n, grams: n.Grams(), told: v.told,
		known: make([]uint64, (v.Len()+63)/64), without: make([]uint64, (v.Len()+63)/64),
	}
	x, of := v.mb.a.text.index, v.mb.textSource()
	err := x.use(false, func(conn *sqlite.Conn) error {
		q.conn = conn
		return textSegments(conn, of, func(s *segment) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return q.ask(s)
		})
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		if !errors.Is(err, errNoText) {
			x.log.Warn("messages are searched one by one", "error", err)
		}
		q.knows = 0
	}
	if v.Len()-q.knows >= minSegment {
		v.mb.mu.Lock()
		dir := v.mb.dir
		v.mb.mu.Unlock()
		v.mb.a.text.want(dir, build)
	}
	if q.knows == 0 {
		return nil, nil
	}
	return &TextMatches{q.without}, nil
}

// textSource is what the text index knows the mailbox by.
func (mb *mailbox) textSource() textSource {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return textSource{mb.row.id, mb.row.uidValidity}
}

// textQuery is a question to the text index.
type textQuery struct {
	narrowing *search.Narrowing
	grams     []search.Gram
	conn      *sqlite.Conn
	told      *snapshot
	knows     int      // messages that are in some segment
	known     []uint64 // those
	without   []uint64 // those that are left out
	buf       []byte
}

// ask asks one segment.
func (q *textQuery) ask(s *segment) error {
	having := make(map[search.Gram][]uint64, len(q.grams))
	onPage, page := -1, []byte(nil)
	for _, g := range q.grams {
		n := s.pageOf(g)
		if n < 0 {
			having[g] = make([]uint64, s.words())
			continue
		}
		if n != onPage {
			var err error
			if page, err = textPage(q.conn, s.id, n, q.buf); err != nil {
				return err
			}
			onPage, q.buf = n, page[:0]
		}
		var err error
		if having[g], err = s.find(page, g); err != nil {
			return err
		}
	}
	left := q.narrowing.Left(func(g search.Gram) []uint64 { return having[g] })
	for slot, m := range s.members {
		i, ok := q.told.index(m.uid)
		if !ok || baseHash(q.told.at(i).base) != m.bind {
			continue // expunged, or another message
		}
		bit := uint64(1) << (i % 64)
		if q.known[i/64]&bit == 0 {
			q.known[i/64] |= bit
			q.knows++
		}
		if !m.open && left[slot/64]>>(slot%64)&1 == 0 {
			q.without[i/64] |= bit
		}
	}
	return nil
}
