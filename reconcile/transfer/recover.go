package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// worthwhile says whether a source may do better when it is asked again: it was
// busy, or the connection was lost.
func worthwhile(err error) bool {
	var broken *net.OpError
	return errors.Is(err, ErrBusy) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &broken)
}

// recovered has the report say what recover finds.
func (t *Transfer) recovered(ctx context.Context, w *work, p *page, r *Report) error {
	found, err := t.recover(ctx, w, p)
	r.Before += found
	r.Here += found
	return err
}

// recover finds messages that were brought and not noted down: by a run that was
// killed between the two, under IDs that have changed since. Those here that the
// journal does not know are compared with those that are missing, first by date
// and then by their octets; with those that have no date by their octets alone. What it
// finds is no longer pending.
func (t *Transfer) recover(ctx context.Context, w *work, p *page) (found int, err error) {
	known := make([]imap.UID, 0, len(p.done))
	for _, b := range p.done {
		known = append(known, b.uid)
	}
	dates := make([]int64, 0, len(w.pending))
	for _, e := range w.pending {
		dates = append(dates, e.Date)
	}
	slices.Sort(known)
	slices.Sort(dates)
	_, undated := slices.BinarySearch(dates, NoDate)
	missing := func(m ours) bool {
		_, ok := slices.BinarySearch(dates, m.date)
		return ok
	}
	since := p.since
	var candidates imap.UIDSet
	err = t.Target.messages(w.target, imap.UIDSet{{Start: since}}, false, func(m ours) {
		// With nothing there, "*" is the last message, which is below.
		if _, noted := slices.BinarySearch(known, m.uid); m.uid >= since && !noted && (undated || missing(m)) {
			candidates.AddNum(m.uid)
		}
	})
	if err != nil || len(candidates) == 0 {
		return 0, err
	}
	here, others, shared := map[digest][]imap.UID{}, map[digest][]imap.UID{}, map[int64]bool{}
	err = t.Target.messages(w.target, candidates, true, func(m ours) {
		if !missing(m) {
			others[m.digest] = append(others[m.digest], m.uid)
			return
		}
		here[m.digest] = append(here[m.digest], m.uid)
		shared[m.date] = true
	})
	if err != nil {
		return 0, err
	}
	found, err = t.match(ctx, w, p, here, func(e Entry) bool { return shared[e.Date] })
	if err != nil || !undated {
		return found, err
	}
	for sum, uids := range here {
		others[sum] = append(others[sum], uids...)
	}
	more, err := t.match(ctx, w, p, others, func(e Entry) bool { return e.Date == NoDate })
	return found + more, err
}

// match reads some of the pending messages.
func (t *Transfer) match(ctx context.Context, w *work, p *page, here map[digest][]imap.UID, some func(Entry) bool) (found int, err error) {
	var ask []Entry
	for _, e := range w.pending {
		if some(e) {
			ask = append(ask, e)
		}
	}
	matched := map[string]bool{}
	over := map[string]bool{} // those that were read
	for chunk := range slices.Chunk(ask, chunkMessages) {
		err := t.persist(ctx, w.slot, func(s Source) error {
			chunk = slices.DeleteFunc(chunk, func(e Entry) bool { return over[e.ID] })
			before := len(over)
			err := s.Fetch(ctx, w.box, chunk, func(e Entry, r io.Reader) error {
				body, err := readBody(r)
				if errors.Is(err, errEndless) { // it is not here, and carry says so
					over[e.ID] = true
					return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err) // another connection goes on behind it
				}
				if err != nil {
					return err
				}
				defer body.close()
				over[e.ID] = true
				uids := here[body.digest()]
				if matched[e.ID] || len(uids) == 0 {
					return nil
				}
				matched[e.ID] = true
				here[body.digest()] = uids[1:]
				found++
				return p.add([]Entry{e}, uids[:1])
			})
			if err != nil && len(over) > before {
				return fartherError{err}
			}
			return err
		})
		if err != nil {
			return found, err
		}
	}
	w.pending = slices.DeleteFunc(w.pending, func(e Entry) bool { return matched[e.ID] })
	return found, nil
}

// change is flags that have come and gone, parted by blanks.
type change struct{ add, remove string }

// flags changes here what has changed at the source since it was last looked at,
// and nothing else: what was changed here stays. Where there are too many keywords, the
// other flags are changed, and it is tried again by the next run.
func (t *Transfer) flags(w *work, p *page, r *Report) error {
	if len(w.changed) == 0 {
		return nil
	}
	sets := map[change][]Entry{}
	for _, e := range w.changed {
		was, is := strings.Fields(p.done[e.ID].flags), strings.Fields(e.Flags)
		c := change{strings.Join(without(is, was), " "), strings.Join(without(was, is), " ")}
		sets[c] = append(sets[c], e)
	}
	t.Target.selected.Lock()
	defer t.Target.selected.Unlock()
	if _, err := t.Target.client.Select(w.target, nil).Wait(); err != nil {
		return err
	}
	for c, entries := range sets {
		var uids []imap.UID
		for _, e := range entries {
			uids = append(uids, p.done[e.ID].uid)
		}
		err := t.Target.change(imap.UIDSetNum(uids...), c)
		switch {
		case limited(err):
			for _, e := range entries {
				r.Cut = append(r.Cut, Refused{e.ID, err.Error()})
			}
			c.add = systemOnly(c.add)
			err = t.Target.change(imap.UIDSetNum(uids...), c)
		case err == nil:
			r.Flags += len(slices.DeleteFunc(slices.Clone(uids), func(u imap.UID) bool { return u == noUID }))
			err = p.add(entries, uids)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// without gives the words of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(w string) bool { return slices.Contains(b, w) })
}
