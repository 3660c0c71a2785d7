package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// The bounds of annotations. RFC 5464 §4.1 asks for 1024 octets and 10 entries.
const (
	MaxAnnotation  = 32 << 10 // octets of a value; less than a literal may have, so that who sends more is told
	maxAnnotations = 100      // shared ones of a mailbox, and private ones of a mailbox and a user
)

// ErrAnnotations says that there is no room for another annotation.
var ErrAnnotations = errors.New("too many annotations")

// Scope is for whom an annotation is.
type Scope string

// Shared annotations are for everybody.
const Shared Scope = ""

// Private annotations are those of one user, "" being the owner.
func Private(user string) Scope { return Scope("=" + user) }

// Annotation is an entry with its value (RFC 5464).
type Annotation struct {
	Scope Scope
	Entry string
	Value []byte // nil: there is none, or it is larger than was asked for
	Size  int    // of the value
}

// Metadata gives the annotations of a mailbox, or with "" the account's own of the
// server, that are in an entry and up to depth levels below it, sorted. Values
// of more octets than most are not given.
func (a *Account) Metadata(ctx context.Context, mailbox string, scope Scope, entry string, depth int, most int64) ([]Annotation, error) {
	var list []Annotation
	err := a.index.view(func(conn *sqlite.Conn) error {
		id, err := a.annotated(conn, mailbox)
		if err != nil || id < 0 {
			return err
		}
		const query = "SELECT entry, length(value), CASE WHEN length(value) <= ?4 THEN value END FROM metadata" +
			" WHERE mailbox = ?1 AND user = ?2 AND "
		collect := &sqlitex.ExecOptions{Args: []any{id, string(scope), entry, most}, ResultFunc: func(stmt *sqlite.Stmt) error {
			m := Annotation{Scope: scope, Entry: stmt.ColumnText(0), Size: stmt.ColumnInt(1)}
			if strings.Count(m.Entry[len(entry):], "/") > depth {
				return nil
			}
			if stmt.ColumnType(2) != sqlite.TypeNull {
				m.Value = append([]byte{}, columnBytes(stmt, 2, nil)...)
			}
			list = append(list, m)
			return nil
		}}
		if err := sqlitex.Execute(conn, query+"entry = ?3", collect); err != nil || depth == 0 {
			return err
		}
		return sqlitex.Execute(conn, query+"entry > ?3 || '/' AND entry < ?3 || '0' ORDER BY entry", collect) // 0 is next to /
	})
	if err != nil {
		return nil, err
	}
	return list, ctx.Err()
}

// annotated gives the index's number of what annotations are of, 0 for the
// server and -1 for a mailbox that the index does not know yet.
func (a *Account) annotated(conn *sqlite.Conn, mailbox string) (id int64, err error) {
	if mailbox == "" {
		return 0, nil
	}
	dir, err := a.existing(mailbox)
	if err != nil {
		return 0, err
	}
	row, ok, err := findMailbox(conn, dir)
	if err != nil || !ok {
		return -1, err
	}
	return row.id, nil
}

// SetMetadata sets annotations of a mailbox, or with "" the account's own of the
// server, and takes away those without a value: all or none. Once it returns,
// that survives a power cut.
func (a *Account) SetMetadata(ctx context.Context, mailbox string, list []Annotation) error {
	if err := a.setMetadata(ctx, mailbox, list); err != nil {
		return fmt.Errorf("annotate %q: %w", mailbox, diskError(err))
	}
	a.feeds.markEntries(mailbox, list)
	return a.index.durable()
}

func (a *Account) setMetadata(ctx context.Context, mailbox string, list []Annotation) error {
	if mailbox == "" {
		return a.index.update(func(conn *sqlite.Conn) error { return putAnnotations(conn, 0, list) })
	}
	mb, err := a.get(ctx, mailbox)
	if err != nil {
		return err
	}
	defer a.put(mb)
	mb.mu.Lock() // the mailbox stays while they are written
	defer mb.mu.Unlock()
	switch {
	case mb.gone.Load():
		return fmt.Errorf("%w: it was deleted meanwhile", ErrNotFound)
	case mb.row.id == 0:
		return ErrNoSpace // or it would have a row by now
	}
	e := mb.snap.Load().edit()
	e.s.modseq++ // RFC 7162 §3.2
	return mb.commit(e.done(), false, nil, func(conn *sqlite.Conn) error { return putAnnotations(conn, mb.row.id, list) })
}

func putAnnotations(conn *sqlite.Conn, id int64, list []Annotation) error {
	for _, m := range list {
		query, args := "DELETE FROM metadata WHERE mailbox = ? AND user = ? AND entry = ?", []any{id, string(m.Scope), m.Entry}
		if m.Value != nil {
			query, args = "INSERT OR REPLACE INTO metadata (mailbox, user, entry, value) VALUES (?, ?, ?, ?)", append(args, m.Value)
		}
		if err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args}); err != nil {
			return err
		}
	}
	return checkAnnotations(conn, id, list)
}

// checkAnnotations fails where there are too many of those that were added to.
func checkAnnotations(conn *sqlite.Conn, id int64, list []Annotation) error {
	seen := map[Scope]bool{}
	for _, m := range list {
		if m.Value == nil || seen[m.Scope] {
			continue
		}
		seen[m.Scope] = true
		n := 0
		err := sqlitex.Execute(conn, "SELECT count(*) FROM metadata WHERE mailbox = ? AND user = ?", &sqlitex.ExecOptions{
			Args:       []any{id, string(m.Scope)},
			ResultFunc: func(stmt *sqlite.Stmt) error { n = stmt.ColumnInt(0); return nil },
		})
		if err != nil {
			return err
		}
		if n > maxAnnotations {
			return ErrAnnotations
		}
	}
	return nil
}

// copyMetadata gives a mailbox the annotations of another, which keeps them
// (RFC 5464 §4.1, RENAME of INBOX).
func (a *Account) copyMetadata(ctx context.Context, from *View, to string) error {
	mb, err := a.get(ctx, to)
	if err != nil {
		return err
	}
	defer a.put(mb)
	t := &transfer{src: from.mb, dst: mb}
	defer t.lock()()
	if mb.gone.Load() || mb.row.id == 0 {
		return nil
	}
	err = a.index.update(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "INSERT OR IGNORE INTO metadata (mailbox, user, entry, value)"+
			" SELECT ?, user, entry, value FROM metadata WHERE mailbox = ?", &sqlitex.ExecOptions{Args: []any{mb.row.id, from.mb.row.id}})
	})
	if err == nil {
		err = a.index.durable()
	}
	return err
}
