package store

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mailstead/imapserver/maildir"
)

// How often a selected mailbox is looked at that the kernel tells us nothing
// of, and one that it does: changes that other hosts make on a network file
// system come without a word.
const (
	pollUnwatched = 2 * time.Second
	pollWatched   = 30 * time.Second
)

// Between two looks that the kernel has called for, there is some rest: as long
// as the last one took, within these bounds.
const (
	minWatchRest = 10 * time.Millisecond
	maxWatchRest = 50 * time.Millisecond
)

// watcher looks after the mailboxes that are selected: when something happens in
// their new or cur, it syncs them, and that wakes the views. Its mutex is taken
// after all others of the package.
type watcher struct {
	log    *slog.Logger
	off    bool
	notify *Notifier
	own    bool // notify is no other account's

	mu    sync.Mutex
	boxes map[*mailbox]*watch
	taps  map[string][]*tap // by directory
}

// tap is told of what happens in a directory, by the path of the entry. Its fn
// must not wait for anything.
type tap struct{ fn func(path string) }

// watch is one mailbox being looked after.
type watch struct {
	mb      *mailbox
	dirs    []string
	tap     *tap
	watched bool          // the kernel tells us
	poke    chan struct{} // something has happened
	stop    context.CancelFunc
}

func newWatcher(log *slog.Logger, notify *Notifier, off bool) *watcher {
	w := &watcher{log: log, off: off, notify: notify, boxes: make(map[*mailbox]*watch), taps: make(map[string][]*tap)}
	if notify == nil && !off {
		w.notify, w.own = NewNotifier(log), true
	}
	return w
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.boxes {
		t.stop()
	}
	for dir := range w.taps {
		w.notify.remove(dir, w)
	}
	clear(w.taps)
	if w.own {
		w.notify.Close()
	}
}

// add starts to look after a mailbox, if that is not done already. It goes on
// while the mailbox is loaded: the kernel takes a millisecond for every ten
// thousand messages to begin.
func (w *watcher) add(mb *mailbox, path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off || w.boxes[mb] != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	t := &watch{
		mb: mb, stop: stop, poke: make(chan struct{}, 1),
		dirs: []string{filepath.Join(path, "new"), filepath.Join(path, "cur")},
	}
	w.boxes[mb] = t
	t.tap = &tap{func(string) { t.wake() }}
	t.watched = true
	for _, dir := range t.dirs {
		t.watched = w.attach(dir, t.tap) && t.watched
	}
	go t.run(ctx)
}

// remove ends that, and tells whether there was something to end.
func (w *watcher) remove(mb *mailbox) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.boxes[mb]
	if t == nil {
		return false
	}
	delete(w.boxes, mb)
	t.stop()
	for _, dir := range t.dirs {
		w.detach(dir, t.tap)
	}
	return true
}

// tap has t told of what happens in a directory. It gives false where the kernel
// will not say.
func (w *watcher) tap(dir string, t *tap) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attach(dir, t)
}

// untap ends that.
func (w *watcher) untap(dir string, t *tap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detach(dir, t)
}

// forget ends all taps of a directory that is renamed: to the kernel it is the
// same, and letting go of it later would end those of its new name.
func (w *watcher) forget(dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.taps[dir]; ok {
		delete(w.taps, dir)
		w.notify.remove(dir, w)
	}
}

// attach is tap with mu held.
func (w *watcher) attach(dir string, t *tap) bool {
	if w.off || !w.notify.works() {
		return false
	}
	w.taps[dir] = append(w.taps[dir], t)
	if err := w.notify.add(dir, w); err != nil {
		w.log.Warn("a mailbox is polled", "path", dir, "error", err)
		return false
	}
	return true
}

func (w *watcher) detach(dir string, t *tap) {
	left := slices.DeleteFunc(w.taps[dir], func(other *tap) bool { return other == t })
	if len(left) > 0 {
		w.taps[dir] = left
		return
	}
	if _, ok := w.taps[dir]; ok {
		delete(w.taps, dir)
		w.notify.remove(dir, w)
	}
}

// event passes on what has happened to an entry of a directory.
func (w *watcher) event(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.taps[filepath.Dir(path)] {
		t.fn(path)
	}
}

// lost has everyone look, since events have been lost.
func (w *watcher) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for dir, taps := range w.taps {
		for _, t := range taps {
			t.fn(filepath.Join(dir, maildir.SubscriptionsFile))
		}
	}
}

func (t *watch) wake() {
	select {
	case t.poke <- struct{}{}:
	default:
	}
}

// run syncs the mailbox when there is reason to.
func (t *watch) run(ctx context.Context) {
	every := pollUnwatched
	if t.watched {
		every = pollWatched
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.poke:
		case <-timer.C:
		}
		start := time.Now()
		again, err := t.mb.background(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case atDisk(err):
			t.mb.a.Trouble(err)
		default:
			t.mb.a.log.Error("cannot look at a mailbox", "error", err)
		}
		if again <= 0 || again > every {
			again = every
		}
		timer.Reset(again)
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(max(minWatchRest, time.Since(start)), maxWatchRest)):
		}
	}
}

// background syncs, and tells how soon it wants to be called again; 0 does not
// matter.
func (mb *mailbox) background(ctx context.Context) (again time.Duration, err error) {
	if err := mb.a.reviewDisk(); err != nil {
		return 0, err
	}
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.gone.Load() || len(mb.views) == 0 {
		return 0, nil
	}
	move := false
	for v := range mb.views {
		move = move || !v.readOnly
	}
	err = mb.sync(ctx, move)
	switch {
	case len(mb.suspect) > 0:
		again = missingWait
	case mb.cur.ctime == 0 || mb.new.ctime == 0:
		again = 2 * clockTick
	default:
		for _, d := range []*dirState{&mb.cur, &mb.new} {
			if d.own && (again == 0 || time.Until(d.due()) < again) {
				again = max(time.Until(d.due()), minWatchRest)
			}
		}
	}
	return again, err
}
