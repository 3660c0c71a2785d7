package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// sweepPause is how long kept messages are not looked through again.
const sweepPause = 6 * time.Hour

// keptMail keeps what is expunged, in maildir.KeptDir.
type keptMail struct {
	mu     sync.Mutex
	life   time.Duration   // 0: what is expunged is gone
	folder *maildir.Folder // nil until it is needed
	sync   *group          // makes the entries of its cur durable
	notes  *os.File        // of the day that they are for
	day    string          // its name
	swept  time.Time
}

// SetKeep says for how long messages that are expunged from now on are kept; with
// 0 they are gone. Those that are there stay for as long as was said when they were
// expunged, and then are removed.
func (a *Account) SetKeep(life time.Duration) {
	k := &a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	k.life = life
	if now := time.Now(); now.Sub(k.swept) >= sweepPause {
		k.swept = now
		if err := a.sweepKept(now); err != nil {
			a.log.Warn("kept mail cannot be looked through", "error", err)
		}
	}
}

// openKept opens the directory, and makes it. The caller holds its lock.
func (a *Account) openKept() error {
	k := &a.kept
	if k.folder != nil {
		return nil
	}
	dir := filepath.Join(a.own, maildir.KeptDir)
	for _, d := range []string{dir, filepath.Join(dir, "cur"), filepath.Join(dir, "new"), filepath.Join(dir, "tmp")} {
		if err := a.ops.Mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	f, err := maildir.OpenFolder(dir, a.ops)
	if err != nil {
		return err
	}
	// Also where they were there: who made them may have died before this.
	if err = a.ops.SyncDir(a.own); err == nil {
		err = a.ops.SyncDir(dir)
	}
	if err != nil {
		f.Close()
		return a.index.fail(err)
	}
	k.folder, k.sync = f, newGroup(func() error { return a.syncNames(f, maildir.Cur) }, a.synced)
	return nil
}

// keeping is where expunged messages go, and for how long.
type keeping struct {
	folder *maildir.Folder // nil: they are gone
	sync   *group          // makes the names of what is kept durable
	life   time.Duration
}

func (a *Account) keeping() (keeping, error) {
	k := &a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life == 0 {
		return keeping{}, nil
	}
	if err := a.openKept(); err != nil {
		return keeping{}, fmt.Errorf("keep what is removed: %w", err)
	}
	return keeping{k.folder, k.sync, k.life}, nil
}

// keptSync makes durable what has been kept; nil: nothing has been.
func (a *Account) keptSync() *group {
	k := &a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sync
}

// keep puts the file of a message that is expunged where it is kept. Its new name is
// not durable yet.
func (mb *mailbox) keep(r *record, k keeping) error {
	st, err := mb.folder.Stat(r.sub, r.name())
	if err != nil {
		return err
	}
	if st.Regular {
		if err := mb.syncFresh(r, st); err != nil {
			return err
		}
	}
	at := mb.a.now()
	until := at.Add(k.life)
	name := maildir.KeptName(at, until, mb.a.namer.Next().Tmp(), r.set.suffix)
	err = mb.folder.Rename(r.sub, r.name(), k.folder, maildir.Cur, name)
	if errors.Is(err, unix.EXDEV) {
		err = mb.keepAnew(r, k.folder, name)
	}
	if err != nil {
		return err
	}
	note := maildir.KeptNote{Name: name, Mailbox: mb.name(), UID: uint32(r.uid), Validity: mb.snap.Load().uidValidity, Date: r.date, Keywords: r.set.keywords}
	if err := mb.a.noteKept(note, until); err != nil {
		mb.a.log.Warn("where a kept message was is not noted", "name", name, "error", err)
	}
	return nil
}

// keepAnew keeps a message of another file system.
func (mb *mailbox) keepAnew(r *record, kept *maildir.Folder, name string) error {
	if err := mb.a.copyFile(mb.folder, r, kept, name); err != nil {
		return err
	}
	if err := kept.Sync(maildir.Cur); err != nil {
		return mb.a.index.fail(err)
	}
	err := mb.folder.Unlink(r.sub, r.name())
	if err != nil { // it stays, and must not be kept once more when it is expunged again
		err = errors.Join(err, ignoreNotExist(kept.Unlink(maildir.Cur, name)))
	}
	return err
}

func (a *Account) noteKept(n maildir.KeptNote, until time.Time) error {
	line, err := n.Line()
	if err != nil {
		return err
	}
	k := &a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if day := maildir.KeptNotesFile(until); day != k.day {
		if err := a.openNotes(day); err != nil {
			return err
		}
	}
	if _, err = a.ops.Writer(k.notes).Write(line); err != nil {
		k.day = "" // what is opened anew ends the line that was torn
	}
	return err
}

// openNotes goes over to the notes of another day. The caller holds the lock.
func (a *Account) openNotes(day string) error {
	k := &a.kept
	path := filepath.Join(a.own, maildir.KeptDir, day)
	if err := a.ops.Announce(maildir.Op{Call: "create", Path: path}); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, maildir.FileMode)
	if err != nil {
		return err
	}
	if err := maildir.EndLine(f); err != nil {
		f.Close()
		return err
	}
	if k.notes != nil {
		k.notes.Close()
	}
	k.notes, k.day = f, day
	return nil
}

// look notes that somebody looks at what is kept, and gives when somebody did before. That
// is what its removal goes by: a clock that is ahead for an hour after boot must not end the
// time of all that is kept. Within sweepPause, and where the look before is still to come,
// it is zero.
func (k *keptMail) look(now time.Time) (before time.Time, err error) {
	const dir = "." // new, where nothing is ever put: its time is ours, and takes no room
	st, err := k.folder.Stat(maildir.New, dir)
	if err != nil {
		return before, err
	}
	since := now.Sub(st.ModTime)
	if 0 <= since && since < sweepPause {
		return before, nil
	}
	if since > 0 {
		before = st.ModTime
	}
	return before, k.folder.SetTime(maildir.New, dir, now)
}

// sweepKept removes the messages whose time had come when somebody looked before, and the
// notes of a day that has none any more. The caller holds the lock.
func (a *Account) sweepKept(now time.Time) error {
	dir := filepath.Join(a.own, maildir.KeptDir)
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = a.openKept()
	}
	if err != nil {
		return err
	}
	k := &a.kept
	before, err := k.look(now)
	if err != nil || before.IsZero() {
		return err
	}
	l, err := k.folder.List(maildir.Cur)
	if err != nil {
		return err
	}
	defer l.Release()
	for name := range l.All() {
		if _, until, ok := maildir.ParseKeptName(name); !ok || !until.Before(before) {
			continue
		}
		if err := k.folder.Unlink(maildir.Cur, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, f := range files {
		end, ok := maildir.KeptNotesEnd(f.Name())
		if f.IsDir() {
			_, end, ok = maildir.ParseKeptName(f.Name()) // a mailbox that was deleted
		}
		if ok && end.Before(before) {
			if err := a.removeAll(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *keptMail) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.folder != nil {
		k.folder.Close()
		k.folder, k.sync = nil, nil
	}
	if k.notes != nil {
		k.notes.Close()
		k.notes, k.day = nil, ""
	}
}
