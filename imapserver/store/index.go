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
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// indexFile is the index, in maildir.OwnDir.
const indexFile = "index.db"

// Served tells whether there ever was a session in a Maildir: it has our index.
func Served(dir string) bool {
	st, err := os.Lstat(filepath.Join(dir, maildir.OwnDir, indexFile))
	return err == nil && st.Mode().IsRegular()
}

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
	uidvalidity INTEGER NOT NULL,  -- the highest one given to any mailbox
	courier INTEGER NOT NULL       -- Courier's files are kept
);
CREATE TABLE mailbox (
	id INTEGER PRIMARY KEY,
	dir TEXT NOT NULL UNIQUE,      -- relative to the top Maildir, "." for INBOX
	uidvalidity INTEGER NOT NULL,
	uid_mark INTEGER NOT NULL,
	modseq INTEGER NOT NULL,       -- the highest one as of the last commit
	modseq_mark INTEGER NOT NULL,
	floor INTEGER NOT NULL,        -- what has changed since a lower one is not known
	boot TEXT NOT NULL,            -- of the machine, at the last commit
	recent INTEGER NOT NULL,       -- UIDs from here on are \Recent for the next SELECT
	uiddb INTEGER NOT NULL,        -- UIDs were taken from Courier: uidnext file is kept
	cur_ctime INTEGER NOT NULL,    -- ns; of cur and new as the rows show them, 0 unknown
	new_ctime INTEGER NOT NULL,
	messages INTEGER NOT NULL,     -- counts of the rows
	unseen INTEGER NOT NULL,
	deleted INTEGER NOT NULL,
	objectid TEXT NOT NULL         -- MAILBOXID
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
	saved INTEGER NOT NULL,        -- SAVEDATE, Unix seconds: when this row was made
	origin BLOB,                   -- of a copy: digest of the first one's base
	PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE TABLE courier (                 -- Courier's files of a mailbox as we know them
	mailbox INTEGER PRIMARY KEY,
	next INTEGER NOT NULL,         -- UID in courierimapuiddb; Courier gives those from here on. 0: unknown
	uids_ctime INTEGER NOT NULL,   -- ns, of courierimapuiddb
	uids_digest INTEGER NOT NULL,  -- of its content
	modseq INTEGER NOT NULL,       -- of the keywords in courierimapkeywords
	keywords_ctime INTEGER NOT NULL
);
CREATE TABLE expunged (                -- UIDs of messages that are gone
	mailbox INTEGER NOT NULL,
	modseq INTEGER NOT NULL,       -- since when
	first INTEGER NOT NULL,
	last INTEGER NOT NULL,
	PRIMARY KEY (mailbox, modseq, first)
) WITHOUT ROWID;
CREATE TABLE renaming (                -- directories about to be renamed
	dir TEXT PRIMARY KEY,
	dest TEXT NOT NULL
);
CREATE TABLE taken (                   -- from Courier, of mailboxes that are gone
	uidvalidity INTEGER PRIMARY KEY,
	uid_mark INTEGER NOT NULL
);
CREATE TABLE metadata (                -- annotations (RFC 5464)
	mailbox INTEGER NOT NULL,      -- 0: of the server
	user TEXT NOT NULL,            -- Scope: "" shared, "=" private of the owner, "=NAME" of others
	entry TEXT NOT NULL,           -- in lower case
	value BLOB NOT NULL,
	PRIMARY KEY (mailbox, user, entry)
) WITHOUT ROWID;
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

// dbForm is what a database of ours must be like.
type dbForm struct {
	schema  string
	id      uint32
	version int
	pragmas []string
}

var indexForm = dbForm{schema, indexID, indexVersion, pragmas}

// errIndex says that the index cannot be used as it is.
var errIndex = errors.New("index is damaged")

// errRelease says that a database is sound, and not one of ours.
var errRelease = errors.New("of another release than this one")

// index is the SQLite database of an account.
type index struct {
	path      string
	ops       *maildir.Ops
	unwritten error // why the disk cannot be written: what is there is read, and no more
	over      bool  // set before close: it is removed then

	mu     sync.Mutex
	conn   *sqlite.Conn
	failed error  // set once: nothing can be committed any more
	broken func() // told of that, with mu held; may be nil
	lastID int64  // the highest of a mailbox that there was since it was opened

	file *os.File // the database, and its log; nil if unwritten
	wal  *os.File
	room int64 // of file, that is set aside: bytes
	sync *group
}

// openIndex opens the database, or makes one. One that is damaged is put aside,
// with a new one in its place; lost then says so. fault, if there is one, is why it
// is not to be written.
func openIndex(dir string, ops *maildir.Ops, synced func(time.Duration), fault error) (x *index, lost error, err error) {
	path := filepath.Join(dir, indexFile)
	var conn *sqlite.Conn
	if err = fault; err == nil {
		conn, err = openConn(path, &indexForm)
	}
	if errors.Is(err, errIndex) {
		lost = err
		if err := putAside(path); err != nil {
			return nil, lost, err
		}
		conn, err = openConn(path, &indexForm)
	}
	var unwritten error
	if fault := diskError(err); atDisk(fault) {
		unwritten = fault
		if conn, err = openUnwritten(path, &indexForm); err != nil {
			err = indexError(path, err)
		}
	}
	if err != nil {
		return nil, lost, err
	}
	x = &index{path: path, ops: ops, conn: conn, unwritten: unwritten}
	x.sync = newGroup(x.syncWAL, synced)
	if unwritten == nil {
		if err := x.openFiles(); err != nil {
			return nil, lost, errors.Join(err, x.close())
		}
	}
	return x, lost, nil
}

// openConn opens a database of that form, or makes one.
func openConn(path string, form *dbForm) (*sqlite.Conn, error) {
	if err := realDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	for _, suffix := range []string{"-wal", "-journal", "-shm"} { // SQLite would wait for what a pipe says
		if st, err := os.Lstat(path + suffix); err == nil && !st.Mode().IsRegular() {
			return nil, &fs.PathError{Op: "open", Path: path + suffix, Err: maildir.ErrIrregular}
		}
	}
	if err := checkHeader(path, form.id); err != nil {
		return nil, err
	}
	// SQLite would make it by the umask; its other files take the mode from it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, maildir.FileMode)
	if err != nil {
		return nil, err
	}
	f.Close()
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, indexError(path, err)
	}
	if err := prepareConn(conn, form); err != nil {
		conn.Close()
		return nil, indexError(path, err)
	}
	return conn, nil
}

// realDir holds that one of our directories is there, and that nobody has put a
// link to another one in its place.
func realDir(path string) error {
	st, err := os.Lstat(path)
	if err == nil && !st.IsDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
	}
	return err
}

// checkHeader looks at the start of the file, as sqlite.org/fileformat2.html §1.3
// has it: some damage there would make the database read-only, or of a release
// that has never been.
func checkHeader(path string, id uint32) error {
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
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
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
	if head[18] > 2 || head[19] > 2 || number(44) > 4 || number(56) != 1 || number(68) != id {
		return fmt.Errorf("%s: %w: its header is not one of ours", path, errIndex)
	}
	return nil
}

func prepareConn(conn *sqlite.Conn, form *dbForm) error {
	conn.SetBusyTimeout(5 * time.Second)
	if err := sqlitex.ExecuteTransient(conn, "PRAGMA locking_mode=EXCLUSIVE", nil); err != nil {
		return err
	}
	version, err := pragmaInt(conn, "PRAGMA user_version")
	if err != nil {
		return err
	}
	switch version {
	case form.version:
		err = checkConn(conn, form.schema)
	case 0:
		// In the journal mode that a new database has, which is durable: were it
		// in WAL mode already, the file's header would not be ours until the
		// first checkpoint.
		err = sqlitex.ExecuteScript(conn, fmt.Sprintf("%s PRAGMA user_version=%d; PRAGMA application_id=%d;",
			form.schema, form.version, form.id), nil)
	default:
		err = fmt.Errorf("schema version %d is %w, which has %d", version, errRelease, form.version)
	}
	if err != nil {
		return err
	}
	for _, p := range form.pragmas {
		if err := sqlitex.ExecuteTransient(conn, p, nil); err != nil {
			return err
		}
	}
	return nil
}

// checkConn compares the schema with ours, and reads a little of every table,
// so that a file that is not the database it says to be is found out now.
func checkConn(conn *sqlite.Conn, schema string) error {
	var text strings.Builder
	var tables []string
	err := sqlitex.Execute(conn, "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			tables = append(tables, stmt.ColumnText(0))
			text.WriteString("\n" + stmt.ColumnText(1) + ";")
			return nil
		},
	})
	if err != nil {
		return err
	}
	if text.String()+"\n" != schema {
		return fmt.Errorf("%w: its schema is not ours", errIndex)
	}
	for _, table := range tables {
		if err := sqlitex.Execute(conn, "SELECT * FROM "+table+" LIMIT 1", nil); err != nil {
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
	damaged, sound := errors.Is(x.failed, errIndex), x.failed == nil && x.unwritten == nil
	x.failed = errClosed
	err := x.conn.Close()
	x.file.Close()
	x.wal.Close()
	switch {
	case damaged:
		err = errors.Join(err, putAside(x.path))
	case x.over && err == nil:
		err = x.remove()
	case sound && err == nil:
		x.leaveLog()
	}
	return err
}

// remove removes what is closed. A log without its database is nothing to SQLite.
func (x *index) remove() error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		err := x.ops.Announce(maildir.Op{Call: "unlink", Path: x.path + suffix})
		if err == nil {
			err = os.Remove(x.path + suffix)
		}
		if ignoreNotExist(err) != nil {
			return err
		}
	}
	return x.ops.SyncDir(filepath.Dir(x.path))
}

// update runs fn in a transaction and commits it. It is durable only after the
// next durable. fn may be run twice: where there is no room for the log to grow, it
// is begun anew, in the room that it has.
func (x *index) update(fn func(*sqlite.Conn) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.failed != nil:
		return x.failed
	case x.unwritten != nil:
		return x.unwritten
	}
	err := x.transact(fn)
	if x.full(err) && sqlitex.Execute(x.conn, "PRAGMA wal_checkpoint(RESTART)", nil) == nil {
		err = x.transact(fn)
	}
	return x.check(err)
}

// transact runs fn in a transaction, with mu held.
func (x *index) transact(fn func(*sqlite.Conn) error) error {
	err := sqlitex.Execute(x.conn, "BEGIN IMMEDIATE", nil)
	if err == nil {
		if err = fn(x.conn); err == nil {
			err = x.setPagesAside()
		}
		if err == nil {
			err = sqlitex.Execute(x.conn, "COMMIT", nil)
		}
		if !x.conn.AutocommitEnabled() {
			if rerr := sqlitex.Execute(x.conn, "ROLLBACK", nil); rerr != nil {
				err = errors.Join(err, rerr)
			}
		}
	}
	return err
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
		x.setFailed(err)
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
	x.mu.Unlock()
	if x.unwritten != nil {
		return x.unwritten
	}
	err := x.ops.SyncData(x.wal)
	if err != nil {
		// What did not reach the disk is marked clean now: trying again would
		// seem to succeed.
		return x.fail(fmt.Errorf("sync index %s: %w", x.path, err))
	}
	return nil
}

// working gives why nothing more is done with the index; nil: it is.
func (x *index) working() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failed
}

// fail has nothing more be done with the index until it is opened anew.
func (x *index) fail(err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.setFailed(err)
	return err
}

// setFailed is fail for who has mu.
func (x *index) setFailed(err error) {
	first := x.failed == nil
	x.failed = err
	if first && x.broken != nil {
		x.broken()
	}
}
