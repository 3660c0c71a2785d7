package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// mailboxRow is a row of the table mailbox.
type mailboxRow struct {
	id          int64
	dir         string
	uidValidity uint32
	uidMark     imap.UID
	modseq      ModSeq
	modseqMark  ModSeq
	floor       ModSeq
	boot        string
	recent      imap.UID
	uiddb       bool
	curTime     int64
	newTime     int64
	messages    int
	unseen      int
	deleted     int
	objectID    string
}

const mailboxColumns = "id, dir, uidvalidity, uid_mark, modseq_mark, recent, uiddb, cur_ctime, new_ctime, messages, unseen, deleted" +
	", modseq, floor, boot, objectid"

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
		modseq:      ModSeq(stmt.ColumnInt64(12)),
		floor:       ModSeq(stmt.ColumnInt64(13)),
		boot:        stmt.ColumnText(14),
		objectID:    stmt.ColumnText(15),
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

// putMailbox writes a row, whether or not there is one of that id.
func putMailbox(conn *sqlite.Conn, r *mailboxRow) error {
	return sqlitex.Execute(conn, "INSERT INTO mailbox ("+mailboxColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"+
		" ON CONFLICT (id) DO UPDATE SET dir=excluded.dir, uidvalidity=excluded.uidvalidity, uid_mark=excluded.uid_mark,"+
		" modseq_mark=excluded.modseq_mark, recent=excluded.recent, uiddb=excluded.uiddb, cur_ctime=excluded.cur_ctime,"+
		" new_ctime=excluded.new_ctime, messages=excluded.messages, unseen=excluded.unseen, deleted=excluded.deleted,"+
		" modseq=excluded.modseq, floor=excluded.floor, boot=excluded.boot",
		&sqlitex.ExecOptions{Args: []any{r.id, r.dir, int64(r.uidValidity), int64(r.uidMark), int64(r.modseqMark),
			int64(r.recent), r.uiddb, r.curTime, r.newTime, r.messages, r.unseen, r.deleted,
			int64(r.modseq), int64(r.floor), r.boot, r.objectID}})
}

// dropMailbox removes a mailbox and its messages. The mark of UIDs that we gave
// out on from Courier's stays: the mailbox may come back from a backup, with the
// courierimapuiddb that it had before.
func dropMailbox(conn *sqlite.Conn, id int64) error {
	for _, query := range []string{
		"INSERT INTO taken (uidvalidity, uid_mark) SELECT uidvalidity, uid_mark FROM mailbox WHERE id = ? AND uiddb" +
			" ON CONFLICT DO UPDATE SET uid_mark = max(uid_mark, excluded.uid_mark)",
		"DELETE FROM message WHERE mailbox = ?",
		"DELETE FROM courier WHERE mailbox = ?",
		"DELETE FROM metadata WHERE mailbox = ?",
		"DELETE FROM expunged WHERE mailbox = ?",
		"DELETE FROM mailbox WHERE id = ?",
	} {
		if err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: []any{id}}); err != nil {
			return err
		}
	}
	return nil
}

// takenMark is the mark of UIDs of that UIDVALIDITY, if it was Courier's and the
// mailbox went, else 0.
func takenMark(conn *sqlite.Conn, uidValidity uint32) (mark imap.UID, err error) {
	err = sqlitex.Execute(conn, "SELECT uid_mark FROM taken WHERE uidvalidity = ?", &sqlitex.ExecOptions{
		Args:       []any{int64(uidValidity)},
		ResultFunc: func(stmt *sqlite.Stmt) error { mark = imap.UID(stmt.ColumnInt64(0)); return nil },
	})
	return mark, err
}

// putMessages writes messages' rows, whether or not there are any. When a
// message came, and of what it is a copy, stays. mu is held.
func (mb *mailbox) putMessages(conn *sqlite.Conn, list []record) error {
	if len(list) == 0 {
		return nil
	}
	stmt, err := conn.Prepare("INSERT INTO message" +
		" (mailbox, uid, modseq, base, suffix, sub, date, size, keywords, saved) VALUES (?,?,?,?,?,?,?,?,?,?)" +
		" ON CONFLICT DO UPDATE SET modseq=excluded.modseq, base=excluded.base, suffix=excluded.suffix, sub=excluded.sub," +
		" date=excluded.date, size=excluded.size, keywords=excluded.keywords")
	if err != nil {
		return err
	}
	stmt.BindInt64(1, mb.row.id)
	stmt.BindInt64(10, mb.a.now().Unix())
	var buf []byte
	for i := range list {
		r := &list[i]
		buf = append(append(buf[:0], r.base...), r.set.suffix...)
		stmt.BindInt64(2, int64(r.uid))
		stmt.BindInt64(3, int64(r.modseq))
		stmt.BindBytes(4, buf[:len(r.base)])
		stmt.BindBytes(5, buf[len(r.base):])
		stmt.BindInt64(6, int64(r.sub))
		stmt.BindInt64(7, r.date)
		stmt.BindInt64(8, r.size.Load())
		stmt.BindText(9, r.set.keywords)
		if err := finish(stmt); err != nil {
			return err
		}
	}
	return nil
}

func finish(stmt *sqlite.Stmt) error {
	_, err := stmt.Step()
	return errors.Join(err, stmt.Reset())
}

// dropMessages removes rows, those of UIDs in a row at once.
func dropMessages(conn *sqlite.Conn, mailbox int64, gone map[imap.UID]bool) error {
	if len(gone) == 0 {
		return nil
	}
	stmt, err := conn.Prepare("DELETE FROM message WHERE mailbox = ? AND uid BETWEEN ? AND ?")
	if err != nil {
		return err
	}
	uids := slices.Sorted(maps.Keys(gone))
	for i := 0; i < len(uids); {
		first := i
		for i++; i < len(uids) && uids[i] == uids[i-1]+1; i++ {
		}
		stmt.BindInt64(1, mailbox)
		stmt.BindInt64(2, int64(uids[first]))
		stmt.BindInt64(3, int64(uids[i-1]))
		if err := finish(stmt); err != nil {
			return err
		}
	}
	return nil
}

// dropFrom removes the rows of that UID and up.
func dropFrom(conn *sqlite.Conn, mailbox int64, first imap.UID) error {
	return sqlitex.Execute(conn, "DELETE FROM message WHERE mailbox = ? AND uid >= ?", &sqlitex.ExecOptions{Args: []any{mailbox, int64(first)}})
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
// (a UID of 0 or past the mark, or not in order) are damage.
func loadMessages(conn *sqlite.Conn, row mailboxRow, sets *flagsets) (*snapshot, error) {
	l := loading{
		row: row, sets: sets, run: make([]record, 0, chunkLen),
		edit: (&snapshot{uidValidity: row.uidValidity, uidNext: row.uidMark, modseq: row.modseqMark}).edit(),
	}
	err := sqlitex.Execute(conn, "SELECT uid, modseq, base, suffix, sub, date, size, keywords FROM message"+
		" WHERE mailbox = ? ORDER BY uid", &sqlitex.ExecOptions{Args: []any{row.id}, ResultFunc: l.add})
	if err != nil {
		return nil, err
	}
	l.flush()
	return l.edit.done(), nil
}

// loading gathers rows by the chunk, so that the names of a chunk can lie in one
// string: a million strings would cost the garbage collector dearly.
type loading struct {
	row   mailboxRow
	sets  *flagsets
	edit  *edit
	run   []record
	sizes []atomic.Int64
	names nameRun // their bases
	buf   []byte
	last  imap.UID // of what was added last
}

func (l *loading) add(stmt *sqlite.Stmt) error {
	if len(l.run) == chunkLen {
		l.flush()
	}
	if len(l.sizes) == 0 {
		l.sizes = newSizes(chunkLen)
	}
	r := record{
		uid:    imap.UID(stmt.ColumnInt64(0)),
		modseq: ModSeq(stmt.ColumnInt64(1)),
		sub:    maildir.Sub(stmt.ColumnInt64(4)),
		date:   stmt.ColumnInt64(5),
		size:   &l.sizes[0],
	}
	l.sizes = l.sizes[1:]
	r.size.Store(max(stmt.ColumnInt64(6), sizeUnknown))
	l.buf = columnBytes(stmt, 2, l.buf)
	addName(&l.names, l.buf)
	l.buf = columnBytes(stmt, 3, l.buf)
	r.set = l.sets.get(string(l.buf), stmt.ColumnText(7))
	if r.uid <= l.last || r.uid >= l.row.uidMark || r.modseq > l.row.modseqMark || r.sub > maildir.New {
		return fmt.Errorf("%w: mailbox %q: message %d is out of range", errIndex, l.row.dir, r.uid)
	}
	l.last = r.uid
	l.run = append(l.run, r)
	return nil
}

// flush moves what has been gathered into the snapshot.
func (l *loading) flush() {
	for i, base := range l.names.strings() {
		l.run[i].base = base
		l.edit.add(l.run[i])
	}
	l.run = l.run[:0]
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
