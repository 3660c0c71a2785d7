package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/message"
)

// Filling the cache yields to those who wait for an answer: it begins a while
// after the occasion, works for a moment and rests for as long, or longer where
// a client has just been served.
const (
	fillDelay = time.Second
	fillWork  = 2 * time.Millisecond
	fillRest  = 2 * time.Millisecond
	fillBusy  = 20 * time.Millisecond
)

// filler reads messages in the background so that what clients ask for is in
// the cache. It runs while there is something to do, and only one of all
// accounts that share slot at a time.
type filler struct {
	a    *Account
	slot chan struct{} // nil: nothing is filled in the background

	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex // the innermost
	want  map[string]bool
	runs  bool
	swept bool
}

func newFiller(a *Account, slot chan struct{}) *filler {
	f := &filler{a: a, slot: slot, want: make(map[string]bool)}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// ask has a mailbox looked at soon. It may be called with any lock held.
func (f *filler) ask(dir string) {
	if f.slot == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want[dir] = true
	if f.runs || f.ctx.Err() != nil {
		return
	}
	f.runs = true
	f.done.Go(f.run)
}

// close waits for the end of what is being done.
func (f *filler) close() {
	f.mu.Lock()
	f.stop()
	f.mu.Unlock()
	f.done.Wait()
}

func (f *filler) run() {
	for f.wait(fillDelay) {
		select {
		case f.slot <- struct{}{}:
		case <-f.ctx.Done():
			return
		}
		f.sweep()
		for dir := range f.take() {
			if err := f.fill(dir); err != nil && f.ctx.Err() == nil {
				f.a.log.Warn("messages are not cached", "dir", dir, "error", err)
			}
		}
		<-f.slot
		f.mu.Lock()
		if len(f.want) == 0 {
			f.runs = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
	}
}

func (f *filler) take() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.want
	f.want = make(map[string]bool)
	return list
}

func (f *filler) wait(d time.Duration) bool {
	select {
	case <-f.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// sweep removes, once, the files of mailboxes that are no more.
func (f *filler) sweep() {
	if f.swept {
		return
	}
	f.swept = true
	dir := filepath.Join(f.a.own, cacheDir)
	if realDir(f.a.own) != nil || realDir(dir) != nil {
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return
	}
	known := make(map[string]bool)
	err = f.a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT id FROM mailbox", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				known[strconv.FormatInt(stmt.ColumnInt64(0), 10)] = true
				return nil
			},
		})
	})
	for _, e := range entries {
		if err == nil && !known[e.Name()] {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// fill completes the cache of a mailbox that is loaded. A message that brings a
// fault of ours to light ends it, and nothing else: a session would survive, too.
func (f *filler) fill(dir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	mb := f.a.holdLoaded(dir)
	if mb == nil {
		return nil
	}
	defer f.a.put(mb)
	c := mb.cached()
	if c == nil {
		return nil
	}
	snap := mb.snap.Load()
	if snap.uidValidity != c.validity {
		return nil
	}
	p := f.a.newPace(f.ctx)
	k := &place{cache: c, dir: c.dir.Load()}
	from, _ := snap.index(c.tried)
	c.tried = snap.uidNext
	var w blockWriter
	for i, there := range c.there(k, snap, from) {
		if there {
			continue
		}
		if err := p.step(); err != nil {
			return err
		}
		r := snap.at(from + i)
		raw, err := mb.read(f.ctx, r)
		if err != nil {
			continue // it is gone, or whoever asks for it will be told
		}
		w.add(r.uid, baseHash(r.base), partsOf(message.Parse(raw)))
		if w.full() {
			c.write(&w)
		}
	}
	c.write(&w)
	if c.dir.Load().untidy(snap.len) {
		return c.tidy(snap, p)
	}
	return nil
}

// there tells of each message from a position on whether it is in the cache.
func (c *cache) there(k *place, snap *snapshot, from int) []bool {
	list := make([]bool, snap.len-from)
	if len(list) == 0 {
		return nil
	}
	first := snap.at(from).uid
	for _, b := range k.dir.blocks {
		if b.last < first || !k.enter(b) {
			continue
		}
		for i := range b.count {
			id := k.sections[0][i*identityLen:]
			n, ok := snap.index(imap.UID(binary.BigEndian.Uint32(id)))
			if ok && n >= from && baseHash(snap.at(n).base) == binary.BigEndian.Uint64(id[4:]) {
				list[n-from] = true
			}
		}
	}
	return list
}

// untidy tells whether a file is worth being written anew for n messages: too
// much of it is of others, or in small pieces, or mixed.
func (d *directory) untidy(n int) bool {
	small := 0
	var octets int64
	for _, b := range d.blocks {
		octets += b.end() - b.at
		if b.count < blockMessages/4 && b.end()-b.at < blockOctets/4 {
			small++
		}
	}
	return d.mixed >= maxMixed/2 || small >= 32 || d.messages > n+n/2+1024 || d.end > 2*octets+blockOctets
}

// tidy writes the file anew, for the messages that there are.
func (c *cache) tidy(snap *snapshot, p *pace) error {
	path := c.path + ".new"
	os.Remove(path)
	file, err := createCache(path, os.O_EXCL)
	if err != nil {
		return err
	}
	next := newDirectory(file, 0, nil)
	k := &place{cache: c, dir: c.dir.Load()}
	var w blockWriter
	flush := func() error {
		if w.count == 0 {
			return nil
		}
		data := w.encode(c.validity)
		w.reset()
		b, err := parseHead(data[:blockHead], next.end)
		if err == nil {
			_, err = file.WriteAt(data, next.end)
		}
		if err == nil {
			next = next.with(b)
		}
		return err
	}
	snap.all(func(r *record) bool {
		hash := baseHash(r.base)
		if _, ok := k.find(r, hash, PartEnvelope); !ok {
			return true
		}
		w.add(r.uid, hash, func(part Part, dst []byte) ([]byte, bool) {
			text, ok := k.find(r, hash, part)
			return append(dst, text...), ok
		})
		if w.full() {
			err = flush()
		}
		if err == nil {
			err = p.step()
		}
		return err == nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		file.Close()
		os.Remove(path)
		return fmt.Errorf("write the cache anew: %w", err)
	}
	c.replace(path, next)
	return nil
}

// pace makes the background rest.
type pace struct {
	ctx   context.Context
	a     *Account
	since time.Time
	steps int
}

func (a *Account) newPace(ctx context.Context) *pace { return &pace{ctx: ctx, a: a, since: time.Now()} }

// step is called before each piece of work.
func (p *pace) step() error {
	if p.steps++; p.steps%8 != 0 {
		return nil
	}
	if time.Since(p.since) < fillWork {
		runtime.Gosched()
		return nil
	}
	rest := fillRest
	if time.Now().UnixNano()-p.a.served.Load() < int64(fillBusy) {
		rest = fillBusy
	}
	select {
	case <-p.ctx.Done():
		return p.ctx.Err()
	case <-time.After(rest):
	}
	p.since = time.Now()
	return nil
}
