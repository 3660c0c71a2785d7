package store

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/message"
	"mailstead/imapserver/search"
)

const (
	// minSegment is how many messages are worth a segment. Fewer are searched
	// one by one.
	minSegment = 64
	// A segment of less than smallSegment members that is not full is small. Of so
	// many small ones, new ones are made.
	smallSegment = maxMembers / 2
	maxSmall     = 8
	// textDelay is how long after its cause the work begins: not while a client
	// that has just selected a mailbox asks for all that it shows.
	textDelay = 2 * time.Second
)

// textBuilder makes the text index of an account in the background.
type textBuilder struct {
	a     *Account
	index *textIndex
	slot  chan struct{} // see Options.Background; nil: nothing is indexed
	ctx   context.Context
	stop  context.CancelFunc
	delay time.Duration

	failed string // the last error that was logged; for the goroutine

	mu      sync.Mutex      // innermost
	queue   map[string]bool // directories of mailboxes, with begin as of want
	runs    bool            // there is a goroutine
	running sync.WaitGroup
}

func newTextBuilder(a *Account, o *Options) *textBuilder {
	b := &textBuilder{
		a: a, index: &textIndex{path: filepath.Join(a.own, textFile), log: a.log}, slot: o.Background, delay: textDelay,
		queue: make(map[string]bool),
	}
	if o.unwatched {
		b.delay = 0
	}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// want asks for the mailbox to be looked at: it is indexed as far as it is not;
// if it is not at all, only where begin is set. It may be called with any lock
// held.
func (b *textBuilder) want(dir string, begin bool) {
	if b.slot == nil || !begin && !b.index.exists() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return
	}
	b.queue[dir] = b.queue[dir] || begin
	if !b.runs {
		b.runs = true
		b.running.Go(b.run)
	}
}

// close stops the work and closes the index.
func (b *textBuilder) close() error {
	b.mu.Lock()
	b.stop()
	b.mu.Unlock()
	b.running.Wait()
	return b.index.close()
}

// next takes a mailbox out of the queue; where ok is false, the goroutine ends.
func (b *textBuilder) next() (dir string, begin, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() == nil {
		for dir, begin = range b.queue {
			delete(b.queue, dir)
			return dir, begin, true
		}
	}
	b.runs = false
	return "", false, false
}

func (b *textBuilder) run() {
	select {
	case <-b.ctx.Done():
	case <-time.After(b.delay):
	}
	b.check(b.forgetGone())
	for {
		dir, begin, ok := b.next()
		if !ok {
			return
		}
		b.check(b.work(dir, begin))
	}
}

// check logs an error, once for as long as it is the same.
func (b *textBuilder) check(err error) {
	if err == nil || b.ctx.Err() != nil || err.Error() == b.failed {
		return
	}
	b.failed = err.Error()
	b.a.log.Warn("cannot index the text of messages", "path", b.index.path, "error", err)
}

// forgetGone drops segments of mailboxes that are no more.
func (b *textBuilder) forgetGone() error {
	var found []textSource // before what there is: a new mailbox may have got segments already
	err := b.index.use(false, func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT DISTINCT mailbox, uidvalidity FROM segment", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				found = append(found, textSource{stmt.ColumnInt64(0), uint32(stmt.ColumnInt64(1))})
				return nil
			},
		})
	})
	if err != nil || len(found) == 0 {
		return ignoreNoText(err)
	}
	there := make(map[textSource]bool)
	err = b.a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT id, uidvalidity FROM mailbox", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				there[textSource{stmt.ColumnInt64(0), uint32(stmt.ColumnInt64(1))}] = true
				return nil
			},
		})
	})
	if err != nil {
		return err
	}
	for _, of := range found {
		if there[of] {
			continue
		}
		if err := b.index.dropSource(of); err != nil {
			return err
		}
	}
	return nil
}

// work indexes a mailbox, in its turn.
func (b *textBuilder) work(dir string, begin bool) error {
	mb := b.a.holdLoaded(dir)
	if mb == nil {
		return nil
	}
	defer b.a.put(mb)
	of := mb.textSource()
	if of.mailbox == 0 {
		return nil // nothing of it could be written yet
	}
	select {
	case b.slot <- struct{}{}:
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
	defer func() { <-b.slot }()
	t := &textBuild{b: b, mb: mb, of: of, pace: b.a.newPace(b.ctx)}
	return t.run(begin)
}

// noteText has a mailbox that is indexed looked at when enough has come, and at
// SELECT one of which no one knows whether it is indexed. mu is held.
func (mb *mailbox) noteText(uidNext imap.UID, selected bool) {
	due := mb.textDue.Load()
	if due == 0 && selected || due != 0 && uint32(uidNext) >= due {
		mb.a.text.want(mb.dir, false)
	}
}

// textBuild is the work on one mailbox.
type textBuild struct {
	b     *textBuilder
	mb    *mailbox
	of    textSource
	grams *search.Grams
	pace  *pace
	drop  []int64 // segments to be dropped when their messages are in others
}

func (t *textBuild) run(begin bool) error {
	now := t.mb.snap.Load()
	todo, any, err := t.plan(now, begin)
	if err != nil {
		return ignoreNoText(err)
	}
	if !any && !begin {
		t.mb.textDue.Store(math.MaxUint32)
		return nil
	}
	t.mb.textDue.Store(uint32(now.uidNext) + minSegment)
	if len(todo) < minSegment && len(t.drop) == 0 {
		return nil
	}
	t.grams = search.NewGrams()
	var m segmentMaker
	for _, r := range todo {
		if m.full() {
			if err := t.b.index.putSegment(t.of, &m, nil); err != nil {
				return err
			}
			m.reset()
		}
		if err := t.add(&m, r); err != nil {
			return err
		}
	}
	return t.b.index.putSegment(t.of, &m, t.drop)
}

// plan gives the messages that are to be indexed; any says whether the mailbox
// has been before. They stay in the segments to be dropped until then.
func (t *textBuild) plan(now *snapshot, begin bool) (todo []*record, any bool, err error) {
	covered := make(map[imap.UID]bool)
	var small []*segment
	live := func(s *segment) (uids []imap.UID) {
		for _, m := range s.members {
			if r := now.find(m.uid); r != nil && baseHash(r.base) == m.bind {
				uids = append(uids, m.uid)
			}
		}
		return uids
	}
	err = t.b.index.use(begin, func(conn *sqlite.Conn) error {
		return textSegments(conn, t.of, func(s *segment) error {
			any = true
			uids := live(s)
			if len(uids) < len(s.members)/2 {
				t.drop = append(t.drop, s.id)
				return nil
			}
			if len(s.members) < smallSegment && !s.full {
				small = append(small, s)
			}
			for _, uid := range uids {
				covered[uid] = true
			}
			return nil
		})
	})
	if err != nil {
		return nil, false, err
	}
	if len(small) >= maxSmall {
		for _, s := range small {
			t.drop = append(t.drop, s.id)
			for _, m := range s.members {
				delete(covered, m.uid)
			}
		}
	}
	now.all(func(r *record) bool {
		if !covered[r.uid] {
			todo = append(todo, r)
		}
		return true
	})
	return todo, any, nil
}

// add takes a message to a segment.
func (t *textBuild) add(m *segmentMaker, r *record) error {
	if err := t.pace.step(); err != nil {
		return err
	}
	raw, err := t.mb.read(t.b.ctx, r)
	switch {
	case errors.Is(err, ErrExpunged):
		return nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errTooLarge): // of this message alone
		m.add(r.uid, r.base, nil, false)
		return nil
	case err != nil:
		return err
	}
	grams, ok, err := t.gramsOf(raw)
	if err != nil {
		return err
	}
	m.add(r.uid, r.base, grams, ok)
	return nil
}

// gramsOf is where a message that was sent to do harm would do it. One that
// panics here is searched each time, where a panic is the session's alone.
func (t *textBuild) gramsOf(raw []byte) (grams []search.Gram, ok bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			t.b.a.log.Error("a message cannot be indexed", "panic", r, "stack", string(debug.Stack()))
			t.grams = search.NewGrams()
			grams, ok, err = nil, false, nil
		}
	}()
	return t.grams.Of(t.b.ctx, message.Parse(raw), maxTextGrams)
}
