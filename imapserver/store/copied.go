package store

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// copyStep is by how much the marks of UIDs are raised at least where it is not known what
// has been given out since they were written: by more than that, as good as surely. Halfway
// up it ends, should a file system say something new of a file each time.
const copyStep = 1_000_000

// gap is by how much they are raised now. It goes with the clock, 250 a second, and comes
// round in three days: of a backup that is put back twice, each time goes on elsewhere.
func gap() int64 { return copyStep + time.Now().UnixMilli()/4%(1<<26) }

// The index says, in a row of metadata that is of no scope, when its file was made.
const (
	bornScope = "file"
	bornEntry = "born"
)

// raiseCopied finds out whether the index is another file than it was, by when the file
// was made, which nobody can set: it came from a backup, and what has been given out
// since was not in it. That is not given out again, and clients are told everything.
// Where the mail has only moved, by way of a copy, that costs a gap in the UIDs.
func (a *Account) raiseCopied() error {
	file, err := identify(a.index.path)
	if err != nil || file.born == (unix.StatxTimestamp{}) || a.index.unwritten != nil {
		return err
	}
	born := fmt.Sprintf("%d.%09d", file.born.Sec, file.born.Nsec)
	var was string
	err = a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT value FROM metadata WHERE mailbox = 0 AND user = ? AND entry = ?", &sqlitex.ExecOptions{
			Args:       []any{bornScope, bornEntry},
			ResultFunc: func(stmt *sqlite.Stmt) error { was = stmt.ColumnText(0); return nil },
		})
	})
	if err != nil || was == born {
		return err
	}
	if was != "" {
		if err := a.validity.lost(a); err != nil {
			return err
		}
	}
	err = a.index.update(func(conn *sqlite.Conn) error {
		if was != "" {
			if err := errors.Join(raiseMailboxes(conn), putValidity(conn, a.validity.last)); err != nil {
				return err
			}
		}
		return putAnnotations(conn, 0, []Annotation{{Scope: bornScope, Entry: bornEntry, Value: []byte(born)}})
	})
	switch {
	case was == "" && atDisk(err):
		return nil // it is not known to be a copy; the next start notes it
	case was == "" || err != nil:
		return err
	}
	a.log.Warn("the index is a copy, and gives out UIDs far above those that it knows")
	return nil // a power cut that takes this back takes along what the file is known by
}

// raiseMailboxes raises what mailboxes give out, and what those may that are gone.
func raiseMailboxes(conn *sqlite.Conn) error {
	step := gap()
	return errors.Join(
		sqlitex.Execute(conn, "UPDATE mailbox SET (modseq_mark, floor) = (SELECT m, m FROM (SELECT max(modseq_mark, ?1) AS m)),"+
			" uid_mark = uid_mark + iif(uid_mark < 1 << 31, ?2, 0)",
			&sqlitex.ExecOptions{Args: []any{int64(firstModSeq()), step}}),
		sqlitex.Execute(conn, "UPDATE taken SET uid_mark = uid_mark + iif(uid_mark < 1 << 31, ?, 0)", &sqlitex.ExecOptions{Args: []any{step}}))
}
