package store

import (
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mailstead/imapserver/maildir"
)

// Feed tells which mailboxes of an account something has happened to, selected
// or not. It says where to look and not what there is: whoever asks compares
// with what he knew, so that nothing is lost however much happens at once. One
// goroutine owns a Feed; Wake alone may be used from another.
type Feed struct {
	a     *Account
	match func(name string) bool
	wake  chan struct{}
	taps  map[string]*tap // by directory that is watched; for the owner
	poll  *time.Timer     // nil: the kernel tells of everything

	mu      sync.Mutex // the innermost of all
	changed map[string]bool
	list    bool
	renamed []Renamed
	entries map[[2]string]bool // mailbox and entry of annotations
	lost    bool
	closed  bool
}

// Renamed is a mailbox with another name.
type Renamed struct{ From, To string }

// maxRenamed is how many of them a Feed remembers. The others are told as
// mailboxes that have gone and come.
const maxRenamed = 1000

// News is what a Feed tells of.
type News struct {
	Changed []string // mailboxes that something may have happened to
	List    bool     // mailboxes or subscriptions may have come or gone

	// Entries are the annotations that have changed, by mailbox, "" for the
	// account's own of the server; sorted. Lost says that there were more.
	Entries map[string][]string
	Lost    bool
}

// maxEntries is how many changed annotations a Feed remembers.
const maxEntries = 1000

// feeds are the feeds of an account. Its mutex is taken after all others but
// those of the feeds.
type feeds struct {
	mu  sync.Mutex
	all map[*Feed]bool
}

// Feed begins to tell of the mailboxes whose name matches. match is called by
// the goroutine that owns the Feed.
func (a *Account) Feed(match func(name string) bool) (*Feed, error) {
	f := &Feed{
		a: a, match: match, wake: make(chan struct{}, 1),
		taps: make(map[string]*tap), changed: make(map[string]bool),
	}
	a.feeds.mu.Lock()
	if a.feeds.all == nil {
		a.feeds.all = make(map[*Feed]bool)
	}
	a.feeds.all[f] = true
	a.feeds.mu.Unlock()
	f.tap(a.dir, func(path string) {
		if name := filepath.Base(path); name[0] == '.' || name == maildir.SubscriptionsFile {
			f.markList()
		}
	})
	if err := f.Rescan(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close ends the Feed.
func (f *Feed) Close() {
	f.a.feeds.mu.Lock()
	delete(f.a.feeds.all, f)
	f.a.feeds.mu.Unlock()
	for path, t := range f.taps {
		f.a.watch.untap(path, t)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.poll != nil {
		f.poll.Stop()
	}
}

// Wake is readable once there is something to Take.
func (f *Feed) Wake() <-chan struct{} { return f.wake }

// Take gives what there is since the last Take.
func (f *Feed) Take() (News, error) {
	f.mu.Lock()
	changed := f.changed
	f.changed = make(map[string]bool)
	news := News{List: f.list}
	f.list = false
	entries := f.entries
	news.Lost, f.lost, f.entries = f.lost, false, nil
	f.mu.Unlock()
	news.Entries = make(map[string][]string)
	for e := range entries {
		news.Entries[e[0]] = append(news.Entries[e[0]], e[1])
	}
	for _, list := range news.Entries {
		slices.Sort(list)
	}
	if news.List {
		if err := f.Rescan(); err != nil {
			return news, err
		}
	}
	for dir := range changed {
		if name, err := maildir.DecodeName(dir, f.a.enc); err == nil && f.match(name) {
			news.Changed = append(news.Changed, name)
		}
	}
	slices.Sort(news.Changed)
	return news, nil
}

// Mark has the Feed tell of a mailbox as if something had happened to it.
func (f *Feed) Mark(name string) {
	if dir, err := f.a.dirOf(name); err == nil {
		f.mark(dir)
	}
}

// Renamed gives what RENAME has done since the last call, in its order. All that
// an earlier List shows the work of is in it, and perhaps more: a RENAME holds
// Account.mu until it has told.
func (f *Feed) Renamed() []Renamed {
	f.a.mu.Lock()
	defer f.a.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.renamed
	f.renamed = nil
	return list
}

// Rescan watches the mailboxes that there are now and that match now. What is gone is let go of
// first: a directory that was renamed is the same to the kernel.
func (f *Feed) Rescan() error {
	dirs, err := f.a.folderDirs()
	if err != nil {
		return err
	}
	there := map[string]string{f.a.dir: ""} // directories to watch, of which mailbox
	for _, dir := range append(dirs, ".") {
		if name, err := maildir.DecodeName(dir, f.a.enc); err == nil && f.match(name) {
			there[filepath.Join(f.a.dir, dir, "new")] = dir
			there[filepath.Join(f.a.dir, dir, "cur")] = dir
		}
	}
	for path, t := range f.taps {
		if _, ok := there[path]; !ok {
			f.a.watch.untap(path, t)
			delete(f.taps, path)
		}
	}
	for path, dir := range there {
		if f.taps[path] == nil {
			f.tap(path, func(string) { f.mark(dir) })
		}
	}
	return nil
}

// tap watches a directory. Where the kernel does not, the Feed wakes its owner
// by the clock.
func (f *Feed) tap(path string, fn func(string)) {
	t := &tap{fn: fn}
	f.taps[path] = t
	if !f.a.watch.tap(path, t) && f.poll == nil {
		f.poll = time.AfterFunc(pollUnwatched, f.again)
	}
}

// again marks everything, now and in a while.
func (f *Feed) again() {
	dirs, err := f.a.folderDirs()
	if err != nil {
		f.a.log.Warn("cannot look for changed mailboxes", "error", err)
	}
	for _, dir := range append(dirs, ".") {
		f.mark(dir)
	}
	f.markList()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.poll.Reset(pollUnwatched)
	}
}

func (f *Feed) mark(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed[dir] = true
	f.poke()
}

func (f *Feed) markList() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = true
	f.poke()
}

func (f *Feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// mark tells all feeds of a change to the mailbox of a directory.
func (s *feeds) mark(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.all {
		f.mark(dir)
	}
}

// markRenamed tells all feeds of mailboxes with other names.
func (s *feeds) markRenamed(list []Renamed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.all {
		f.mu.Lock()
		if len(f.renamed)+len(list) <= maxRenamed {
			f.renamed = append(f.renamed, list...)
		}
		f.mu.Unlock()
		f.markList()
	}
}

// markEntries tells all feeds of annotations that everybody or the owner sees.
func (s *feeds) markEntries(mailbox string, list []Annotation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.all {
		f.mu.Lock()
		for _, m := range list {
			if m.Scope != Shared && m.Scope != Private("") {
				continue
			}
			if f.entries == nil {
				f.entries = make(map[[2]string]bool)
			}
			if f.entries[[2]string{mailbox, m.Entry}] = true; len(f.entries) > maxEntries {
				f.entries, f.lost = nil, true
			}
		}
		f.poke()
		f.mu.Unlock()
	}
}

// markList tells all feeds that mailboxes or subscriptions have changed.
func (s *feeds) markList() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.all {
		f.markList()
	}
}
