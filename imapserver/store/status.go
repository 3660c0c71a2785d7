package store

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// Status answers STATUS; size asks for Status.Size, which may have to read messages.
func (a *Account) Status(ctx context.Context, name string, size bool) (Status, error) {
	if !size {
		st, ok, err := a.quickStatus(name)
		if err != nil || ok {
			return st, err
		}
	}
	mb, err := a.get(ctx, name)
	if err != nil {
		return Status{}, err
	}
	defer a.put(mb)
	if err := mb.refresh(ctx, false); err != nil {
		return Status{}, err
	}
	mb.mu.Lock()
	s, recent, id := mb.snap.Load(), mb.row.recent, mb.row.objectID
	mb.mu.Unlock()
	first, _ := s.index(recent)
	st := Status{
		Messages: uint32(s.len), Recent: uint32(s.len - first), Unseen: uint32(s.unseen), Deleted: uint32(s.deleted),
		UIDNext: s.uidNext, UIDValidity: s.uidValidity, HighestModSeq: s.modseq, MailboxID: id,
	}
	if size {
		st.DeletedSize = mb.deletedSize(s)
		st.Size, err = mb.totalSize(ctx, s)
	}
	return st, err
}

// quickStatus answers from the index's row of a mailbox, if that still shows
// what is in the Maildir: then nothing else need be read.
func (a *Account) quickStatus(name string) (st Status, ok bool, err error) {
	dir, err := a.dirOf(name)
	if err != nil {
		return st, false, err
	}
	a.mu.Lock()
	loaded, closed := a.boxes[dir] != nil, a.closed
	a.mu.Unlock()
	if closed {
		return st, false, errClosed
	}
	if loaded {
		return st, false, nil
	}
	var row mailboxRow
	var courier courierRow
	err = a.index.view(func(conn *sqlite.Conn) (err error) {
		if row, ok, err = findMailbox(conn, dir); err == nil && ok {
			st.Recent, err = countRecent(conn, row)
		}
		if err == nil && ok && a.keeper != nil {
			courier, err = findCourier(conn, row.id)
		}
		return err
	})
	if err != nil || !ok || row.curTime == 0 || row.newTime == 0 {
		return st, false, err
	}
	if row.modseq != row.modseqMark {
		return st, false, nil // it has been loaded just now, and the marks are ahead
	}
	path := filepath.Join(a.dir, dir)
	if a.keeper != nil && (dirTime(filepath.Join(path, maildir.UIDDBFile)) != courier.uids ||
		dirTime(filepath.Join(path, maildir.KeywordsDir)) != courier.keywords) {
		return st, false, nil // Courier was here
	}
	if dirTime(filepath.Join(path, "new")) != row.newTime || dirTime(filepath.Join(path, "cur")) != row.curTime {
		return st, false, nil
	}
	st.Messages, st.Unseen, st.Deleted = uint32(row.messages), uint32(row.unseen), uint32(row.deleted)
	st.MailboxID = row.objectID
	st.UIDNext, st.UIDValidity, st.HighestModSeq = row.uidMark, row.uidValidity, row.modseqMark
	return st, true, nil
}

// dirTime gives the time of a directory's or a file's last change, 0 if it cannot be had.
func dirTime(path string) int64 {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0
	}
	return st.Ctim.Nano()
}

// deletedSize adds up what an EXPUNGE would give back.
func (mb *mailbox) deletedSize(s *snapshot) (total int64) {
	if s.deleted == 0 {
		return 0
	}
	s.all(func(r *record) bool {
		if r.set.sys&maildir.Trashed != 0 {
			total += mb.usageOf(r).Octets
		}
		return true
	})
	return total
}

// totalSize adds up the sizes, and reads the messages whose size is not known.
func (mb *mailbox) totalSize(ctx context.Context, s *snapshot) (total int64, err error) {
	s.all(func(r *record) bool {
		if err = ctx.Err(); err != nil {
			return false
		}
		var n int64
		if n, err = mb.size(ctx, r); err != nil {
			err = fmt.Errorf("size of message %d: %w", r.uid, err)
			return false
		}
		total += n
		return true
	})
	return total, err
}
