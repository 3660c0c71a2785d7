package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// Expunge removes the messages with \Deleted, of uids only those if it is not
// nil. It returns once that survives a power cut; Poll then tells it. Messages
// that this view has not been told of are left.
func (v *View) Expunge(ctx context.Context, uids imap.UIDSet) error {
	if !v.readOnly && !v.mb.gone.Load() && v.mb.snap.Load().deleted == 0 {
		return nil
	}
	return v.expunge(ctx, func(r *record) bool {
		return r.set.sys&maildir.Trashed != 0 && (uids == nil || uids.Contains(r.uid))
	})
}

// Remove removes message n, whatever its flags. It is no error where it is gone
// already.
func (v *View) Remove(ctx context.Context, n SeqNum) error {
	uid := v.UIDAt(n)
	return v.expunge(ctx, func(r *record) bool { return r.uid == uid })
}

func (v *View) expunge(ctx context.Context, which func(*record) bool) error {
	if v.readOnly {
		return ErrReadOnly
	}
	ids := v.newIDs()
	gone, err := v.unlink(ctx, which, ids)
	if len(gone) > 0 {
		// The rows go only when the files are gone for good: a file that came
		// back without its row would be a new message.
		err = errors.Join(err, v.mb.dropGone(gone))
		v.tellRemoved(ids, gone)
	}
	if err != nil {
		return fmt.Errorf("expunge: %w", err)
	}
	return nil
}

// unlink removes files, and the messages from the snapshot.
func (v *View) unlink(ctx context.Context, which func(*record) bool, ids *ids) (gone map[imap.UID]bool, err error) {
	mb := v.mb
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.gone.Load() {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, mb.name())
	}
	gone = make(map[imap.UID]bool)
	for range openTries {
		lost, err := mb.unlinkPass(v.told, which, gone, ids)
		if err != nil || !lost {
			return gone, errors.Join(err, mb.removeGone(gone, v))
		}
		// Another program has renamed some, perhaps to take \Deleted away.
		if err := mb.removeGone(gone, v); err != nil {
			return gone, err
		}
		mb.cur.ctime, mb.new.ctime = 0, 0
		if err := mb.sync(ctx, false); err != nil {
			return gone, err
		}
	}
	return gone, errors.New("files do not stay under one name long enough")
}

// unlinkPass removes the files of what is to go, as far as they are where the
// snapshot has them.
func (mb *mailbox) unlinkPass(told *snapshot, which func(*record) bool, gone map[imap.UID]bool, ids *ids) (lost bool, err error) {
	err = mb.change(func() error {
		var err error
		mb.snap.Load().all(func(r *record) bool {
			if !which(r) || told.find(r.uid) == nil {
				return true
			}
			ids.note(r)
			uerr := mb.discardFile(r)
			switch {
			case uerr == nil:
				gone[r.uid] = true
				mb.unsynced = mb.unsynced || r.sub == maildir.New
			case errors.Is(uerr, fs.ErrNotExist):
				lost = true
			default:
				err = uerr
			}
			return err == nil
		})
		return err
	}, maildir.Cur, maildir.New)
	return lost, err
}

// removeGone shows a snapshot without those messages. Their rows stay.
func (mb *mailbox) removeGone(gone map[imap.UID]bool, by *View) error {
	now := mb.snap.Load()
	inNew := 0
	there := make(map[imap.UID]bool)
	for uid := range gone {
		if r := now.find(uid); r != nil {
			there[uid] = true
			inNew += isNew(r.sub)
		}
	}
	if len(there) == 0 {
		return nil
	}
	e := now.edit()
	e.remove(there)
	e.s.modseq++
	maps.Copy(mb.ghosts, there)
	bury := func(conn *sqlite.Conn) error { return mb.bury(conn, now, there, e.s.modseq) }
	if err := mb.commit(e.done(), false, by, bury); err != nil {
		mb.cur.ctime, mb.new.ctime = 0, 0 // the next sync sees that they are gone
		return err
	}
	mb.inNew -= inNew
	return nil
}

// syncRemovals makes removals durable, and what is kept of them before.
func (mb *mailbox) syncRemovals() error {
	if err := mb.a.syncKept(); err != nil {
		return err
	}
	if err := mb.curSync.wait(); err != nil {
		return mb.distrust(err)
	}
	mb.mu.Lock()
	unsynced := mb.unsynced
	mb.unsynced = false
	mb.mu.Unlock()
	if !unsynced {
		return nil
	}
	if err := mb.folder.Sync(maildir.New); err != nil {
		return mb.distrust(err)
	}
	return nil
}

// dropGone makes removals durable, where that is promised, then drops the rows.
func (mb *mailbox) dropGone(gone map[imap.UID]bool) error {
	if !mb.a.relaxed.Load() {
		if err := mb.syncRemovals(); err != nil {
			return err
		}
	}
	mb.mu.Lock()
	id := mb.row.id
	mb.mu.Unlock()
	err := mb.a.index.update(func(conn *sqlite.Conn) error { return putAndDrop(conn, id, nil, gone) })
	if err != nil {
		return err
	}
	mb.mu.Lock()
	defer mb.mu.Unlock()
	for uid := range gone {
		delete(mb.ghosts, uid)
	}
	return nil
}
