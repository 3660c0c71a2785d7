package kind

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// mailWorker does what is asked about mail, with the rights of its process. It
// makes thousands of directories for a new host and syncs them together, by file
// system: until then the inventory holds them as pending.
type mailWorker struct {
	forRoot bool           // it is root's helper: what its user may not do, root does not do for it
	dirty   map[uint64]int // a descriptor on each file system that has to be synced
}

func (w *mailWorker) answer(q mailRequest) (a mailAnswer) {
	for part := range accounts(q.Asks) {
		for _, s := range observeMailboxes(part) {
			if s.err != nil {
				s.Error = w.explain(s.err)
			}
			a.Seen = append(a.Seen, s)
		}
	}
	for part := range accounts(q.Make) {
		for _, err := range w.make(part) {
			text := ""
			if err != nil {
				text = w.explain(err)
			}
			a.Made = append(a.Made, text)
		}
	}
	if q.Scan != nil {
		a.Scan = scanMail(q.Scan)
	}
	if q.Way != "" {
		a.Way = wayTo(q.Way)
	}
	if q.Untouched != nil {
		var err error
		if a.Untouched, err = untouched(*q.Untouched); err != nil {
			a.Error = w.explain(err)
		}
	}
	if q.Sync {
		if err := w.sync(); err != nil {
			a.Error = w.explain(err)
		}
	}
	return a
}

// accounts parts mail that stands together: mailboxes of one account at once,
// everything else by itself.
func accounts(things []mailThing) iter.Seq[[]mailThing] {
	same := func(a, b mailThing) bool {
		return a.Kind == "folder" && b.Kind == "folder" &&
			a.get("path") == b.get("path") && a.get("home") == b.get("home") && a.get("owner") == b.get("owner")
	}
	return func(yield func([]mailThing) bool) {
		for len(things) > 0 {
			n := 1
			for n < len(things) && same(things[0], things[n]) {
				n++
			}
			if !yield(things[:n]) {
				return
			}
			things = things[n:]
		}
	}
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

// make makes mail of one account.
func (w *mailWorker) make(wants []mailThing) []error {
	errs := makeMailboxes(wants)
	if slices.ContainsFunc(errs, func(err error) bool { return err == nil }) {
		if err := w.note(wants[0].get("path")); err != nil {
			for i := range errs {
				errs[i] = errors.Join(errs[i], err)
			}
		}
	}
	return errs
}

// note remembers that the file system of a Maildir has to be synced.
func (w *mailWorker) note(path string) error {
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
