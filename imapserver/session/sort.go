package session

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/search"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// sort is SORT and UID SORT (RFC 5256 §3, RFC 5267 §3).
func (s *session) sort(ctx context.Context, tag string, c *wire.Sort) (imap.ResponseCode, error) {
	if err := s.checkLive(tag, &c.Search); err != nil {
		return "", err
	}
	q := s.newQuery(&c.Search)
	order := search.NewSorter(c.By)
	if order.NeedsScore() {
		q.rate()
	}
	r, err := s.order(ctx, tag, q, order)
	if err != nil {
		s.unsave(&c.Search)
		return "", err
	}
	return "", s.answer(tag, "SORT", &c.Search, r)
}

// order searches, and sorts what is found.
func (s *session) order(ctx context.Context, tag string, q *query, order *search.Sorter) (*result, error) {
	p := s.newProgress(tag, 2*q.total())
	if err := q.run(ctx, p); err != nil {
		return nil, err
	}
	want := wanted{overview: order.NeedsOverview(), sent: order.NeedsSent(), size: order.NeedsSize()}
	if err := q.each(ctx, want, p, order.Add); err != nil {
		return nil, err
	}
	r := &result{view: q.view, sorted: true, missed: q.scan.missed}
	for _, i := range order.Sorted() {
		r.seqs = append(r.seqs, q.found[i])
		if q.rated {
			r.scores = append(r.scores, q.scores[i])
		}
	}
	return r, nil
}

// thread is THREAD and UID THREAD (RFC 5256 §3).
func (s *session) thread(ctx context.Context, tag string, c *wire.Thread) (imap.ResponseCode, error) {
	q := s.newQuery(&c.Search)
	p := s.newProgress(tag, 2*q.total())
	if err := q.run(ctx, p); err != nil {
		return "", err
	}
	t := search.NewThreader(c.Algorithm)
	err := q.each(ctx, wanted{overview: true}, p, func(f *search.Found) {
		f.Num = uint32(q.found[f.Num])
		if c.UID {
			f.Num = uint32(q.view.UIDAt(store.SeqNum(f.Num)))
		}
		t.Add(f)
	})
	if err != nil {
		return "", err
	}
	threads := t.Threads()
	s.w.Raw("* THREAD")
	for i, root := range threads.Roots {
		if i == 0 {
			s.w.Raw(" ")
		}
		s.w.Append(func(dst []byte) []byte { return threads.Append(dst, root) })
	}
	s.w.CRLF()
	return "", q.scan.missed
}
