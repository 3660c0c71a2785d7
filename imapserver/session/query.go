package session

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/search"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// query is a search of one mailbox while it runs.
type query struct {
	view     *store.View
	scan     *scan
	key      wire.SearchKey
	spans    []span // where to look
	backward bool   // the last message is looked at first
	limit    int    // matches that are enough; 0: all are wanted
	rated    bool   // scores are wanted
	found    []store.SeqNum
	scores   []uint8 // as many as found, if rated
}

// newQuery makes a search of a view, of which saved is what "$" means.
func newQuery(view *store.View, saved imap.UIDSet, key wire.SearchKey) *query {
	total := store.SeqNum(view.Len())
	frame := search.Frame{Seq: uint32(total), Saved: saved, Now: time.Now()}
	q := &query{view: view, key: key}
	if total > 0 {
		frame.UID = view.UIDAt(total)
		q.spans = scope(view, saved, key)
	}
	q.scan = newScan(view, func() *search.Program { return search.Compile(key, frame) })
	return q
}

// narrow makes the search end early where not all matches are needed for the
// answer.
func (q *query) narrow(r *wire.SearchReturn) {
	if r == nil || r.Update || r.Count || r.All || r.Relevancy {
		return
	}
	switch {
	case r.Min && !r.Max && r.Partial == nil:
		q.limit = 1
	case r.Max && !r.Min && r.Partial == nil:
		q.limit, q.backward = 1, true
	case r.Partial != nil && !r.Min && !r.Max:
		_, high := r.Partial.Bounds()
		q.limit, q.backward = int(high), r.Partial.Backward
	}
}

// rate makes the search work out scores.
func (q *query) rate() {
	for _, m := range q.scan.matchers {
		m.program.Rate()
	}
	q.rated = true
}

// scope narrows a search to what its first set of messages names, if it has one
// that every match must be in. The program looks at the set again.
func scope(view *store.View, saved imap.UIDSet, k wire.SearchKey) []span {
	all := []span{{1, store.SeqNum(view.Len())}}
	switch k.Op {
	case wire.SearchUID:
		return uidSpans(view, k.UIDSet)
	case wire.SearchSaved:
		return uidSpans(view, saved)
	case wire.SearchSeq:
		if list, err := seqSpans(view, k.SeqSet); err == nil {
			return list
		}
	case wire.SearchAnd:
		for _, part := range k.Keys {
			if part.Op == wire.SearchUID || part.Op == wire.SearchSeq || part.Op == wire.SearchSaved {
				return scope(view, saved, part)
			}
		}
	}
	return all
}

// total is how many messages are to be looked at.
func (q *query) total() int { return count(q.spans) }

// run looks at the messages that the text index does not rule out.
func (q *query) run(ctx context.Context, p *progress) error {
	may, err := q.view.TextMatches(ctx, search.Narrow(q.key), search.HasText(q.key))
	if err != nil {
		return err
	}
	err = q.scan.run(ctx, p, q.seqs(may), q.take)
	if q.backward {
		slices.Reverse(q.found)
		slices.Reverse(q.scores)
	}
	return err
}

// seqs is the messages to look at, in the order in which they are wanted.
func (q *query) seqs(may *store.TextMatches) iter.Seq[store.SeqNum] {
	return func(yield func(store.SeqNum) bool) {
		for i := range q.spans {
			sp := q.spans[i]
			if q.backward {
				sp = q.spans[len(q.spans)-1-i]
			}
			for k := range sp.last - sp.first + 1 {
				seq := sp.first + k
				if q.backward {
					seq = sp.last - k
				}
				if may.May(seq) && !yield(seq) {
					return
				}
			}
		}
	}
}

// take keeps a match, and says whether it was the last one wanted.
func (q *query) take(seq store.SeqNum, score uint8) bool {
	q.found = append(q.found, seq)
	if q.rated {
		q.scores = append(q.scores, score)
	}
	return len(q.found) == q.limit
}

// wanted is what of each match is wanted beside its number.
type wanted struct {
	overview bool
	sent     bool // of the overview only when the message was sent
	size     bool
}

// each calls f with every match: Found.Num is its index among the matches. What
// has been expunged meanwhile is left out, and so is what cannot be read.
func (q *query) each(ctx context.Context, want wanted, p *progress, f func(*search.Found)) error {
	cache := q.view.Reading()
	cache.Gate = q.gate
	defer cache.Close()
	var found search.Found // for all: f keeps nothing of it
	for i, seq := range q.found {
		found = search.Found{Num: uint32(i), Arrival: q.view.At(seq).InternalDate.Unix()}
		if q.rated {
			found.Score = int(q.scores[i])
		}
		switch err := q.read(ctx, cache, seq, want, &found); {
		case err == nil:
			f(&found)
		case !errors.Is(err, store.ErrExpunged):
			if err := q.scan.miss(ctx, err); err != nil {
				return err
			}
		}
		if err := p.step(1); err != nil {
			return err
		}
	}
	return nil
}

// gate is passed before the header of a message is read, which may be large.
func (q *query) gate(ctx context.Context, seq store.SeqNum) (leave func(), err error) {
	return parsing.enter(ctx, q.view.DiskSize(seq))
}

func (q *query) read(ctx context.Context, cache *store.Reading, seq store.SeqNum, want wanted, f *search.Found) (err error) {
	switch {
	case want.sent:
		if f.Overview.Sent, err = cache.Sent(ctx, seq); err != nil {
			return err
		}
	case want.overview:
		if f.Overview, err = cache.Overview(ctx, seq); err != nil {
			return err
		}
	}
	if want.size {
		f.Size, err = q.view.Size(ctx, seq)
	}
	return err
}
