package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// How much is under way at once.
const (
	batchMessages = 64
	batchOctets   = 4 << 20
	chunkMessages = 256 // that one connection asks for at a time
)

// Transfer is one run.
type Transfer struct {
	Open     Opener
	Target   *Target
	Journal  *Journal
	Options  Options
	Progress Progress
	Pause    time.Duration // before a source is asked again for the first time; 0: a second
	Idle     []string      // what of Options.Exclude is of no mailbox there, once it was looked at

	verifying bool
	slots     []Source // connections to the source, as many as may be; fewer once it has refused one
	told      tally
}

// Run brings what is there and not yet here. It does as much as it can: what keeps
// one mailbox from being brought whole is in its Report. An error is what ends the
// whole run, such as a quota that is used up, or that of ctx whatever its end has broken;
// what was brought until then stays.
func (t *Transfer) Run(ctx context.Context) (reports []Report, err error) {
	defer func() { err = ended(ctx, err) }()
	t.slots = make([]Source, len(t.Target.append))
	defer t.closeSources()
	works, reports, err := t.survey(ctx)
	if err != nil {
		return reports, err
	}
	s := &sweep{t: t, reports: reports}
	for _, w := range works {
		if w.alone = t.Options.DryRun || w.guess <= chunkMessages && w.box.Messages <= manyMessages; w.alone {
			s.rest = append(s.rest, w)
		} else {
			s.large = append(s.large, w)
		}
	}
	s.all(ctx)
	for s.fault == nil && len(s.large) > 0 {
		w := s.large[0]
		s.large = s.large[1:]
		w.alone, w.slot = false, 0
		s.fault = s.mailbox(ctx, w)
	}
	return reports, s.fault
}

func (t *Transfer) closeSources() {
	for _, s := range t.slots {
		if s != nil {
			s.Close()
		}
	}
}

// has says what became of a message; the page may be nil.
func (p *page) has(m Mailbox, id string) (b brought, ok bool) {
	if p != nil && p.Validity == m.Validity {
		b, ok = p.done[id]
	}
	return b, ok
}

// bring brings what is missing of a mailbox.
func (t *Transfer) bring(ctx context.Context, w *work, r *Report) error {
	page, err := t.page(w)
	if err != nil {
		return err
	}
	defer page.close()
	if len(w.pending) > 0 {
		if err := t.recovered(ctx, w, page, r); err != nil {
			return err
		}
	}
	if err := t.carry(ctx, w, page, r); err != nil {
		return err
	}
	if err := t.missed(ctx, w, r); err != nil {
		return err
	}
	if err := t.flags(w, page, r); err != nil || len(w.pending) == 0 {
		return err
	}
	_, next, err := t.Target.status(w.target)
	if err != nil {
		return err
	}
	return page.complete(next)
}

// page opens the journal of a mailbox for writing, and makes its target.
func (t *Transfer) page(w *work) (*page, error) {
	p, err := t.Journal.read(w.box.Name)
	if err != nil {
		return nil, err
	}
	validity, err := t.Target.ensure(w.target, w.box.Subscribed, w.use)
	if err != nil {
		return nil, err
	}
	p, fresh := t.current(p, w, validity)
	return p, p.begin(fresh)
}

// current is the journal of a mailbox, as it was read or nil, for a target whose UIDs are of
// that validity. It is fresh if it says something else than was read.
func (t *Transfer) current(p *page, w *work, validity uint32) (now *page, fresh bool) {
	fresh = p == nil || p.Validity != w.box.Validity
	if p == nil {
		p = &page{path: t.Journal.path(w.box.Name)}
		p.head = head{Mailbox: w.box.Name, Target: w.target, UIDs: validity}
	}
	if fresh {
		// The IDs mean other messages now, or this journal is new. What was brought
		// under the old ones, or by another journal, is found again by recover.
		p.Validity, p.done, p.since = w.box.Validity, map[string]brought{}, 1
	}
	if p.Target != w.target || p.UIDs != validity { // what UIDs were of is gone, or elsewhere
		p.retarget(w.target, validity)
		fresh = true
	}
	return p, fresh
}

// carrier shares the pending messages of a mailbox between connections.
type carrier struct {
	t    *Transfer
	w    *work
	r    *Report
	page *page

	mu    sync.Mutex // held too while the page is written
	rest  []Entry
	fault error
}

// missed tells messages that were removed at the source meanwhile from those that it
// has and does not give.
func (t *Transfer) missed(ctx context.Context, w *work, r *Report) error {
	if len(w.missing) == 0 {
		return nil
	}
	var left []Refused
	err := t.persist(ctx, w.slot, func(s Source) error {
		left = nil
		return s.List(ctx, w.box, func(e Entry) {
			if w.missing[e.ID] {
				left = append(left, Refused{e.ID, "the source has it, and does not give it when it is asked for"})
			}
		})
	})
	r.Left = append(r.Left, left...)
	r.Gone = len(w.missing) - len(left)
	return err
}

func (t *Transfer) carry(ctx context.Context, w *work, p *page, r *Report) error {
	w.missing = map[string]bool{}
	c := &carrier{t: t, w: w, r: r, page: p, rest: w.pending}
	if w.alone {
		c.serve(ctx, w.slot)
		return c.fault
	}
	n := min(len(t.slots), (len(w.pending)+chunkMessages-1)/chunkMessages)
	var busy sync.WaitGroup
	for i := range n {
		busy.Go(func() {
			if t.ready(ctx, i) {
				c.serve(ctx, i)
			}
		})
	}
	busy.Wait()
	t.fewer(n)
	return c.fault
}

// ready opens a connection beside the first before it has anything to do, so that a
// source with room for fewer loses nothing.
func (t *Transfer) ready(ctx context.Context, i int) bool {
	if i > 0 && t.slots[i] == nil {
		s, err := t.Open(ctx)
		if err != nil {
			return false
		}
		t.slots[i] = s
	}
	return true
}

// fewer does without those of the first n connections that are not there.
func (t *Transfer) fewer(n int) {
	var open []Source
	for i, s := range t.slots {
		if s != nil || i == 0 || i >= n {
			open = append(open, s)
		}
	}
	t.slots = open
}

// next takes messages that nobody has yet.
func (c *carrier) next() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(chunkMessages, len(c.rest))
	chunk := slices.Clone(c.rest[:n])
	c.rest = c.rest[n:]
	return chunk
}

// serve carries by one connection, until there is nothing left or something keeps
// the mailbox from being brought whole.
func (c *carrier) serve(ctx context.Context, i int) {
	for chunk := c.next(); len(chunk) > 0; chunk = c.next() {
		if err := c.chunk(ctx, i, chunk); err != nil {
			c.mu.Lock()
			if c.fault == nil || isFinal(err) {
				c.fault = err
			}
			c.rest = nil // the others end what they are at
			c.mu.Unlock()
			return
		}
	}
}

// chunk carries some messages.
func (c *carrier) chunk(ctx context.Context, i int, messages []Entry) error {
	over := map[string]bool{}
	err := c.t.persist(ctx, i, func(s Source) error {
		messages = slices.DeleteFunc(messages, func(e Entry) bool { return over[e.ID] })
		b := &batch{carrier: c, to: c.t.Target.append[i], over: over}
		defer b.drop()
		before := len(over)
		err := s.Fetch(ctx, c.w.box, messages, b.take)
		if ferr := b.flush(); ferr != nil {
			return ferr
		}
		if err != nil && len(over) > before {
			return fartherError{err}
		}
		return err
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range messages {
		if err == nil && !over[e.ID] {
			c.w.missing[e.ID] = true
		}
	}
	return err
}

// batch gathers messages until they are worth a command.
type batch struct {
	*carrier
	to      *Session
	over    map[string]bool // by ID: brought or refused
	letters []letter
	octets  int64
}

var errEmpty = errors.New("it is empty")

func (b *batch) take(e Entry, r io.Reader) error {
	body, err := readBody(r)
	if errors.Is(err, errEndless) {
		b.refuse(e, err)
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err) // another connection goes on behind it
	}
	if err != nil {
		return err
	}
	if body.size == 0 {
		b.refuse(e, errEmpty)
		return nil
	}
	b.letters = append(b.letters, letter{e, body, e.Flags})
	b.octets += body.size
	if len(b.letters) < batchMessages && b.octets < batchOctets {
		return nil
	}
	return b.flush()
}

func (b *batch) refuse(e Entry, reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.Left = append(b.r.Left, Refused{e.ID, reason.Error()})
	b.over[e.ID] = true
}

func (b *batch) drop() {
	for _, l := range b.letters {
		l.close()
	}
	b.letters, b.octets = nil, 0
}

// flush brings what has been gathered. What the daemon refuses together it is
// asked for one by one: then it is known which of them it was.
func (b *batch) flush() error {
	defer b.drop()
	if len(b.letters) == 0 {
		return nil
	}
	err := b.send(b.letters)
	var no *imap.Error
	if !errors.As(err, &no) {
		return final(err)
	}
	for _, l := range b.letters {
		err := b.one(l)
		switch {
		case err == nil:
		case !errors.As(err, &no):
			return final(err)
		case no.Code == imap.ResponseCodeOverQuota:
			return final(fmt.Errorf("the quota is used up: %w", err))
		case no.Code == imap.ResponseCodeTooBig, no.Code == "UNKNOWN-CTE", no.Code == imap.ResponseCodeCannot, no.Type == imap.StatusResponseTypeBad:
			b.refuse(l.Entry, err)
		case no.Code == imap.ResponseCodeTryCreate:
			return fmt.Errorf("the mailbox %s is not there any more: run the import again, which makes it: %w", b.w.target, err)
		default:
			return final(fmt.Errorf("the daemon does not take message %s: %w", l.ID, err))
		}
	}
	return nil
}

// one brings a message, if need be without the keywords that are too many.
func (b *batch) one(l letter) error {
	err := b.send([]letter{l})
	for _, flags := range fewerKeywords(l.Flags) {
		if !limited(err) {
			return err
		}
		reason := err.Error()
		l.flags = flags
		if err = b.send([]letter{l}); err == nil {
			b.mu.Lock()
			b.r.Cut = append(b.r.Cut, Refused{l.ID, reason})
			b.mu.Unlock()
		}
	}
	return err
}

func (b *batch) send(letters []letter) error {
	uids, err := b.to.bring(b.w.target, letters)
	if err != nil {
		return err
	}
	entries := make([]Entry, len(letters))
	octets := int64(0)
	for i, l := range letters {
		entries[i] = l.Entry
		octets += l.size
		b.over[l.ID] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.Brought += len(letters)
	b.t.Progress.Brought(len(letters), octets)
	return b.page.add(entries, uids)
}

// finalError ends the run: the next mailbox would fare no better.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func final(err error) error {
	if err == nil {
		return nil
	}
	return finalError{err}
}

func isFinal(err error) bool {
	var f finalError
	return errors.As(err, &f)
}

// fartherError is the end of a try that has come farther than those before it.
type fartherError struct{ error }

func (e fartherError) Unwrap() error { return e.error }

// How a source is asked again.
const (
	tries        = 6  // in a row that come no farther
	patientTries = 12 // of a source that is busy: some ten minutes
	pause        = time.Second
	lastPause    = time.Minute
	longestPause = 10 * time.Minute // that a source may ask for
)

// persist does something with connection i to the source, opened again when it
// breaks, after a while that grows, or as long as the source asks for.
func (t *Transfer) persist(ctx context.Context, i int, do func(Source) error) error {
	wait := cmp.Or(t.Pause, pause)
	for try := 1; ; try++ {
		err := t.once(ctx, i, do)
		enough := tries
		if errors.Is(err, ErrBusy) {
			enough = patientTries
		}
		var farther fartherError
		if errors.As(err, &farther) {
			try, wait = 1, cmp.Or(t.Pause, pause)
		}
		if err == nil || isFinal(err) || ctx.Err() != nil || try >= enough || !worthwhile(err) {
			return err
		}
		var later laterError
		errors.As(err, &later)
		now := max(wait, later.wait)
		t.Progress.Wait(now, err)
		select {
		case <-time.After(now):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, lastPause)
	}
}

func (t *Transfer) once(ctx context.Context, i int, do func(Source) error) error {
	if t.slots[i] == nil {
		s, err := t.Open(ctx)
		if err != nil {
			return err
		}
		t.slots[i] = s
	}
	err := do(t.slots[i])
	if err != nil {
		t.slots[i].Close()
		t.slots[i] = nil
	}
	return err
}
