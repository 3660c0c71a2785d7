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
		if err := v.mb.settled(); err != nil {
			return fmt.Errorf("expunge: %w", err)
		}
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
	if err := v.Refusal(); err != nil {
		return err
	}
	ids := v.newIDs()
	gone := removed{uids: make(map[imap.UID]bool)}
	err := v.unlink(ctx, which, &gone, ids)
	switch {
	case len(gone.uids) == 0 && err == nil:
		err = v.mb.settled()
	case len(gone.uids) > 0:
		// The rows go only when the files are gone for good: a file that came
		// back without its row would be a new message.
		err = errors.Join(err, v.mb.dropGone(&gone))
		v.tellRemoved(ids, gone.uids)
	}
	if err != nil {
		return fmt.Errorf("expunge: %w", err)
	}
	return nil
}

// removed is what a command has removed from a mailbox.
type removed struct {
	uids  map[imap.UID]bool
	inNew bool   // of them some from new
	kept  *group // makes durable what is kept of them; nil: nothing is
}

// unlink removes files, and the messages from the snapshot.
func (v *View) unlink(ctx context.Context, which func(*record) bool, gone *removed, ids *ids) error {
	mb := v.mb
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.gone.Load() {
		return fmt.Errorf("%w: %q", ErrNotFound, mb.name())
	}
	for range openTries {
		lost, err := mb.unlinkPass(v.told, which, gone, ids)
		if err != nil || !lost {
			return errors.Join(err, mb.removeGone(gone.uids, v))
		}
		// Another program has renamed some, perhaps to take \Deleted away.
		if err := mb.removeGone(gone.uids, v); err != nil {
			return err
		}
		mb.cur.ctime, mb.new.ctime = 0, 0
		if err := mb.sync(ctx, false); err != nil {
			return err
		}
	}
	return errors.New("files do not stay under one name long enough")
}

// unlinkPass removes the files of what is to go, as far as they are where the
// snapshot has them.
func (mb *mailbox) unlinkPass(told *snapshot, which func(*record) bool, gone *removed, ids *ids) (lost bool, err error) {
	var counted Usage // what has \Deleted does not count any more
	mb.a.quota.changes.RLock()
	defer mb.a.quota.changes.RUnlock()
	defer func() { mb.a.quota.note(counted.Negative()) }()
	err = mb.change(func() error {
		var err error
		mb.snap.Load().all(func(r *record) bool {
			if !which(r) || told.find(r.uid) == nil {
				return true
			}
			ids.note(r)
			usage := mb.counted([]*record{r})
			uerr := mb.discardFile(r, gone)
			switch {
			case uerr == nil:
				counted = counted.Add(usage)
				gone.uids[r.uid] = true
				gone.inNew = gone.inNew || r.sub == maildir.New
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

// discardFile removes the file of a message that is expunged, or keeps it.
func (mb *mailbox) discardFile(r *record, gone *removed) error {
	k, err := mb.a.keeping()
	if err != nil {
		return err
	}
	if k.folder == nil {
		return mb.folder.Unlink(r.sub, r.name())
	}
	gone.kept = k.sync
	return mb.keep(r, k)
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
func (mb *mailbox) syncRemovals(gone *removed) error {
	var err error
	if gone.kept != nil {
		err = gone.kept.wait()
	}
	if err == nil {
		err = mb.curSync.wait()
	}
	if err == nil && gone.inNew {
		err = mb.newSync.wait()
	}
	if err != nil {
		return mb.distrust(err)
	}
	return nil
}

// settled returns once what others are removing is gone for good.
func (mb *mailbox) settled() error {
	mb.mu.Lock()
	under := len(mb.ghosts) > 0 && !mb.gone.Load()
	mb.mu.Unlock()
	if !under || mb.a.relaxed.Load() {
		return nil
	}
	return mb.syncRemovals(&removed{inNew: true, kept: mb.a.keptSync()})
}

// dropGone makes removals durable, where that is promised, then drops the rows.
func (mb *mailbox) dropGone(gone *removed) error {
	if !mb.a.relaxed.Load() {
		if err := mb.syncRemovals(gone); err != nil {
			return err
		}
	}
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.gone.Load() {
		return nil // and so are its rows, or another has taken them over
	}
	// What could not be buried is still shown, and the next sync's.
	now, buried := mb.snap.Load(), maps.Clone(gone.uids)
	maps.DeleteFunc(buried, func(uid imap.UID, _ bool) bool { return now.find(uid) != nil })
	err := mb.a.index.update(func(conn *sqlite.Conn) error { return dropMessages(conn, mb.row.id, buried) })
	if err != nil {
		return err
	}
	maps.DeleteFunc(mb.ghosts, func(uid imap.UID, _ bool) bool { return buried[uid] })
	return nil
}
