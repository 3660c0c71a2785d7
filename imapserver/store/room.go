package store

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// What an index sets aside of the disk, so that messages can be marked and removed, and
// room be made by that, where there is none: bytes.
const (
	logRoom   = 128 << 10 // of the log, which begins anew in it
	pagesRoom = 64 << 10  // beyond the pages that there are
	pageSize  = 4 << 10   // SQLite's, where nobody says another
)

// setAside has the file system keep room for the first bytes of a file, whatever its
// length: ErrNoSpace where there is none. A file system that cannot promises nothing. It is
// asked for no more than what is missing: XFS wants room for all of it, whatever is there.
func setAside(f *os.File, size int64) error {
	var st unix.Stat_t
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err == nil && max(st.Size, st.Blocks*512) >= size {
		return nil
	}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, st.Size, size-st.Size)
	}
	if err = diskError(err); errors.Is(err, ErrNoSpace) {
		return &fs.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}

// openFiles opens the files of the database beside SQLite, as long as it has them: a
// file that was closed here would lose SQLite's lock of it.
func (x *index) openFiles() error {
	open := func(path string) (*os.File, error) {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, maildir.FileMode)
	}
	var ferr, werr error
	x.file, ferr = open(x.path)
	x.wal, werr = open(x.path + "-wal")
	if err := errors.Join(ferr, werr); err != nil {
		return err
	}
	setAside(x.wal, logRoom) // where there is no room now, there may be some when it is needed
	return nil
}

// leaveLog leaves the log as it begins, with the room for it, where SQLite has removed
// it: on a disk that is full by then nobody could begin one.
func (x *index) leaveLog() {
	f, err := os.OpenFile(x.path+"-wal", os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, maildir.FileMode)
	if err != nil {
		return
	}
	setAside(f, logRoom)
	f.Close()
}

// setPagesAside keeps room for the pages that a transaction leaves: what is in the log
// can then always be written back, and the log begin anew. mu is held.
func (x *index) setPagesAside() error {
	stmt, err := x.conn.Prepare("PRAGMA page_count")
	if err != nil {
		return err
	}
	if _, err = stmt.Step(); err != nil {
		return err
	}
	need := stmt.ColumnInt64(0) * pageSize
	if err := stmt.Reset(); err != nil || need+pagesRoom/2 <= x.room {
		return err
	}
	for _, size := range []int64{need + pagesRoom, need} {
		if size <= x.room {
			return nil
		}
		if err = setAside(x.file, size); err == nil {
			x.room = size
			return nil
		}
	}
	return err
}

// full tells whether SQLite had no room for a transaction.
func (x *index) full(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull:
		return true
	case sqlite.ResultIOErr: // as of a quota
		return errors.Is(indexError(x.path, err), ErrNoSpace)
	}
	return false
}
