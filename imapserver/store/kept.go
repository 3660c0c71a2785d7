package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// KeptDir is where expunged messages stay for a while, in our directory of the
// Maildir: a directory with cur, new and tmp, which no mail server lists.
const KeptDir = "kept"

// KeptNotes is the file in it that says where each message was. It is never
// synced: a message without a note is only harder to place.
const KeptNotes = "notes"

// KeptNote is a line of it. The name of a kept file begins with the time at which
// it was expunged, in seconds since 1970, and goes on as it was.
type KeptNote struct {
	Name     string `json:"name"`
	Mailbox  string `json:"mailbox"` // without the namespace prefix
	UID      uint32 `json:"uid"`
	Date     int64  `json:"date"`               // internal date, in seconds since 1970
	Keywords string `json:"keywords,omitempty"` // parted by spaces
}

// sweepPause is how long kept messages are not looked through again.
const sweepPause = 6 * time.Hour

// keptMail keeps what is expunged.
type keptMail struct {
	mu     sync.Mutex
	life   time.Duration   // 0: what is expunged is gone
	folder *maildir.Folder // nil until it is needed
	notes  *os.File
	swept  time.Time
}

// SetKeep says for how long expunged messages are kept from now on, and removes
// those that have been kept for longer. With 0, nothing is kept, and what there is
// goes.
func (a *Account) SetKeep(life time.Duration) {
	k := &a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	changed := k.life != life
	k.life = life
	if !changed && time.Since(k.swept) < sweepPause {
		return
	}
	k.swept = time.Now()
	if err := a.sweepKept(k.swept.Add(-life)); err != nil {
		a.log.Warn("kept mail cannot be looked through", "error", err)
	}
}

// openKept opens the directory, and makes it. The caller holds its lock.
func (a *Account) openKept() error {
	k := &a.kept
	if k.folder != nil {
		return nil
	}
	dir := filepath.Join(a.own, KeptDir)
	for _, d := range []string{dir, filepath.Join(dir, "cur"), filepath.Join(dir, "new"), filepath.Join(dir, "tmp")} {
		if err := os.Mkdir(d, maildir.DirMode); err != nil && !errors.Is(err, fs.ErrExist) {
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
	k.notes, err = os.OpenFile(filepath.Join(dir, KeptNotes), os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, maildir.FileMode)
	if err != nil {
		f.Close()
		return err
	}
	k.folder = f
	return nil
}

// discardFile removes the file of a message that is expunged, or keeps it.
func (mb *mailbox) discardFile(r *record) error {
	k := &mb.a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life == 0 {
		return mb.folder.Unlink(r.sub, r.name())
	}
	if err := mb.a.openKept(); err != nil {
		return fmt.Errorf("keep an expunged message: %w", err)
	}
	name := strconv.FormatInt(time.Now().Unix(), 10) + "." + r.name()
	if err := mb.folder.Rename(r.sub, r.name(), k.folder, maildir.Cur, name); err != nil {
		return err
	}
	line, err := json.Marshal(KeptNote{name, mb.name(), uint32(r.uid), r.date, r.set.keywords})
	if err == nil {
		_, err = k.notes.Write(append(line, '\n'))
	}
	if err != nil {
		mb.a.log.Warn("where a kept message was is not noted", "name", name, "error", err)
	}
	return nil
}

// syncKept makes durable what was kept.
func (a *Account) syncKept() error {
	k := &a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life == 0 || k.folder == nil {
		return nil
	}
	return k.folder.Sync(maildir.Cur)
}

// sweepKept removes what was expunged before a time, and its notes. The caller
// holds the lock.
func (a *Account) sweepKept(before time.Time) error {
	dir := filepath.Join(a.own, KeptDir)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := a.openKept(); err != nil {
		return err
	}
	k := &a.kept
	l, err := k.folder.List(maildir.Cur)
	if err != nil {
		return err
	}
	defer l.Release()
	removed := 0
	for i := range l.Len() {
		name := string(l.Name(i))
		if at, ok := KeptSince(name); !ok || !at.Before(before) {
			continue
		}
		if err := k.folder.Unlink(maildir.Cur, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		removed++
	}
	if removed == l.Len() && removed > 0 {
		return k.notes.Truncate(0)
	}
	return nil
}

// KeptSince tells when a kept message was expunged, by its name.
func KeptSince(name string) (time.Time, bool) {
	at, _, _ := strings.Cut(name, ".")
	n, err := strconv.ParseInt(at, 10, 64)
	return time.Unix(n, 0), err == nil
}

func (k *keptMail) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.folder != nil {
		k.folder.Close()
		k.notes.Close()
		k.folder = nil
	}
}
