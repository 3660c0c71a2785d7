package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// What ends an account whose disk is another one by now.
var (
	errWell    = fmt.Errorf("%w: it can be written again, and the account is opened anew", ErrDisk)
	errMounted = fmt.Errorf("%w: another file system or Maildir is in its place, or none, and the account is opened anew", ErrDisk)
)

// diskError makes ErrNoSpace of a full disk and of an exhausted quota, and ErrDisk of
// a disk that cannot be read or written.
func diskError(err error) error {
	switch {
	case atDisk(err):
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EIO):
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return err
}

// atDisk tells what diskError has found to be a fault of the disk.
func atDisk(err error) bool { return errors.Is(err, ErrNoSpace) || errors.Is(err, ErrDisk) }

// indexError says what is wrong with a database. SQLite tells a full disk apart, but
// neither a quota that is exhausted nor a file system that is read-only.
func indexError(path string, err error) error {
	if atDisk(err) {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch code := sqlite.ErrCode(err).ToPrimary(); code {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%s: %w: %w", path, errIndex, err)
	case sqlite.ResultFull:
		return fmt.Errorf("%s: %w: %w", path, ErrNoSpace, err)
	case sqlite.ResultIOErr, sqlite.ResultReadOnly, sqlite.ResultCantOpen:
		if cause := diskError(writable(filepath.Dir(path), false)); atDisk(cause) {
			return fmt.Errorf("%s: %w: %w", path, err, cause)
		}
		if code == sqlite.ResultIOErr {
			return fmt.Errorf("%s: %w: %w", path, ErrDisk, err)
		}
	}
	return fmt.Errorf("%s: %w", path, diskError(err))
}

// writable writes a file without a name into a directory of ours, and gives the reason
// where that cannot be done, or, if it is asked, where it does not reach the disk.
func writable(dir string, sync bool) error {
	probe, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_WRONLY, maildir.FileMode)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) {
		return nil // the file system, or the kernel, cannot: nobody knows
	}
	if err != nil {
		return err
	}
	defer probe.Close()
	_, err = probe.WriteAt(make([]byte, 8<<10), 0)
	if err == nil && sync {
		err = probe.Sync()
	}
	return err
}

// readOnlyDisk tells whether the file system of a directory is read-only.
func readOnlyDisk(dir string) bool {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, 0) == unix.EROFS
}

// openUnwritten opens a database on a disk that cannot be written. There, SQLite
// can neither lock (we have the lock of the directory) nor make the log of a
// database that has none, which then holds everything (sqlite.org/wal.html §5).
func openUnwritten(path string, form *dbForm) (*sqlite.Conn, error) {
	if err := checkHeader(path, form.id); err != nil {
		return nil, err
	}
	how := "mode=ro&vfs=unix-none"
	if st, err := os.Lstat(path + "-wal"); err != nil || st.Size() == 0 {
		how += "&immutable=1"
	}
	conn, err := sqlite.OpenConn((&url.URL{Scheme: "file", Path: path, RawQuery: how}).String(), sqlite.OpenReadOnly, sqlite.OpenURI)
	if err != nil {
		return nil, err
	}
	version := 0
	err = sqlitex.ExecuteTransient(conn, "PRAGMA locking_mode=EXCLUSIVE", nil)
	if err == nil {
		version, err = pragmaInt(conn, "PRAGMA user_version")
	}
	if err == nil && version != form.version {
		err = fmt.Errorf("schema version %d is not %d", version, form.version)
	}
	if err == nil {
		err = checkConn(conn, form.schema)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// identity tells a directory from one that is in its place later, and may have its inode.
type identity struct {
	major, minor uint32
	inode        uint64
	born         unix.StatxTimestamp // where the file system knows it
}

func identify(dir string) (identity, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return identity{}, &fs.PathError{Op: "statx", Path: dir, Err: err}
	}
	return identity{st.Dev_major, st.Dev_minor, st.Ino, st.Btime}, nil
}

// reviewDisk ends an account that was opened on a disk that could not be written, and
// can be by now, and one whose file system was mounted again or whose Maildir was
// removed or replaced, as by a restore: it is opened anew, with all that has happened meanwhile.
func (a *Account) reviewDisk() error {
	// What is in the place of our directory in it is planted, and not followed.
	if now, err := identify(a.dir); err == nil && now != a.top || errors.Is(err, fs.ErrNotExist) {
		return a.index.fail(errMounted)
	}
	if a.index.unwritten == nil || writable(a.own, true) != nil {
		return nil
	}
	return a.index.fail(errWell)
}

// troubleEvery is how often a fault of an account's disk is logged while it lasts.
const troubleEvery = time.Minute

// trouble is what was last logged of an account's disk.
type trouble struct {
	mu   sync.Mutex
	full bool // or else at fault
	when time.Time
}

// Trouble logs an error that was answered with a refusal if it is a fault of the disk:
// once, not for each of the commands that fail by it.
func (a *Account) Trouble(err error) {
	if err = diskError(err); !atDisk(err) {
		return
	}
	full := errors.Is(err, ErrNoSpace)
	t := &a.trouble
	t.mu.Lock()
	again := t.full == full && time.Since(t.when) < troubleEvery
	if !again {
		t.full, t.when = full, time.Now()
	}
	t.mu.Unlock()
	switch {
	case again:
	case full:
		a.log.Error("no space left for mail", "error", err,
			"mend", "make room on its file system, or raise the quota that its owner has there; nothing has to be restarted")
	default:
		a.log.Error("the disk with mail cannot be used", "error", err,
			"mend", "look into the kernel's log, and mount the file system again or replace the disk; the mailstead units may stay up")
	}
}
