package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
)

// Arrival is how a message came into its mailbox. It stands in the index alone,
// and not in memory: hardly a client asks for it.
type Arrival struct {
	Saved   time.Time // RFC 8514: by APPEND, COPY or MOVE, or when it was first seen
	EmailID string    // RFC 8474 §5.1: the same for a message and its copies
}

// Arrival tells how message n came.
func (v *View) Arrival(ctx context.Context, n SeqNum) (a Arrival, err error) {
	r := v.told.at(int(n) - 1)
	v.mb.mu.Lock()
	id := v.mb.row.id
	v.mb.mu.Unlock()
	err = v.mb.a.index.view(func(conn *sqlite.Conn) error {
		saved, origin, err := readArrival(conn, id, r.uid)
		a = Arrival{time.Unix(saved, 0), emailID(origin, r.base)}
		return err
	})
	return a, err
}

// MailboxID is the mailbox's OBJECTID (RFC 8474 §4).
func (v *View) MailboxID() string {
	v.mb.mu.Lock()
	defer v.mb.mu.Unlock()
	return v.mb.row.objectID
}

// newObjectID makes the identifier of a mailbox.
func newObjectID() string { return "F" + rand.Text()[:20] }

// emailID makes the identifier of a message: of its first file's name, which no
// other message has and which a lost index does not change. origin is that name's
// digest where the message is a copy, or nil.
func emailID(origin []byte, base string) string {
	if origin == nil {
		origin = baseDigest(base)
	}
	return "M" + base64.RawURLEncoding.EncodeToString(origin)
}

func baseDigest(base string) []byte {
	sum := sha256.Sum256([]byte(base))
	return sum[:15]
}

// readArrival reads what the index has of a message. ErrExpunged where it is gone.
func readArrival(conn *sqlite.Conn, mailbox int64, uid imap.UID) (saved int64, origin []byte, err error) {
	stmt, err := conn.Prepare("SELECT saved, origin FROM message WHERE mailbox = ? AND uid = ?")
	if err != nil {
		return 0, nil, err
	}
	defer stmt.Reset()
	stmt.BindInt64(1, mailbox)
	stmt.BindInt64(2, int64(uid))
	if ok, err := stmt.Step(); err != nil {
		return 0, nil, err
	} else if !ok {
		return 0, nil, fmt.Errorf("%w: uid %d", ErrExpunged, uid)
	}
	if n := stmt.ColumnLen(1); n > 0 {
		origin = columnBytes(stmt, 1, nil)
	}
	return stmt.ColumnInt64(0), origin, nil
}

// origins gives what copies of messages of the mailbox are copies of, one for
// each.
func (mb *mailbox) origins(from []*record) (list [][]byte, err error) {
	list = make([][]byte, len(from))
	err = mb.a.index.view(func(conn *sqlite.Conn) error {
		for i, r := range from {
			if _, list[i], err = readArrival(conn, mb.row.id, r.uid); err != nil {
				return err
			}
			if list[i] == nil {
				list[i] = baseDigest(r.base)
			}
		}
		return nil
	})
	return list, err
}

// keepOrigin has a message keep its identifier while its file gets another base name.
func keepOrigin(conn *sqlite.Conn, mailbox int64, r *record) error {
	_, origin, err := readArrival(conn, mailbox, r.uid)
	if err != nil || origin != nil {
		return err
	}
	return putOrigin(conn, mailbox, r.uid, baseDigest(r.base))
}

// putOrigin says what a message is a copy of.
func putOrigin(conn *sqlite.Conn, mailbox int64, uid imap.UID, origin []byte) error {
	stmt, err := conn.Prepare("UPDATE message SET origin = ? WHERE mailbox = ? AND uid = ?")
	if err != nil {
		return err
	}
	stmt.BindBytes(1, origin)
	stmt.BindInt64(2, mailbox)
	stmt.BindInt64(3, int64(uid))
	return finish(stmt)
}
