package store

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// Notifier hears from the kernel what happens in directories. The accounts of a
// process share one: the kernel gives a user 128 of them, and each takes 130 KB.
type Notifier struct {
	log    *slog.Logger
	kernel *fsnotify.Watcher // nil: it gives no more of them

	mu     sync.Mutex // taken after watcher.mu
	owners map[string]*watcher
}

// NewNotifier makes one, to be closed after the accounts.
func NewNotifier(log *slog.Logger) *Notifier {
	n := &Notifier{log: log, owners: make(map[string]*watcher)}
	kernel, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("mailboxes are polled", "error", err)
		return n
	}
	n.kernel = kernel
	go n.listen()
	return n
}

// Close ends it: nothing is told any more.
func (n *Notifier) Close() {
	if n.kernel != nil {
		n.kernel.Close()
	}
}

func (n *Notifier) works() bool { return n.kernel != nil }

// add has w told of what happens in a directory, of which no one else is.
func (n *Notifier) add(dir string, w *watcher) error {
	n.mu.Lock()
	n.owners[dir] = w
	n.mu.Unlock()
	return n.kernel.Add(dir)
}

// remove ends that, if it is w that is told.
func (n *Notifier) remove(dir string, w *watcher) {
	n.mu.Lock()
	ours := n.owners[dir] == w
	if ours {
		delete(n.owners, dir)
	}
	n.mu.Unlock()
	if ours {
		n.kernel.Remove(dir) // fails where the directory is gone
	}
}

// listen passes on what the kernel tells.
func (n *Notifier) listen() {
	for {
		select {
		case ev, ok := <-n.kernel.Events:
			if !ok {
				return
			}
			n.mu.Lock()
			w := n.owners[filepath.Dir(ev.Name)]
			n.mu.Unlock()
			if w != nil {
				w.event(ev.Name)
			}
		case err, ok := <-n.kernel.Errors:
			if !ok {
				return
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				n.log.Warn("cannot watch mailboxes", "error", err)
			}
			for w := range n.all() {
				w.lost()
			}
		}
	}
}

func (n *Notifier) all() map[*watcher]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make(map[*watcher]bool)
	for _, w := range n.owners {
		list[w] = true
	}
	return list
}
