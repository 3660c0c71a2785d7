package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// textFile is the text index, in maildir.OwnDir. It may be deleted any time.
const textFile = "text.db"

// textVersion goes up with the schema, and where package message reads another text of a
// message than before: a message whose grams are not in the index is not looked at.
const (
	textVersion = 2
	textID      = 0x4d737478 // "Mstx"
)

// textSchema is the text index: segments and their pages, whose numbers are
// those of the segment and of the page in it. That SQLite finds a file sound does
// not make it so; what is read of it is believed for its checksums.
const textSchema = `
CREATE TABLE segment (
	mailbox INTEGER NOT NULL,      -- its row in the index
	uidvalidity INTEGER NOT NULL,
	id INTEGER NOT NULL,           -- random, so that no page is taken for another's
	head BLOB NOT NULL,
	PRIMARY KEY (mailbox, uidvalidity, id)
) WITHOUT ROWID;
CREATE TABLE page (
	id INTEGER PRIMARY KEY,
	data BLOB NOT NULL
);
`

// textForm syncs at checkpoints only: after a power cut, the file is as it was at
// some commit before it.
var textForm = dbForm{textSchema, textID, textVersion, []string{
	"PRAGMA journal_mode=WAL",
	"PRAGMA synchronous=NORMAL",
	"PRAGMA temp_store=MEMORY",
	"PRAGMA cache_size=-512",
}}

const (
	pageBits     = 16      // of a page's id, for its number in the segment
	maxSegmentID = 1 << 46 // so that a page's id is positive
	// textIdle is how long the file stays open after its last use.
	textIdle = 10 * time.Second
)

// errNoText says that there is no text index.
var errNoText = errors.New("no text index")

func ignoreNoText(err error) error {
	if errors.Is(err, errNoText) {
		return nil
	}
	return err
}

// textIndex is the text index of an account. The file is open only while it is
// used.
type textIndex struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	conn   *sqlite.Conn // nil: the file is closed
	closer *time.Timer
	closed bool // with the account
}

// exists tells whether there is a file.
func (x *textIndex) exists() bool {
	_, err := os.Lstat(x.path)
	return err == nil
}

// use runs fn. Where there is no file, it is made if that is wanted, or else
// errNoText returned. A file that is damaged is removed: it is only a help.
func (x *textIndex) use(create bool, fn func(*sqlite.Conn) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return errClosed
	}
	if x.conn == nil {
		if err := x.open(create); err != nil {
			return err
		}
	}
	x.closer.Reset(textIdle)
	err := fn(x.conn)
	switch code := sqlite.ErrCode(err).ToPrimary(); {
	case errors.Is(err, errTextDamaged), code == sqlite.ResultCorrupt, code == sqlite.ResultNotADB:
		return errors.Join(errNoText, x.remove(err))
	case code == sqlite.ResultFull:
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return diskError(err)
}

// open opens the file, and removes it where it is not what it has to be: what else
// keeps it from being opened says nothing against it. mu is held.
func (x *textIndex) open(create bool) error {
	if !create && !x.exists() {
		return errNoText
	}
	conn, err := openConn(x.path, &textForm)
	switch {
	case errors.Is(err, unix.EROFS): // where nothing can be indexed either
		return errNoText
	case errors.Is(err, errIndex), errors.Is(err, errRelease), errors.Is(err, maildir.ErrIrregular):
		if err := x.remove(err); err != nil || !create {
			return errors.Join(errNoText, err)
		}
		conn, err = openConn(x.path, &textForm)
	}
	if err != nil {
		return err
	}
	x.conn = conn
	if x.closer == nil {
		x.closer = time.AfterFunc(textIdle, x.rest)
	}
	return nil
}

// rest closes a file that has not been used for a while.
func (x *textIndex) rest() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.closeConn(); err != nil {
		x.log.Warn("cannot close the text index", "path", x.path, "error", err)
	}
}

func (x *textIndex) closeConn() error {
	if x.conn == nil {
		return nil
	}
	err := x.conn.Close()
	x.conn = nil
	return err
}

// remove removes the file. mu is held.
func (x *textIndex) remove(why error) error {
	x.log.Warn("text index cannot be used and is removed", "path", x.path, "error", why)
	errs := []error{x.closeConn()}
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
		errs = append(errs, ignoreNotExist(os.Remove(x.path+suffix)))
	}
	return errors.Join(errs...)
}

// close closes it for good.
func (x *textIndex) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.closer != nil {
		x.closer.Stop()
	}
	return x.closeConn()
}

// textSegments calls fn for each segment of a mailbox. What is damaged ends it.
func textSegments(conn *sqlite.Conn, of textSource, fn func(*segment) error) error {
	var buf []byte
	return sqlitex.Execute(conn, "SELECT id, head FROM segment WHERE mailbox = ? AND uidvalidity = ?", &sqlitex.ExecOptions{
		Args: []any{of.mailbox, int64(of.validity)},
		ResultFunc: func(stmt *sqlite.Stmt) error {
			buf = columnBytes(stmt, 1, buf)
			s, err := decodeHead(buf, stmt.ColumnInt64(0), of)
			if err != nil {
				return err
			}
			return fn(s)
		},
	})
}

// textPage reads a page of a segment, without its checksum.
func textPage(conn *sqlite.Conn, segment int64, n int, buf []byte) (page []byte, err error) {
	err = sqlitex.Execute(conn, "SELECT data FROM page WHERE id = ?", &sqlitex.ExecOptions{
		Args: []any{pageID(segment, n)},
		ResultFunc: func(stmt *sqlite.Stmt) error {
			page = columnBytes(stmt, 0, buf)
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return unseal(page, segment, int64(n)) // one that is not there is damage too
}

func pageID(segment int64, n int) int64 { return segment<<pageBits | int64(n) }

// putSegment writes what was gathered, and drops segments that are of no more
// use, all at once.
func (x *textIndex) putSegment(of textSource, m *segmentMaker, drop []int64) error {
	return x.update(func(conn *sqlite.Conn) error {
		for _, id := range drop {
			if err := dropSegment(conn, of, id); err != nil {
				return err
			}
		}
		if len(m.members) == 0 {
			return nil
		}
		id := 1 + rand.Int64N(maxSegmentID-1)
		s, err := m.make(id, func(n int, page []byte) error {
			return sqlitex.Execute(conn, "INSERT INTO page (id, data) VALUES (?, ?)", &sqlitex.ExecOptions{Args: []any{pageID(id, n), page}})
		})
		if err != nil {
			return err
		}
		return sqlitex.Execute(conn, "INSERT INTO segment (mailbox, uidvalidity, id, head) VALUES (?, ?, ?, ?)",
			&sqlitex.ExecOptions{Args: []any{of.mailbox, int64(of.validity), id, s.encodeHead(of)}})
	})
}

// update runs fn in a transaction.
func (x *textIndex) update(fn func(*sqlite.Conn) error) error {
	return x.use(true, func(conn *sqlite.Conn) (err error) {
		defer sqlitex.Transaction(conn)(&err)
		return fn(conn)
	})
}

// dropSource drops all segments of a mailbox.
func (x *textIndex) dropSource(of textSource) error {
	return x.update(func(conn *sqlite.Conn) error {
		var ids []int64
		err := sqlitex.Execute(conn, "SELECT id FROM segment WHERE mailbox = ? AND uidvalidity = ?", &sqlitex.ExecOptions{
			Args:       []any{of.mailbox, int64(of.validity)},
			ResultFunc: func(stmt *sqlite.Stmt) error { ids = append(ids, stmt.ColumnInt64(0)); return nil },
		})
		for _, id := range ids {
			if err == nil {
				err = dropSegment(conn, of, id)
			}
		}
		return err
	})
}

func dropSegment(conn *sqlite.Conn, of textSource, id int64) error {
	err := sqlitex.Execute(conn, "DELETE FROM page WHERE id >= ? AND id < ?", &sqlitex.ExecOptions{Args: []any{pageID(id, 0), pageID(id+1, 0)}})
	if err != nil {
		return err
	}
	return sqlitex.Execute(conn, "DELETE FROM segment WHERE mailbox = ? AND uidvalidity = ? AND id = ?",
		&sqlitex.ExecOptions{Args: []any{of.mailbox, int64(of.validity), id}})
}
