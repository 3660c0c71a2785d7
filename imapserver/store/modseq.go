package store

import (
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// maxGraves bounds the rows of expunged that a mailbox has. Where there would be
// more, the older half is forgotten and the floor raised.
const maxGraves = 10_000

// firstModSeq is the mod-sequence that a mailbox begins with: the time, in
// microseconds, so that it is above all that anyone has been told of the mailbox
// before, be it by another server or from an index that is lost. It grows by one
// with a change, and by markStep at an unclean stop: the clock runs faster.
func firstModSeq() ModSeq { return ModSeq(time.Now().UnixMicro()) }

// bootFile names the run of the kernel.
const bootFile = "/proc/sys/kernel/random/boot_id"

// readBoot gives the run of the kernel, or what no other has where it cannot be
// had.
func readBoot() string {
	id, err := os.ReadFile(bootFile)
	if err != nil {
		return rand.Text()
	}
	return strings.TrimSpace(string(id))
}

// floorOf gives the floor of a mailbox as it is loaded. Where it was not let go
// in good order, and the machine has been started since, the last commits may be
// lost, and with them what sessions have told their clients: they are told
// everything. A process that has died alone loses no commit.
func floorOf(row mailboxRow, boot string) ModSeq {
	if row.modseq < row.modseqMark && row.boot != boot {
		return row.modseqMark
	}
	return row.floor
}

// bury notes that messages of the snapshot were are gone with that
// mod-sequence. Those that stood side by side are one row. mu is held.
func (mb *mailbox) bury(conn *sqlite.Conn, were *snapshot, gone map[imap.UID]bool, modseq ModSeq) error {
	if len(gone) == 0 {
		return nil
	}
	at := make([]int, 0, len(gone))
	for uid := range gone {
		n, _ := were.index(uid)
		at = append(at, n)
	}
	slices.Sort(at)
	stmt, err := conn.Prepare("INSERT OR REPLACE INTO expunged (mailbox, modseq, first, last) VALUES (?,?,?,?)")
	if err != nil {
		return err
	}
	rows := 0
	for i := 0; i < len(at); rows++ {
		first := i
		for i++; i < len(at) && at[i] == at[i-1]+1; i++ {
		}
		stmt.BindInt64(1, mb.row.id)
		stmt.BindInt64(2, int64(modseq))
		stmt.BindInt64(3, int64(were.at(at[first]).uid))
		stmt.BindInt64(4, int64(were.at(at[i-1]).uid))
		if err := finish(stmt); err != nil {
			return err
		}
	}
	return mb.prune(conn, rows)
}

// prune forgets the older half of what was expunged, after rows have been added,
// if that is too much. mu is held.
func (mb *mailbox) prune(conn *sqlite.Conn, added int) error {
	id := mb.row.id
	if mb.graves >= 0 {
		mb.graves += added
	} else if err := mb.count(conn); err != nil {
		return err
	}
	if mb.graves <= maxGraves {
		return nil
	}
	mb.graves = -1
	floor := mb.floor
	err := sqlitex.Execute(conn, "SELECT modseq FROM expunged WHERE mailbox = ? ORDER BY modseq LIMIT 1 OFFSET ?", &sqlitex.ExecOptions{
		Args:       []any{id, maxGraves / 2},
		ResultFunc: func(stmt *sqlite.Stmt) error { floor = ModSeq(stmt.ColumnInt64(0)); return nil },
	})
	if err != nil {
		return err
	}
	err = sqlitex.Execute(conn, "DELETE FROM expunged WHERE mailbox = ? AND modseq <= ?", &sqlitex.ExecOptions{Args: []any{id, int64(floor)}})
	if err != nil {
		return err
	}
	// Should the commit fail, the floor is higher than need be.
	mb.floor = max(mb.floor, floor)
	return sqlitex.Execute(conn, "UPDATE mailbox SET floor = ? WHERE id = ?", &sqlitex.ExecOptions{Args: []any{int64(mb.floor), id}})
}

// count counts the rows of expunged. mu is held.
func (mb *mailbox) count(conn *sqlite.Conn) error {
	return sqlitex.Execute(conn, "SELECT count(*) FROM expunged WHERE mailbox = ?", &sqlitex.ExecOptions{
		Args:       []any{mb.row.id},
		ResultFunc: func(stmt *sqlite.Stmt) error { mb.graves = stmt.ColumnInt(0); return nil },
	})
}
