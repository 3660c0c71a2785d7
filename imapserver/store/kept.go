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
	for _, d := range []string{a.own, dir} {
		if err := a.ops.SyncDir(d); err != nil {
			f.Close()
			return err
		}
	}
	k.folder = f
	return nil
}

// keeping gives where expunged messages go, and for how long; nil if they are gone.
func (a *Account) keeping() (*maildir.Folder, time.Duration, error) {
	k := &a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life == 0 {
		return nil, 0, nil
	}
	if err := a.openKept(); err != nil {
		return nil, 0, fmt.Errorf("keep what is removed: %w", err)
	}
	return k.folder, k.life, nil
}

// discardFile removes the file of a message that is expunged, or keeps it.
func (mb *mailbox) discardFile(r *record) error {
	kept, life, err := mb.a.keeping()
	if err != nil {
		return err
	}
	if kept == nil {
		return mb.folder.Unlink(r.sub, r.name())
	}
	at := time.Now()
	until := at.Add(life)
	name := maildir.KeptName(at, until, mb.a.namer.Next().Tmp(), r.set.suffix)
	if err := mb.folder.Rename(r.sub, r.name(), kept, maildir.Cur, name); err != nil {
		return err
	}
	note := maildir.KeptNote{Name: name, Mailbox: mb.name(), UID: uint32(r.uid), Date: r.date, Keywords: r.set.keywords}
	if err := mb.a.noteKept(note, until); err != nil {
		mb.a.log.Warn("where a kept message was is not noted", "name", name, "error", err)
	}
	return nil
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
		f, err := os.OpenFile(filepath.Join(a.own, maildir.KeptDir, day), os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, maildir.FileMode)
		if err != nil {
			return err
		}
		if k.notes != nil {
			k.notes.Close()
		}
		k.notes, k.day = f, day
	}
	_, err = k.notes.Write(line)
	return err
}

// syncKept makes durable what was kept.
func (a *Account) syncKept() error {
	folder, _, err := a.keeping()
	if err != nil || folder == nil {
		return err
	}
	return folder.Sync(maildir.Cur)
}

// sweepKept removes the messages whose time has come, and the notes of a day that
// has none any more. The caller holds the lock.
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
	l, err := k.folder.List(maildir.Cur)
	if err != nil {
		return err
	}
	defer l.Release()
	for i := range l.Len() {
		name := string(l.Name(i))
		if _, until, ok := maildir.ParseKeptName(name); !ok || !until.Before(now) {
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
		if ok && end.Before(now) {
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
		k.folder = nil
	}
	if k.notes != nil {
		k.notes.Close()
		k.notes, k.day = nil, ""
	}
}
