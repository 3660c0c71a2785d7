package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// indexFile is the index, in maildir.OwnDir.
const indexFile = "index.db"

// What the database says of itself: PRAGMA user_version and application_id.
const (
	indexVersion = 1
	indexID      = 0x4d737464 // "Mstd"
)

// schema is the index. A mailbox goes by its directory, a message by its UID.
//
// uid_mark and modseq_mark are above every UID and mod-sequence that anyone has
// been shown; they are raised, durably, before one is given out, and lowered to
// the exact values when a mailbox is let go. What was given out since is thus
// never given out again, even if the commits in between are lost.
const schema = `
CREATE TABLE account (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	encoding INTEGER NOT NULL,     -- of directory names, maildir.Encoding
	uidvalidity INTEGER NOT NULL   -- the highest one given to any mailbox
);
CREATE TABLE mailbox (
	id INTEGER PRIMARY KEY,
	dir TEXT NOT NULL UNIQUE,      -- relative to the top Maildir, "." for INBOX
	uidvalidity INTEGER NOT NULL,
	uid_mark INTEGER NOT NULL,
	modseq_mark INTEGER NOT NULL,
	recent INTEGER NOT NULL,       -- UIDs from here on are \Recent for the next SELECT
	uiddb INTEGER NOT NULL,        -- UIDs were taken from Courier: uidnext file is kept
	cur_mtime INTEGER NOT NULL,    -- ns; of cur and new as the rows show them, 0 unknown
	new_mtime INTEGER NOT NULL,
	messages INTEGER NOT NULL,     -- counts of the rows
	unseen INTEGER NOT NULL,
	deleted INTEGER NOT NULL
);
CREATE TABLE message (
	mailbox INTEGER NOT NULL,
	uid INTEGER NOT NULL,
	modseq INTEGER NOT NULL,
	base BLOB NOT NULL,            -- of the file name
	suffix BLOB NOT NULL,
	sub INTEGER NOT NULL,          -- maildir.Sub
	date INTEGER NOT NULL,         -- INTERNALDATE, Unix seconds
	size INTEGER NOT NULL,         -- RFC822.SIZE, -1 unknown
	keywords TEXT NOT NULL,        -- sorted, parted by spaces
	PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE TABLE renaming (                -- directories about to be renamed
	dir TEXT PRIMARY KEY,
	dest TEXT NOT NULL
);
`

// pragmas make a commit cheap and leave the sync to us: in WAL mode with
// synchronous=NORMAL, SQLite syncs at checkpoints only, and what is committed
// survives a power cut from the moment the WAL file is synced. The exclusive
// lock spares the shared-memory file.
var pragmas = []string{
	"PRAGMA journal_mode=WAL",
	"PRAGMA synchronous=NORMAL",
	"PRAGMA temp_store=MEMORY",
	"PRAGMA cache_size=-4000",
}

// errIndex says that the index cannot be used as it is.
var errIndex = errors.New("index is damaged")

// index is the SQLite database of an account.
type index struct {
	path string
	ops  *maildir.Ops

	mu     sync.Mutex
	conn   *sqlite.Conn
	failed error // set once: nothing can be committed any more

	wal  *os.File // opened at the first sync; the file lives as long as conn
	sync *group
}

// openIndex opens the database, or makes one. One that is damaged is put aside,
// with a new one in its place; lost then says so.
func openIndex(dir string, ops *maildir.Ops) (x *index, lost error, err error) {
	path := filepath.Join(dir, indexFile)
	conn, err := openConn(path)
	if errors.Is(err, errIndex) {
		lost = err
		if err := putAside(path); err != nil {
			return nil, lost, err
		}
		conn, err = openConn(path)
	}
	if err != nil {
		return nil, lost, err
	}
	x = &index{path: path, ops: ops, conn: conn}
	x.sync = newGroup(x.syncWAL)
	return x, lost, nil
}

func openConn(path string) (*sqlite.Conn, error) {
	if err := checkHeader(path); err != nil {
		return nil, err
	}
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return nil, indexError(path, err)
	}
	if err := prepareConn(conn); err != nil {
		conn.Close()
		return nil, indexError(path, err)
	}
	return conn, nil
}

// checkHeader looks at the start of the file, as sqlite.org/fileformat2.html §1.3
// has it: some damage there would make the database read-only, or of a release
// that has never been.
func checkHeader(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return &fs.PathError{Op: "open", Path: path, Err: maildir.ErrIrregular}
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 100)
	n, err := io.ReadFull(f, head)
	if n == 0 && err == io.EOF {
		return nil // made, but not written yet
	}
	if err == io.ErrUnexpectedEOF || err == nil && !bytes.HasPrefix(head, []byte("SQLite format 3\x00")) {
		return fmt.Errorf("%s: %w: not an SQLite database", path, errIndex)
	}
	if err != nil {
		return err
	}
	number := func(at int) uint32 { return binary.BigEndian.Uint32(head[at:]) }
	if head[18] > 2 || head[19] > 2 || number(44) > 4 || number(56) != 1 || number(68) != indexID {
		return fmt.Errorf("%s: %w: its header is not one of ours", path, errIndex)
	}
	return nil
}

func prepareConn(conn *sqlite.Conn) error {
	conn.SetBusyTimeout(5 * time.Second)
	if err := sqlitex.ExecuteTransient(conn, "PRAGMA locking_mode=EXCLUSIVE", nil); err != nil {
		return err
	}
	version, err := pragmaInt(conn, "PRAGMA user_version")
	if err != nil {
		return err
	}
	switch version {
	case indexVersion:
		err = checkConn(conn)
	case 0:
		// In the journal mode that a new database has, which is durable: were it
		// in WAL mode already, the file's header would not be ours until the
		// first checkpoint.
		err = sqlitex.ExecuteScript(conn, fmt.Sprintf("%s PRAGMA user_version=%d; PRAGMA application_id=%d;",
			schema, indexVersion, indexID), nil)
	default:
		err = fmt.Errorf("schema version %d is of another release than this one, which has %d", version, indexVersion)
	}
	if err != nil {
		return err
	}
	for _, p := range pragmas {
		if err := sqlitex.ExecuteTransient(conn, p, nil); err != nil {
			return err
		}
	}
	return nil
}

// checkConn reads a little of every table, so that a file that is not the
// database it says to be is found out now.
func checkConn(conn *sqlite.Conn) error {
	for _, table := range []string{"account", "mailbox", "message", "renaming"} {
		err := sqlitex.Execute(conn, "SELECT * FROM "+table+" LIMIT 1", nil)
		if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultError { // the schema is another one
			return fmt.Errorf("%w: %w", errIndex, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func pragmaInt(conn *sqlite.Conn, query string) (n int, err error) {
	err = sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error { n = stmt.ColumnInt(0); return nil },
	})
	return n, err
}

// putAside renames a damaged index, so that it can be looked at later.
func putAside(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		err := os.Rename(path+suffix, path+".damaged"+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put the damaged index aside: %w", err)
		}
	}
	return nil
}

// close closes the database. One that was found damaged is put aside.
func (x *index) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	damaged := errors.Is(x.failed, errIndex)
	x.failed = errClosed
	err := x.conn.Close()
	if x.wal != nil {
		x.wal.Close()
	}
	if damaged {
		err = errors.Join(err, putAside(x.path))
	}
	return err
}

// update runs fn in a transaction and commits it. It is durable only after the
// next durable.
func (x *index) update(fn func(*sqlite.Conn) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed != nil {
		return x.failed
	}
	err := sqlitex.Execute(x.conn, "BEGIN IMMEDIATE", nil)
	if err == nil {
		if err = fn(x.conn); err == nil {
			err = sqlitex.Execute(x.conn, "COMMIT", nil)
		}
		if !x.conn.AutocommitEnabled() {
			if rerr := sqlitex.Execute(x.conn, "ROLLBACK", nil); rerr != nil {
				err = errors.Join(err, rerr)
			}
		}
	}
	return x.check(err)
}

// view runs fn, which only reads.
func (x *index) view(fn func(*sqlite.Conn) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed != nil {
		return x.failed
	}
	return x.check(fn(x.conn))
}

func (x *index) check(err error) error {
	if err == nil {
		return nil
	}
	err = indexError(x.path, err)
	if errors.Is(err, errIndex) {
		x.failed = err
	}
	return err
}

// durable returns once all that has been committed survives a power cut.
func (x *index) durable() error { return x.sync.wait() }

func (x *index) syncWAL() error {
	x.mu.Lock()
	if x.failed != nil {
		x.mu.Unlock()
		return x.failed
	}
	if x.wal == nil {
		f, err := os.Open(x.path + "-wal")
		if err != nil {
			x.mu.Unlock()
			return fmt.Errorf("sync index: %w", err)
		}
		x.wal = f
	}
	wal := x.wal
	x.mu.Unlock()
	err := x.ops.SyncData(wal)
	if err != nil {
		// What did not reach the disk is marked clean now: trying again would
		// seem to succeed.
		x.mu.Lock()
		x.failed = fmt.Errorf("sync index %s: %w", x.path, err)
		x.mu.Unlock()
		return x.failed
	}
	return nil
}

func indexError(path string, err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%s: %w: %w", path, errIndex, err)
	case sqlite.ResultFull:
		return fmt.Errorf("%s: %w: %w", path, ErrNoSpace, err)
	}
	return fmt.Errorf("%s: %w", path, spaceError(err))
}

// spaceError makes ErrNoSpace of a full disk and of an exhausted quota.
func spaceError(err error) error {
	if (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// mailboxRow is a row of the table mailbox.
type mailboxRow struct {
	id          int64
	dir         string
	uidValidity uint32
	uidMark     imap.UID
	modseqMark  ModSeq
	recent      imap.UID
	uiddb       bool
	curTime     int64
	newTime     int64
	messages    int
	unseen      int
	deleted     int
}

const mailboxColumns = "id, dir, uidvalidity, uid_mark, modseq_mark, recent, uiddb, cur_mtime, new_mtime, messages, unseen, deleted"

func scanMailbox(stmt *sqlite.Stmt) mailboxRow {
	return mailboxRow{
		id:          stmt.ColumnInt64(0),
		dir:         stmt.ColumnText(1),
		uidValidity: uint32(stmt.ColumnInt64(2)),
		uidMark:     imap.UID(stmt.ColumnInt64(3)),
		modseqMark:  ModSeq(stmt.ColumnInt64(4)),
		recent:      imap.UID(stmt.ColumnInt64(5)),
		uiddb:       stmt.ColumnBool(6),
		curTime:     stmt.ColumnInt64(7),
		newTime:     stmt.ColumnInt64(8),
		messages:    stmt.ColumnInt(9),
		unseen:      stmt.ColumnInt(10),
		deleted:     stmt.ColumnInt(11),
	}
}

// findMailbox gives the row of a directory; ok is false where there is none.
func findMailbox(conn *sqlite.Conn, dir string) (row mailboxRow, ok bool, err error) {
	err = sqlitex.Execute(conn, "SELECT "+mailboxColumns+" FROM mailbox WHERE dir = ?", &sqlitex.ExecOptions{
		Args:       []any{dir},
		ResultFunc: func(stmt *sqlite.Stmt) error { row, ok = scanMailbox(stmt), true; return nil },
	})
	return row, ok, err
}

// putMailbox writes a row; id 0 makes a new one and sets it.
func putMailbox(conn *sqlite.Conn, r *mailboxRow) error {
	id := any(r.id)
	if r.id == 0 {
		id = nil
	}
	err := sqlitex.Execute(conn, "INSERT INTO mailbox ("+mailboxColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"+
		" ON CONFLICT (id) DO UPDATE SET dir=excluded.dir, uidvalidity=excluded.uidvalidity, uid_mark=excluded.uid_mark,"+
		" modseq_mark=excluded.modseq_mark, recent=excluded.recent, uiddb=excluded.uiddb, cur_mtime=excluded.cur_mtime,"+
		" new_mtime=excluded.new_mtime, messages=excluded.messages, unseen=excluded.unseen, deleted=excluded.deleted",
		&sqlitex.ExecOptions{Args: []any{id, r.dir, int64(r.uidValidity), int64(r.uidMark), int64(r.modseqMark),
			int64(r.recent), r.uiddb, r.curTime, r.newTime, r.messages, r.unseen, r.deleted}})
	if err == nil && r.id == 0 {
		r.id = conn.LastInsertRowID()
	}
	return err
}

// dropMailbox removes a mailbox and its messages.
func dropMailbox(conn *sqlite.Conn, id int64) error {
	for _, query := range []string{"DELETE FROM message WHERE mailbox = ?", "DELETE FROM mailbox WHERE id = ?"} {
		if err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: []any{id}}); err != nil {
			return err
		}
	}
	return nil
}

// putMessage writes a message's row, whether or not there is one.
func putMessage(conn *sqlite.Conn, mailbox int64, r *record) error {
	stmt, err := conn.Prepare("INSERT OR REPLACE INTO message" +
		" (mailbox, uid, modseq, base, suffix, sub, date, size, keywords) VALUES (?,?,?,?,?,?,?,?,?)")
	if err != nil {
		return err
	}
	stmt.BindInt64(1, mailbox)
	stmt.BindInt64(2, int64(r.uid))
	stmt.BindInt64(3, int64(r.modseq))
	stmt.BindBytes(4, []byte(r.base))
	stmt.BindBytes(5, []byte(r.set.suffix))
	stmt.BindInt64(6, int64(r.sub))
	stmt.BindInt64(7, r.date)
	stmt.BindInt64(8, r.size.Load())
	stmt.BindText(9, r.set.keywords)
	return finish(stmt)
}

func finish(stmt *sqlite.Stmt) error {
	_, err := stmt.Step()
	return errors.Join(err, stmt.Reset())
}

func dropMessage(conn *sqlite.Conn, mailbox int64, uid imap.UID) error {
	stmt, err := conn.Prepare("DELETE FROM message WHERE mailbox = ? AND uid = ?")
	if err != nil {
		return err
	}
	stmt.BindInt64(1, mailbox)
	stmt.BindInt64(2, int64(uid))
	return finish(stmt)
}

func putSize(conn *sqlite.Conn, mailbox int64, uid imap.UID, size int64) error {
	stmt, err := conn.Prepare("UPDATE message SET size = ? WHERE mailbox = ? AND uid = ?")
	if err != nil {
		return err
	}
	stmt.BindInt64(1, size)
	stmt.BindInt64(2, mailbox)
	stmt.BindInt64(3, int64(uid))
	return finish(stmt)
}

// loadMessages reads the rows of a mailbox into a snapshot. Rows that cannot be
// (a UID of 0 or past the mark) are damage.
func loadMessages(conn *sqlite.Conn, row mailboxRow, sets *flagsets) (*snapshot, error) {
	e := (&snapshot{uidValidity: row.uidValidity, uidNext: row.uidMark, modseq: row.modseqMark}).edit()
	var sizes []atomic.Int64
	var buf []byte
	err := sqlitex.Execute(conn, "SELECT uid, modseq, base, suffix, sub, date, size, keywords FROM message"+
		" WHERE mailbox = ? ORDER BY uid", &sqlitex.ExecOptions{
		Args: []any{row.id},
		ResultFunc: func(stmt *sqlite.Stmt) error {
			if len(sizes) == 0 {
				sizes = newSizes(chunkLen)
			}
			r := record{
				uid:    imap.UID(stmt.ColumnInt64(0)),
				modseq: ModSeq(stmt.ColumnInt64(1)),
				sub:    maildir.Sub(stmt.ColumnInt64(4)),
				date:   stmt.ColumnInt64(5),
				size:   &sizes[0],
			}
			sizes = sizes[1:]
			r.size.Store(stmt.ColumnInt64(6))
			buf = columnBytes(stmt, 2, buf)
			r.base = string(buf)
			buf = columnBytes(stmt, 3, buf)
			r.set = sets.get(string(buf), stmt.ColumnText(7))
			if r.uid == 0 || r.uid >= row.uidMark || r.modseq > row.modseqMark || r.sub > maildir.New {
				return fmt.Errorf("%w: mailbox %q: message %d is out of range", errIndex, row.dir, r.uid)
			}
			e.add(r)
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return e.done(), nil
}

func columnBytes(stmt *sqlite.Stmt, col int, buf []byte) []byte {
	n := stmt.ColumnLen(col)
	if cap(buf) < n {
		buf = make([]byte, n, 2*n)
	}
	return buf[:stmt.ColumnBytes(col, buf[:n])]
}

// countRecent counts the messages that the next SELECT shows as \Recent.
func countRecent(conn *sqlite.Conn, row mailboxRow) (n uint32, err error) {
	err = sqlitex.Execute(conn, "SELECT count(*) FROM message WHERE mailbox = ? AND uid >= ?", &sqlitex.ExecOptions{
		Args:       []any{row.id, int64(row.recent)},
		ResultFunc: func(stmt *sqlite.Stmt) error { n = uint32(stmt.ColumnInt64(0)); return nil },
	})
	return n, err
}
