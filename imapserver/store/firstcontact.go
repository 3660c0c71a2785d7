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

// firstContact begins a mailbox that the index does not know: with the
// UIDVALIDITY and next UID that another server has left where one has, else
// with new ones. The snapshot is empty; the first sync fills it. mu is held.
func (mb *mailbox) firstContact() (*snapshot, error) {
	found, err := mb.readForeign()
	if err != nil {
		return nil, err
	}
	s := &snapshot{uidNext: 1, modseq: firstModSeq()}
	mb.row, mb.floor = mailboxRow{dir: mb.dir, objectID: newObjectID()}, s.modseq
	mb.courier.row = courierRow{}
	for _, f := range found {
		if f.server == "Courier" {
			mb.courier.row.uids, mb.courier.row.digest = f.changed, f.digest
		}
	}
	if mb.courier.row.keywords, err = sidecarTime(mb.folder, maildir.InKeywords, ""); err != nil {
		return nil, err
	}
	mb.imports = mb.chooseForeign(found)
	if f := mb.imports; f.validity != 0 {
		s.uidValidity, s.uidNext = f.validity, f.next
		mb.row.uiddb = true
		if f.server == "Courier" {
			mb.courier.row.next = f.said
		}
		mb.a.validity.took(f.validity)
		mb.a.log.Info("took over the UIDs of another server", "path", mb.path(), "server", f.server, "file", f.file,
			"uidvalidity", s.uidValidity, "uidnext", s.uidNext)
	} else if s.uidValidity, err = mb.a.validity.next(mb.a); err != nil {
		return nil, err
	}
	mb.row.uidValidity = s.uidValidity
	mb.row.recent = s.uidNext
	return s, nil
}

// readForeign reads what other servers have left, as far as it is of use.
func (mb *mailbox) readForeign() ([]*foreign, error) {
	var found []*foreign
	for _, read := range []func(*mailbox) (*foreign, error){readCourier, readDovecot, readMbsync} {
		f, err := read(mb)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = mb.raiseForeign(f)
		}
		if errors.Is(err, maildir.ErrIrregular) {
			err = fmt.Errorf("%w: %w", errForeign, err)
		}
		if errors.Is(err, errForeign) {
			mb.a.log.Error("another server's file is of no use", "path", mb.path(), "file", f.file, "error", err)
			f.validity, f.next = 0, 0
		} else if err != nil {
			return nil, err
		}
		if f.dropped > 0 {
			mb.a.log.Warn("another server's file is damaged; messages in lines that cannot be used get new UIDs",
				"path", mb.path(), "file", f.file, "lines", f.dropped)
		}
		found = append(found, f)
	}
	return found, nil
}

// raiseForeign raises the next UID to our marks, which are beside the file, and
// in the index if the mailbox was gone: the file was written before we gave
// UIDs out.
func (mb *mailbox) raiseForeign(f *foreign) error {
	if f.validity > maxForeignUID {
		return fmt.Errorf("%w: %d leaves hardly one to give after it", errForeign, f.validity)
	}
	mark, err := mb.readUIDNext(f.validity)
	if err != nil {
		// It cannot be told which UIDs were given out.
		return fmt.Errorf("%w: %w", errForeign, err)
	}
	var taken imap.UID
	err = mb.a.index.view(func(conn *sqlite.Conn) error {
		taken, err = takenMark(conn, f.validity)
		return err
	})
	if err != nil {
		return err
	}
	if mark > 0 && taken == 0 { // there was an index, and it is lost: the mark may be a backup's
		mark = imap.UID(min(int64(mark)+gap(), math.MaxUint32))
	}
	f.next = max(f.next, mark, taken)
	if f.next > maxForeignUID {
		return fmt.Errorf("%w: hardly a UID is left after %d", errForeign, f.next)
	}
	return nil
}

// chooseForeign chooses whose UIDs the mailbox goes on with: those of the
// server that knows most of the messages that are here and, of equals, has
// written last. A file that is of no use but newer says that UIDs have been given
// out since the older one, and no one knows which. The result is never nil.
func (mb *mailbox) chooseForeign(found []*foreign) *foreign {
	var chosen *foreign
	useless := &foreign{}
	for _, f := range found {
		if f.validity == 0 && f.written.After(useless.written) {
			useless = f
		}
	}
	if len(found) > 1 {
		mb.countKnown(found)
	}
	for _, f := range found {
		switch {
		case f.validity == 0 || f.written.Before(useless.written):
		case chosen == nil, f.known > chosen.known, f.known == chosen.known && f.written.After(chosen.written):
			chosen = f
		}
	}
	if chosen == nil {
		// There may be keywords all the same.
		chosen = &foreign{keywords: mb.courierKeywords(), letters: mb.dovecotLetters()}
	}
	for _, f := range found {
		if f != chosen && f.validity != 0 {
			mb.a.log.Warn("a server's UIDs are not taken over, since another one's fit better or are newer",
				"path", mb.path(), "server", f.server, "file", f.file, "known", f.known, "instead", chosen.file)
		}
		if f.validity == chosen.validity {
			chosen.next = max(chosen.next, f.next)
		}
	}
	return chosen
}

// countKnown counts the messages here that each of the servers knows.
func (mb *mailbox) countKnown(found []*foreign) {
	for _, s := range []maildir.Sub{maildir.New, maildir.Cur} {
		list, err := mb.folder.List(s)
		if err != nil {
			mb.a.log.Warn("cannot tell whose UIDs fit", "error", err)
			return
		}
		for i := range list.Len() {
			base, _ := maildir.SplitName(string(list.Name(i)))
			for _, f := range found {
				if f.uid(base) != 0 {
					f.known++
				}
			}
		}
		list.Release()
	}
}
