package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// courier is what Courier's files say of a mailbox that the index has not.
type courier struct {
	uids     map[string]imap.UID
	keywords map[string][]string
}

// uid gives the UID of the message with that base, 0 for none.
func (c *courier) uid(base string) imap.UID {
	if c == nil {
		return 0
	}
	return c.uids[base]
}

// keywordsOf gives its keywords, as far as they can be such.
func (c *courier) keywordsOf(base string) []string {
	if c == nil {
		return nil
	}
	var names []string
	for _, k := range c.keywords[base] {
		if checkKeyword(k) == nil && len(names) < maxMsgKeywords {
			names = append(names, k)
		}
	}
	return names
}

// firstContact begins a mailbox that the index does not know: with the
// UIDVALIDITY and next UID of courierimapuiddb where there is one, else with new
// ones. The snapshot is empty; the first sync fills it. mu is held.
func (mb *mailbox) firstContact() (*snapshot, error) {
	keywords, err := mb.folder.ReadKeywords()
	if err != nil {
		// Keywords are not worth a mailbox that cannot be opened.
		mb.a.log.Error("cannot read Courier's keywords", "error", err)
	}
	mb.imports = &courier{keywords: keywords}
	mb.row = mailboxRow{dir: mb.dir}
	s := &snapshot{uidNext: 1, modseq: 1} // RFC 7162 §3.1: a mod-sequence is not 0
	db, err := mb.readUIDDB()
	switch {
	case err == nil:
		mb.imports.uids = make(map[string]imap.UID, len(db.Messages))
		for _, m := range db.Messages {
			mb.imports.uids[m.Base] = imap.UID(m.UID)
		}
		s.uidValidity, s.uidNext = db.Validity, imap.UID(db.Next)
		mb.row.uiddb = true
		mb.a.validity.took(db.Validity)
		mb.a.log.Info("took over Courier's UIDs", "path", mb.path(), "uidvalidity", s.uidValidity, "uidnext", s.uidNext)
	case errors.Is(err, maildir.ErrUIDDB):
		mb.a.log.Error("courierimapuiddb is of no use; the mailbox gets a new UIDVALIDITY", "error", err)
		fallthrough
	case errors.Is(err, fs.ErrNotExist):
		if s.uidValidity, err = mb.a.validity.next(mb.a); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	mb.row.uidValidity = s.uidValidity
	mb.row.recent = s.uidNext
	return s, nil
}

// readUIDDB reads Courier's file. Its next UID is raised to our marks, which are
// beside it, and in the index if the mailbox was gone: it was written before we
// gave UIDs out.
func (mb *mailbox) readUIDDB() (maildir.UIDDB, error) {
	data, err := mb.folder.ReadSidecar(maildir.UIDDBFile)
	if err != nil {
		return maildir.UIDDB{}, err
	}
	db, err := maildir.ParseUIDDB(data)
	if err != nil {
		return db, fmt.Errorf("%s: %w", mb.path(), err)
	}
	mark, err := mb.readUIDNext(db.Validity)
	if err != nil {
		// It cannot be told which UIDs were given out.
		return db, fmt.Errorf("%w: %w", maildir.ErrUIDDB, err)
	}
	var taken imap.UID
	err = mb.a.index.view(func(conn *sqlite.Conn) error {
		taken, err = takenMark(conn, db.Validity)
		return err
	})
	if err != nil {
		return db, err
	}
	db.Next = max(db.Next, uint32(mark), uint32(taken))
	if db.Next > math.MaxUint32-1<<20 {
		return db, fmt.Errorf("%s: %w: hardly a uid is left after %d", mb.path(), maildir.ErrUIDDB, db.Next)
	}
	return db, nil
}
