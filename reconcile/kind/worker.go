package kind

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// mailWorker does what is asked about mail, with the rights of its process. It
// makes thousands of directories for a new host and syncs them together, by file
// system: until then the inventory holds them as pending.
type mailWorker struct {
	forRoot bool           // it is root's helper: what its user may not do, root does not do for it
	dirty   map[uint64]int // a descriptor on each file system that has to be synced
}

func (w *mailWorker) answer(q mailRequest) (a mailAnswer) {
	for _, ask := range q.Asks {
		have, err := observeMailbox(ask)
		s := mailSeen{Have: have}
		if err != nil {
			s.Error = w.explain(err)
		}
		a.Seen = append(a.Seen, s)
	}
	var err error
	if q.Change != nil {
		err = w.apply(*q.Change)
	}
	if err == nil && q.Sync {
		err = w.sync()
	}
	if err != nil {
		a.Error = w.explain(err)
	}
	return a
}

func (w *mailWorker) explain(err error) string {
	if w.forRoot {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (to the owner of the mail, uid %d)", err, os.Geteuid())
		}
		return err.Error()
	}
	return explain(err).Error()
}

func (w *mailWorker) apply(c reconcile.Change) error {
	if err := applyMailbox(c); err != nil {
		return err
	}
	path := c.Want.Get("path")
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if _, ok := w.dirty[uint64(st.Dev)]; ok {
		return unix.Close(fd)
	}
	if w.dirty == nil {
		w.dirty = make(map[uint64]int)
	}
	w.dirty[uint64(st.Dev)] = fd
	return nil
}

// sync syncs every file system that was changed.
func (w *mailWorker) sync() error {
	var first error
	for _, fd := range w.dirty {
		if err := unix.Syncfs(fd); err != nil && first == nil {
			first = fmt.Errorf("sync: %w", err)
		}
		unix.Close(fd)
	}
	clear(w.dirty)
	return first
}
