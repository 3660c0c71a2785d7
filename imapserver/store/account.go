package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// lockWait is how long Open waits for another process to let go of the account.
const lockWait = 10 * time.Second

// What stays loaded of mailboxes that no one has open, so that the next SELECT
// or STATUS of them need not read the index.
const (
	maxIdleMailboxes = 16
	maxIdleMessages  = 200_000
)

var errClosed = errors.New("account is closed")

// Account is one user's mail. Its methods may be called from many goroutines.
type Account struct {
	dir   string // the top Maildir
	own   string // our directory in it
	log   *slog.Logger
	ops   *maildir.Ops
	boot  string // the run of the kernel
	namer *maildir.Namer
	lock  *os.File
	top   identity // of dir, as it was when lock was taken
	index *index
	past  time.Time // when the index was written before
	enc   maildir.Encoding
	watch *watcher

	lost   func(mailbox string, uids []imap.UID)
	synced func(time.Duration)

	courierDelay time.Duration
	keeper       *keeper // of Courier's files; nil: they are not kept

	feeds feeds
	text  *textBuilder
	fill  *filler
	start time.Time

	quota         quota
	kept          keptMail
	trouble       trouble
	relaxed       atomic.Bool
	validity      validity
	acls          aclFiles
	rightsChanged atomic.Uint64

	nameless   sync.Once // for the line in the log about entries that are no mailboxes
	unreadable sync.Once // for that about rights that cannot be read

	served atomic.Int64 // when a session last used the cache, Unix ns

	mu     sync.Mutex          // also held while mailboxes are made, renamed and deleted
	boxes  map[string]*mailbox // by directory; those in use and some that were
	made   uint64              // mailboxes so far
	closed bool
}

// Open opens the Maildir tree and its index, which it makes where missing.
// The Maildir itself must exist.
func Open(ctx context.Context, o Options) (*Account, error) {
	// A Maildir may well be a link to where the mail is; within it, none is
	// followed.
	dir, err := filepath.EvalSymlinks(o.Maildir)
	if err != nil {
		return nil, fmt.Errorf("open Maildir: %w", err)
	}
	a := &Account{
		dir:   dir,
		own:   filepath.Join(dir, maildir.OwnDir),
		log:   o.Log,
		ops:   o.ops,
		boot:  o.boot,
		namer: maildir.NewNamer(),
		boxes: make(map[string]*mailbox),
		start: time.Now(),
		acls:  aclFiles{top: dir},

		courierDelay: o.courierDelay,
		lost:         o.Lost,
		synced:       o.Synced,
	}
	if a.courierDelay == 0 {
		a.courierDelay = courierDelay
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.log = a.log.With("maildir", dir)
	if a.boot == "" {
		a.boot = readBoot()
	}
	if a.ops == nil {
		a.ops = &maildir.Ops{}
	}
	a.watch = newWatcher(a.log, o.Notifier, o.unwatched)
	a.text = newTextBuilder(a, &o)
	a.fill = newFiller(a, o.Background)
	if err := a.open(ctx, o); err != nil {
		a.watch.close()
		a.closeFiles()
		return nil, fmt.Errorf("open %s: %w", a.dir, diskError(err))
	}
	return a, nil
}

func (a *Account) open(ctx context.Context, o Options) error {
	if _, err := os.Lstat(filepath.Join(a.dir, "cur")); err != nil {
		return fmt.Errorf("not a Maildir: %w", err)
	}
	if err := a.ops.Mkdir(a.own); err == nil {
		if err := a.ops.SyncDir(a.dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	var err error
	if a.top, err = identify(a.dir); err != nil {
		return err
	}
	if err := a.takeLock(ctx); err != nil {
		return err
	}
	var fault error
	if o.Failed {
		if err := diskError(writable(a.own, true)); atDisk(err) {
			fault = err
		}
	}
	a.past = lastWritten(filepath.Join(a.own, indexFile))
	x, lost, err := openIndex(a.own, a.ops, a.synced, fault)
	if lost != nil {
		a.log.Error("index is damaged and made anew", "error", lost)
		if o.Rebuilt != nil {
			o.Rebuilt()
		}
	}
	if err != nil {
		return err
	}
	a.index = x
	x.broken = o.Broken
	if x.unwritten != nil {
		a.Trouble(x.unwritten)
	} else if err := a.recover(); err != nil {
		return err
	}
	a.openQuota()
	kept, err := a.loadAccount(o.Courier)
	if err == nil && !o.anyFile {
		err = a.raiseCopied()
	}
	if kept && err == nil {
		a.keeper = newKeeper(a.courierDelay, a.courierError)
	}
	return err
}

// takeLock takes the kernel's lock on our directory. It goes with the process.
func (a *Account) takeLock(ctx context.Context) error {
	fd, err := unix.Open(a.own, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: a.own, Err: err}
	}
	a.lock = os.NewFile(uintptr(fd), a.own)
	deadline := time.Now().Add(lockWait)
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return &fs.PathError{Op: "lock", Path: a.own, Err: err}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("lock %s: %w", a.own, ErrInUse)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// loadAccount reads the row of the account, or makes it: then the encoding is
// that of the tree. What the index once said of the encoding holds, since
// mailboxes come and go, unless the tree has names that it cannot explain. It
// tells whether Courier's files are kept, as they are from the day on when someone
// has asked for it.
func (a *Account) loadAccount(keep bool) (kept bool, err error) {
	dirs, err := a.folderDirs()
	if err != nil {
		return false, err
	}
	detected := maildir.DetectEncoding(dirs)
	var known, was bool
	err = a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT encoding, uidvalidity, courier, (SELECT max(id) FROM mailbox) FROM account", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				known = true
				a.enc = maildir.Encoding(stmt.ColumnInt(0))
				a.validity.last = uint32(stmt.ColumnInt64(1))
				was = stmt.ColumnBool(2)
				a.index.lastID = stmt.ColumnInt64(3)
				return nil
			},
		})
	})
	if err != nil {
		return false, err
	}
	if a.index.unwritten != nil {
		if !known {
			err = a.index.unwritten
		}
		return false, err
	}
	if !known {
		if err := errors.Join(a.validity.lost(a), a.takeOver(dirs, detected)); err != nil {
			return false, err
		}
		was = a.hasCourier(dirs)
	}
	kept = was || keep
	// It is kept unless some name cannot be of it.
	changed := known && a.enc != maildir.UTF8 && maildir.DetectEncoding(append(dirs, ".&AOk-")) == maildir.UTF8
	switch {
	case changed:
		a.log.Warn("mailbox names on disk are UTF-8 now")
	case known && kept == was:
		return kept, nil
	}
	if changed || !known {
		a.enc = detected
	}
	return kept, a.index.update(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "INSERT INTO account (id, encoding, uidvalidity, courier) VALUES (1, ?, ?, ?)"+
			" ON CONFLICT (id) DO UPDATE SET encoding = excluded.encoding, courier = excluded.courier",
			&sqlitex.ExecOptions{Args: []any{int(a.enc), int64(a.validity.last), kept}})
	})
}

// SetRelaxed says what an acknowledgement promises from now on: that all a command
// did is on disk, or, relaxed, that the messages are that it made, with their UIDs,
// but neither changes of flags nor removals. A crash of ours undoes nothing.
func (a *Account) SetRelaxed(on bool) { a.relaxed.Store(on) }

// now is the time, for what goes by it how long mail stays. A clock that says what was before
// the account was last written to is behind, as after boot that of a machine whose battery is
// empty: mail that comes in then would be years old once it is put right.
func (a *Account) now() time.Time {
	now := time.Now()
	if now.Before(a.past) {
		return a.past
	}
	return now
}

// lastWritten tells when a database was last written; the zero time where there is none.
func lastWritten(path string) (last time.Time) {
	for _, suffix := range []string{"", "-wal"} {
		if st, err := os.Lstat(path + suffix); err == nil && st.ModTime().After(last) {
			last = st.ModTime()
		}
	}
	return last
}

// Close ends every View and closes the index.
func (a *Account) Close() error {
	text := a.text.close()
	a.fill.close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	a.watch.close()
	if a.keeper != nil {
		a.keeper.close()
	}
	errs := []error{text}
	for dir, mb := range a.boxes {
		errs = append(errs, a.leaveToCourier(mb))
		mb.mu.Lock()
		errs = append(errs, mb.unload())
		mb.gone.Store(true)
		mb.mu.Unlock()
		delete(a.boxes, dir)
	}
	errs = append(errs, a.leaveRest(), a.closeFiles()) // SQLite syncs as it closes
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", a.dir, err)
	}
	return nil
}

func (a *Account) closeFiles() error {
	var err error
	a.kept.close()
	if a.index != nil {
		err = a.index.close()
	}
	if a.lock != nil {
		a.lock.Close()
	}
	return err
}

// dirOf gives the directory of a mailbox name, relative to the top Maildir.
func (a *Account) dirOf(name string) (string, error) {
	dir, err := maildir.EncodeName(name, a.enc)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrName, err)
	}
	return dir, nil
}

// get gives the mailbox, loaded, and keeps it so until put. Its lock is not
// held.
func (a *Account) get(ctx context.Context, name string) (*mailbox, error) {
	dir, err := a.dirOf(name)
	if err == nil {
		err = a.reviewDisk()
	}
	if err != nil {
		return nil, err
	}
	for {
		mb, err := a.hold(dir)
		if err != nil {
			return nil, err
		}
		err = mb.ensure(ctx)
		if err == nil && !mb.folder.Moved(filepath.Join(a.dir, dir)) {
			return mb, nil
		}
		if err == nil {
			// Another program has taken the directory away, or put another one
			// in its place; or a RENAME has just given it another name.
			mb.mu.Lock()
			if mb.folder.Moved(mb.path()) {
				mb.end()
			}
			mb.mu.Unlock()
		}
		a.put(mb)
		if err != nil {
			return nil, err
		}
	}
}

// hold gives the mailbox of a directory, loaded or not, and keeps it until put.
func (a *Account) hold(dir string) (*mailbox, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	mb := a.ready(dir)
	mb.refs++
	return mb, nil
}

// ready gives the mailbox of a directory, loaded or not. a.mu is held.
func (a *Account) ready(dir string) *mailbox {
	mb := a.boxes[dir]
	if mb == nil || mb.gone.Load() {
		mb.leave()
		mb = newMailbox(a, dir)
		a.boxes[dir] = mb
	}
	return mb
}

// holdLoaded gives the mailbox of a directory if it is loaded, and keeps it so
// until put.
func (a *Account) holdLoaded(dir string) *mailbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	mb := a.boxes[dir]
	if a.closed || mb == nil || mb.gone.Load() || !mb.loaded.Load() {
		return nil
	}
	mb.refs++
	return mb
}

// ensure loads the mailbox if that has not been done.
func (mb *mailbox) ensure(ctx context.Context) error {
	if mb.loaded.Load() && !mb.gone.Load() {
		return nil
	}
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return mb.load(ctx)
}

// put undoes a get.
func (a *Account) put(mb *mailbox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	mb.refs--
	mb.used = time.Now()
	if mb.refs > 0 {
		return
	}
	if a.boxes[mb.dir] != mb { // deleted
		mb.leave()
	}
	if !a.closed {
		a.trim()
	}
}

// leave closes what a mailbox has open that is no longer among the account's, if
// nobody holds it: else who puts it last does. There may be none. Account.mu is
// held.
func (mb *mailbox) leave() {
	if mb != nil && mb.refs == 0 && mb.folder != nil {
		mb.folder.Close()
		mb.closeCache()
	}
}

// trim lets go of mailboxes that have been out of use longest. a.mu is held.
func (a *Account) trim() {
	for {
		var oldest *mailbox
		boxes, messages := 0, 0
		for dir, mb := range a.boxes {
			if mb.refs > 0 || mb.courier.pending.Load() || mb.courier.busy.Load() {
				continue
			}
			if s := mb.snap.Load(); s == nil {
				delete(a.boxes, dir) // could not be loaded
				continue
			} else {
				messages += s.len
			}
			boxes++
			if oldest == nil || mb.used.Before(oldest.used) {
				oldest = mb
			}
		}
		if boxes <= maxIdleMailboxes && (messages <= maxIdleMessages || boxes <= 1) {
			return
		}
		oldest.mu.Lock()
		if err := oldest.unload(); err != nil {
			a.log.Error("cannot write a mailbox's counters", "dir", oldest.dir, "error", err)
		}
		oldest.mu.Unlock()
		delete(a.boxes, oldest.dir)
	}
}
