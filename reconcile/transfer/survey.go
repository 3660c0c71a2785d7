package transfer

import (
	"context"
	"fmt"
	"sync"

	"github.com/emersion/go-imap/v2"
)

// manyMessages are those of a mailbox that is listed while no other one is, so that
// memory does not grow with the number of connections.
const manyMessages = 20_000

// work is a mailbox that is to be brought.
type work struct {
	box    Mailbox
	target string
	use    imap.MailboxAttr // that the target has from its creation on, since none of ours has it
	report int
	guess  int  // how many are pending, as far as is known before it has been looked at
	slot   int  // the connection that looks at it
	alone  bool // that connection brings it, while others bring other mailboxes

	known   bool            // it has been brought before
	pending []Entry         // not here yet
	here    []Entry         // for verify: those that are
	changed []Entry         // here, with other flags at the source than when they were brought
	missing map[string]bool // by ID: asked for, and not given
}

// survey finds out which mailboxes there are. What is in them is asked for when they
// are at work: what all of them hold is never known at once.
func (t *Transfer) survey(ctx context.Context) ([]*work, []Report, error) {
	uses, err := t.Target.uses()
	if err != nil {
		return nil, nil, err
	}
	var boxes []Mailbox
	err = t.persist(ctx, 0, func(s Source) (err error) {
		boxes, err = s.Mailboxes(ctx)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	p := &place{into: t.Options.Into, ours: uses, taken: names{}}
	given := map[imap.MailboxAttr]bool{}
	named := map[string]bool{}
	var works []*work
	var reports []Report
	for _, m := range boxes {
		if named[m.Name] {
			continue // a server may list one twice; notes and messages would be the same
		}
		named[m.Name] = true
		r := Report{Mailbox: m.Name, There: m.Messages}
		r.Skipped = t.Options.chosen(m)
		if r.Skipped == "" && m.Fault != "" {
			r.Error = m.Fault
		} else if r.Skipped == "" {
			w := &work{box: m, target: p.of(m), report: len(reports)}
			if t.Options.Into == "" && uses[m.Use] == "" && !given[m.Use] {
				w.use, given[m.Use] = m.Use, true
			}
			page, err := t.Journal.read(m.Name)
			if err != nil {
				r.Error = err.Error()
			} else {
				if page != nil && !m.Ours {
					w.target = page.Target // as at the first time, whatever names there are now
				}
				if w.guess = page.count(m); !t.verifying {
					w.guess = max(0, m.Messages-w.guess)
				}
				works = append(works, w)
			}
			r.Target = w.target
		}
		reports = append(reports, r)
	}
	reports = append(reports, t.unmatched(boxes)...)
	for _, w := range works {
		t.told.rest += w.guess
	}
	return works, reports, nil
}

// count is how many messages of a mailbox are known to be here; the page may be nil.
func (p *page) count(m Mailbox) int {
	if p == nil || p.Validity != m.Validity {
		return 0
	}
	return len(p.done)
}

// The dates that a command can say (RFC 9051 §9): years have four digits.
const (
	firstDate = -62_167_219_200 // the year 0
	lastDate  = 253_402_300_799 // the end of 9999
)

// look lists the messages of a mailbox.
func (t *Transfer) look(ctx context.Context, w *work, r *Report) error {
	page, err := t.Journal.read(w.box.Name)
	if err != nil {
		return err
	}
	w.known = page != nil && page.Validity == w.box.Validity
	err = t.persist(ctx, w.slot, func(s Source) error {
		w.pending, w.here, w.changed = nil, nil, nil
		r.There, r.Size, r.Before, r.BeforeIn = 0, 0, 0, ""
		former := map[string]bool{}                         // IDs that have been found
		elsewhere := page != nil && page.Target != w.target // and it is known of all of them
		defer func() {
			if elsewhere && r.Before > 0 {
				r.BeforeIn = page.Target
			}
		}()
		return s.List(ctx, w.box, func(e Entry) {
			if e.Date != NoDate {
				e.Date = min(max(e.Date, firstDate), lastDate)
			}
			r.There++
			r.Size += max(e.Size, 0)
			b, ok := page.has(w.box, e.ID)
			if !ok && w.box.formerly != nil {
				if id := w.box.formerly(e); id != "" && !former[id] {
					if b, ok = page.has(w.box, id); ok {
						e.ID, former[id] = id, true // as the journal has it
					}
				}
			}
			switch {
			case !ok:
				w.pending = append(w.pending, e)
				return
			case t.verifying:
				w.here = append(w.here, e)
			case t.Options.Flags && b.flags != e.Flags:
				w.changed = append(w.changed, e)
			}
			r.Before++
			elsewhere = elsewhere && b.uid != noUID
		})
	})
	return err
}

// tally is how much there is to do, as far as it is known.
type tally struct {
	mu               sync.Mutex
	messages, octets int64 // of the mailboxes that have been looked at
	rest             int   // messages of the others
}

// looked tells how much is left, now that one more mailbox has been looked at. What
// those have that have not is taken to be as large as what is known.
func (t *Transfer) looked(w *work, messages []Entry) {
	l := &t.told
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest -= w.guess
	w.guess = 0
	l.messages += int64(len(messages))
	for _, e := range messages {
		l.octets += max(e.Size, 0)
	}
	t.Progress.Total(int(l.messages)+l.rest, l.octets+int64(l.rest)*(l.octets/max(l.messages, 1)))
}

// sweep has each connection bring mailboxes of its own: most of what a small one
// takes is to wait for the source.
type sweep struct {
	t       *Transfer
	reports []Report

	mu    sync.Mutex
	rest  []*work
	large []*work // those that all connections are to share
	fault error   // that ends the run
}

func (s *sweep) all(ctx context.Context) {
	n := min(len(s.t.slots), len(s.rest))
	var busy sync.WaitGroup
	for i := range n {
		busy.Go(func() {
			if s.t.ready(ctx, i) {
				s.serve(ctx, i)
			}
		})
	}
	busy.Wait()
	s.t.fewer(n)
}

func (s *sweep) next() *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rest) == 0 || s.fault != nil {
		return nil
	}
	w := s.rest[0]
	s.rest = s.rest[1:]
	return w
}

func (s *sweep) serve(ctx context.Context, i int) {
	for w := s.next(); w != nil; w = s.next() {
		w.slot = i
		err := s.mailbox(ctx, w)
		s.mu.Lock()
		if s.fault == nil {
			s.fault = err
		}
		s.mu.Unlock()
	}
}

// mailbox brings one, or finds out that it is large. An error ends the run.
func (s *sweep) mailbox(ctx context.Context, w *work) error {
	t, r := s.t, &s.reports[w.report]
	defer func() { w.pending, w.changed = nil, nil }()
	err := t.look(ctx, w, r)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.Error = err.Error()
		t.looked(w, nil)
		return nil
	case w.alone && len(w.pending) > chunkMessages && !t.Options.DryRun:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.large = append(s.large, w)
		return nil
	}
	t.looked(w, w.pending)
	switch {
	case t.Options.DryRun:
		err = t.foresee(ctx, w, r)
	case w.known && len(w.pending)+len(w.changed) == 0:
		return nil
	default:
		t.Progress.Mailbox(w.box.Name, w.target)
		err = t.bring(ctx, w, r)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isFinal(err):
		return fmt.Errorf("%s: %w", w.box.Name, err)
	case err != nil:
		r.Error = err.Error()
	}
	return nil
}
