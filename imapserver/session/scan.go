package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"mailstead/imapserver/message"
	"mailstead/imapserver/search"
	"mailstead/imapserver/store"
)

const (
	// maxMatchers is how many messages one search reads at the same time.
	maxMatchers = 8
	// maxRound is how many messages are matched, for each matcher, before
	// what they gave is taken. The first rounds are short: the answer may be
	// among the first messages.
	maxRound = 64
)

// matcher matches one message at a time. Each goroutine of a search has its own.
type matcher struct {
	view    *store.View
	kept    *store.Reading // nil: the program needs fields that the cache does not have
	program *search.Program
	at      store.SeqNum // the message that is looked at
	known   search.Message
	holds   bool // a place in parsing, for a large message
}

var _ search.Source = (*matcher)(nil)

func newMatcher(v *store.View, p *search.Program) *matcher {
	m := &matcher{view: v, program: p}
	if names := p.HeaderNames(); len(names) > 0 && message.KeptFields.Covers(names) {
		m.kept = v.Reading()
	}
	return m
}

// match gives the score of a message, 0 for one that does not match.
func (m *matcher) match(ctx context.Context, seq store.SeqNum) (score uint8, err error) {
	defer m.release()
	is := m.view.At(seq)
	m.at = seq
	m.known = search.Message{
		Seq: uint32(seq), UID: is.UID, ModSeq: uint64(is.ModSeq), Flags: is.Flags, Recent: is.Recent, InternalDate: is.InternalDate,
	}
	ok, err := m.program.Match(ctx, &m.known, m)
	switch {
	case errors.Is(err, store.ErrExpunged): // what is gone matches nothing
		return 0, nil
	case !ok || err != nil:
		return 0, err
	}
	return uint8(m.program.Score()), nil
}

// Size, Header and Raw read the message that is looked at, for the program.
func (m *matcher) Size(ctx context.Context) (int64, error) { return m.view.Size(ctx, m.at) }

func (m *matcher) Raw(ctx context.Context) ([]byte, error) {
	if err := m.hold(ctx); err != nil {
		return nil, err
	}
	return m.view.Read(ctx, m.at)
}

// hold takes a place in parsing for a large message, of which the header may be all.
func (m *matcher) hold(ctx context.Context) (err error) {
	if !m.holds && m.view.DiskSize(m.at) > large {
		err = parsing.take(ctx)
		m.holds = err == nil
	}
	return err
}

// release is called when a message has been matched.
func (m *matcher) release() {
	if m.holds {
		m.holds = false
		parsing.give()
	}
}

func (m *matcher) Header(ctx context.Context) ([]byte, error) {
	if m.kept != nil {
		if fields, ok := m.kept.Part(m.at, store.PartFields); ok {
			return fields, nil
		}
	}
	if err := m.hold(ctx); err != nil {
		return nil, err
	}
	return m.view.Header(ctx, m.at)
}

func (m *matcher) Arrival(ctx context.Context) (saved time.Time, emailID string, err error) {
	a, err := m.view.Arrival(ctx, m.at)
	return a.Saved, a.EmailID, err
}

// scan matches messages in rounds. Within a round every core takes the next
// message that no one has; what matches is told in the order of the messages.
type scan struct {
	matchers []*matcher // the first is the session's own
	seqs     []store.SeqNum
	scores   []uint8
	errs     []error
	next     atomic.Int64 // of seqs, which no one has taken
	crash    atomic.Pointer[string]
	missed   error // of the first message that could not be read
}

// newScan makes one for a search; compile gives its program. A program that
// reads no message is not worth a second goroutine.
func newScan(v *store.View, compile func() *search.Program) *scan {
	first := newMatcher(v, compile())
	s := &scan{matchers: []*matcher{first}}
	if first.program.Reads() {
		for range min(runtime.GOMAXPROCS(0), maxMatchers) - 1 {
			s.matchers = append(s.matchers, newMatcher(v, compile()))
		}
	}
	return s
}

// run looks at messages; between two rounds it says how far it is. take is given
// each match with its score, and says whether no more are wanted.
func (s *scan) run(ctx context.Context, p *progress, seqs iter.Seq[store.SeqNum], take func(store.SeqNum, uint8) bool) error {
	defer s.rest()
	size := len(s.matchers)
	for seq := range seqs {
		s.seqs = append(s.seqs, seq)
		if len(s.seqs) < size {
			continue
		}
		size = min(2*size, maxRound*len(s.matchers))
		n := len(s.seqs)
		if done, err := s.round(ctx, p, take); done || err != nil {
			return err
		}
		if err := p.step(n); err != nil {
			return err
		}
	}
	_, err := s.round(ctx, p, take)
	return err
}

// rest has the matchers give back what they hold of the cache.
func (s *scan) rest() {
	for _, m := range s.matchers {
		if m.kept != nil {
			m.kept.Close()
		}
	}
}

// round matches the messages in s.seqs.
func (s *scan) round(ctx context.Context, p *progress, take func(store.SeqNum, uint8) bool) (done bool, err error) {
	n := len(s.seqs)
	s.scores, s.errs = make([]uint8, n), make([]error, n)
	s.next.Store(0)
	if err := s.share(ctx, p); err != nil {
		return false, err
	}
	for i, seq := range s.seqs {
		if s.errs[i] != nil {
			if err := s.miss(ctx, s.errs[i]); err != nil {
				return false, err
			}
			continue
		}
		if s.scores[i] > 0 && take(seq, s.scores[i]) {
			return true, nil
		}
	}
	s.seqs = s.seqs[:0]
	return false, nil
}

// miss notes a message that could not be read: it is left out, and the first
// error is told after what was found.
func (s *scan) miss(ctx context.Context, err error) error {
	s.missed = cmp.Or(s.missed, err)
	return ctx.Err()
}

// share has the matchers do the work of a round. A panic of any of them is one
// of the session, which alone ends by it.
func (s *scan) share(ctx context.Context, p *progress) error {
	var others sync.WaitGroup
	for _, m := range s.matchers[1:min(len(s.matchers), max(len(s.seqs), 1))] {
		others.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					text := fmt.Sprintf("%v, in a goroutine of a search:\n%s", r, debug.Stack())
					s.crash.Store(&text)
				}
			}()
			s.work(ctx, m, func() error { return nil })
		})
	}
	defer others.Wait()
	err := s.work(ctx, s.matchers[0], p.look)
	others.Wait()
	if text := s.crash.Load(); text != nil {
		panic(*text)
	}
	return err
}

// work matches messages. An error of look, which is called after each, ends the round for all.
func (s *scan) work(ctx context.Context, m *matcher, look func() error) error {
	for {
		i := int(s.next.Add(1)) - 1
		if i >= len(s.seqs) {
			return nil
		}
		s.scores[i], s.errs[i] = m.match(ctx, s.seqs[i])
		if err := look(); err != nil {
			s.next.Store(int64(len(s.seqs)))
			return err
		}
	}
}
