package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// Create makes a mailbox, with a special use (RFC 6154) if one is given. Missing
// parents are not made.
func (a *Account) Create(ctx context.Context, name string, use ...imap.MailboxAttr) error {
	if strings.EqualFold(name, maildir.Inbox) {
		return fmt.Errorf("%w: %q", ErrExists, name)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed
	}
	dir, err := a.newDir(name)
	if err != nil {
		return err
	}
	var uses []maildir.SpecialUse
	if len(use) > 0 {
		if uses, err = a.addUses(name, use); err != nil {
			return fmt.Errorf("create %q: %w", name, err)
		}
	}
	if uses != nil {
		// A use without its mailbox is no harm: nobody is shown it.
		err = a.writeUses(uses)
	}
	if err == nil {
		err = a.makeFolder(dir)
	}
	if err != nil {
		return fmt.Errorf("create %q: %w", name, diskError(err))
	}
	a.feeds.markList()
	return nil
}

// newDir gives the directory for a mailbox that does not exist yet. A name that
// would have the tree taken for one of the other encoding is refused.
func (a *Account) newDir(name string) (string, error) {
	dir, err := a.vacant(name)
	if err != nil || !strings.Contains(dir, "&") {
		return dir, err
	}
	dirs, err := a.folderDirs()
	if err != nil {
		return "", err
	}
	if maildir.DetectEncoding(append(dirs, dir)) != a.enc {
		return "", fmt.Errorf("%w: %q: on disk it would read as modified UTF-7", ErrName, name)
	}
	return dir, nil
}

// vacant is newDir for what goes along with a mailbox, whose encoding decides nothing that
// is not decided.
func (a *Account) vacant(name string) (string, error) {
	dir, err := a.dirOf(name)
	if err != nil {
		return "", err
	}
	_, err = os.Lstat(filepath.Join(a.dir, dir))
	if err == nil {
		return "", fmt.Errorf("%w: %q", ErrExists, name)
	}
	return dir, ignoreNotExist(err)
}

// makeFolder builds a mailbox's directories aside and puts them in place whole.
// The index has no mailbox of that directory: where it had, it forgets it.
func (a *Account) makeFolder(dir string) error {
	making, _, err := a.aside(makingDir)
	if err != nil {
		return err
	}
	if err := a.ops.MakeTree(making, true); err != nil {
		return err
	}
	a.leaveDir(dir)
	if err := a.forget(dir); err != nil {
		return err
	}
	if err := a.ops.RenameNew(making, filepath.Join(a.dir, dir)); err != nil {
		return err
	}
	mb := a.ready(dir)
	if err = a.ops.SyncDir(a.dir); err == nil {
		err = mb.ensure(context.Background())
	}
	if err != nil {
		err = errors.Join(err, a.unmake(mb))
	}
	return err
}

// leaveDir ends what is loaded of a directory that is no more, for someone who is about to
// find that out. That is done with before the lock of another mailbox is taken, which may
// come after this one's.
func (a *Account) leaveDir(dir string) {
	mb := a.boxes[dir]
	if mb == nil {
		return
	}
	mb.mu.Lock()
	mb.end()
	mb.mu.Unlock()
	delete(a.boxes, dir)
	mb.leave()
}

// unmake takes back a mailbox that has been made and could not be opened: on a full disk the
// index has no room for it. Where somebody has delivered into it meanwhile, it stays.
func (a *Account) unmake(mb *mailbox) error {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	path, staged := filepath.Join(a.dir, mb.dir), filepath.Join(a.own, makingDir, mb.dir)
	if err := a.ops.RenameNew(path, staged); err != nil {
		return err
	}
	if !isEmpty(staged) {
		return a.ops.RenameNew(staged, path) // or the next start does it
	}
	delete(a.boxes, mb.dir)
	mb.end()
	mb.leave()
	return a.removeAll(staged) // unsynced: a power cut may bring back a mailbox with nothing in it
}

// forget drops the index's row of a directory that does not exist.
func (a *Account) forget(dir string) error {
	return a.index.update(func(conn *sqlite.Conn) error {
		row, ok, err := findMailbox(conn, dir)
		if err != nil || !ok {
			return err
		}
		os.Remove(a.cachePath(row.id)) // what is left of it, sweep removes
		return dropMailbox(conn, row.id)
	})
}

// aside gives an unused path in a directory of our own, and tells whether it has made that.
func (a *Account) aside(dir string) (path string, made bool, err error) {
	dir = filepath.Join(a.own, dir)
	if err = realDir(a.own); err == nil {
		err = a.ops.Mkdir(dir)
		made = err == nil
	}
	if errors.Is(err, fs.ErrExist) {
		err = realDir(dir)
	}
	if err != nil {
		return "", false, err
	}
	return filepath.Join(dir, a.namer.Next().Tmp()), made, nil
}

// Delete removes a mailbox and its messages; its inferiors stay.
func (a *Account) Delete(ctx context.Context, name string) error {
	if strings.EqualFold(name, maildir.Inbox) {
		return fmt.Errorf("%w: delete", ErrInbox)
	}
	dir, err := a.dirOf(name)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed
	}
	if err := a.exists(name, dir); err != nil {
		return err
	}
	if _, ok, _ := a.acls.own(dir); ok {
		// RFC 4314 §4: its rights go with it, and its inferiors have theirs.
		err = a.settle(dir)
	}
	if err == nil {
		err = a.deleteFolder(ctx, dir)
	}
	if err != nil {
		return fmt.Errorf("delete %q: %w", name, diskError(err))
	}
	a.feeds.markList()
	a.dropACL(dir)
	return nil
}

// exists tells apart what can be deleted, what cannot, and what is not there.
func (a *Account) exists(name, dir string) error {
	st, err := os.Lstat(filepath.Join(a.dir, dir))
	if err == nil && st.IsDir() {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	below, err := a.inferiors(dir)
	if err != nil {
		return err
	}
	if len(below) > 0 {
		return fmt.Errorf("%w: %q", ErrChildren, name)
	}
	return fmt.Errorf("%w: %q", ErrNotFound, name)
}

// inferiors gives the directories of the mailboxes below one.
func (a *Account) inferiors(dir string) ([]string, error) {
	dirs, err := a.folderDirs()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(dirs, func(d string) bool {
		if !strings.HasPrefix(d, dir+".") {
			return true
		}
		_, err := maildir.DecodeName(d, a.enc)
		st, serr := os.Lstat(filepath.Join(a.dir, d))
		return err != nil || serr != nil || !st.IsDir()
	}), nil
}

// deleteFolder takes a mailbox out of sight at once, then removes it or keeps it.
func (a *Account) deleteFolder(ctx context.Context, dir string) error {
	aside, kept, err := a.asideDeleted()
	if err != nil {
		return err
	}
	mb := a.boxes[dir]
	if kept {
		mb = a.ready(dir)
	}
	if mb != nil {
		mb.mu.Lock()
		defer mb.mu.Unlock()
	}
	if kept {
		if err := mb.noteDeleted(ctx); err != nil {
			return err
		}
	}
	a.quota.changes.RLock()
	defer a.quota.changes.RUnlock()
	if err := a.setAside(dir, aside, kept); err != nil {
		return err
	}
	if mb != nil {
		delete(a.boxes, dir)
		mb.end()
		mb.leave()
	}
	if a.quota.isKept() && dir != maildir.TrashDir {
		a.quota.note(a.taken(aside, kept).Negative())
	}
	if err := a.forget(dir); err != nil {
		// A full disk, perhaps, which this is to free. The row is in no one's way.
		a.log.Warn("the index keeps a mailbox that is gone", "dir", dir, "error", err)
	}
	if kept && !isEmpty(aside) {
		return nil
	}
	if err := a.removeAll(aside); err != nil {
		// The mailbox is gone; its files are removed when the account is next opened.
		a.log.Warn("cannot remove what is left of a mailbox", "error", err)
	}
	return nil
}

// taken gives how much that counts is in a mailbox that was taken aside, whose messages
// it removes unless they are kept. A delivery at work takes its own back, or they are
// counted.
func (a *Account) taken(aside string, kept bool) Usage {
	f, err := maildir.OpenFolder(aside, a.ops)
	if err != nil {
		return Usage{} // as for whoever lists mailboxes
	}
	defer f.Close()
	take := f.Clear
	if kept {
		take = f.Settle
	}
	gone, err := take()
	if err != nil {
		a.quota.hidden(err)
	}
	return gone
}

// removeAll removes a directory of our own with all that is in it.
func (a *Account) removeAll(path string) error {
	if err := a.ops.Announce(maildir.Op{Call: "removeall", Path: path}); err != nil {
		return err
	}
	return os.RemoveAll(path)
}

// renamed is one directory of a RENAME.
type renamed struct{ dir, dest string }

// Rename renames a mailbox and its inferiors; UIDs and UIDVALIDITY go along.
// Renaming INBOX moves its messages (RFC 9051 §6.3.6).
func (a *Account) Rename(ctx context.Context, from, to string) error {
	if strings.EqualFold(to, maildir.Inbox) {
		return fmt.Errorf("%w: %q", ErrExists, to)
	}
	if strings.EqualFold(from, maildir.Inbox) {
		return a.renameInbox(ctx, to)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed
	}
	moves, err := a.planRename(ctx, from, to)
	if err != nil {
		return err
	}
	if err = a.keepACLs(moves); err == nil {
		err = a.renameFolders(moves)
	}
	if err != nil {
		return fmt.Errorf("rename %q to %q: %w", from, to, diskError(err))
	}
	names := a.renamedNames(moves)
	a.moveUses(names)
	a.feeds.markRenamed(names)
	for _, m := range moves {
		a.dropACL(m.dir)
	}
	if dir, err := a.dirOf(from); err == nil { // which moves has not if it is only a parent
		a.dropACL(dir)
	}
	return nil
}

// renameInbox makes the other mailbox and moves all messages there.
func (a *Account) renameInbox(ctx context.Context, to string) error {
	if err := a.Create(ctx, to); err != nil {
		return err
	}
	v, err := a.Select(ctx, maildir.Inbox, false)
	if err != nil {
		return err
	}
	defer v.Close()
	seqs := make([]SeqNum, v.Len())
	for i := range seqs {
		seqs[i] = SeqNum(i + 1)
	}
	// Where that fails, the new mailbox stays: messages may be there already,
	// and someone may have put others there.
	if _, err := v.Move(ctx, seqs, Target{Account: a, Mailbox: to, Rights: AllRights}); err != nil {
		return err
	}
	return a.copyMetadata(ctx, v, to)
}

// planRename lists what a RENAME renames, the mailbox itself last: it is there
// as long as anything is.
func (a *Account) planRename(ctx context.Context, from, to string) ([]renamed, error) {
	dir, err := a.dirOf(from)
	if err != nil {
		return nil, err
	}
	dest, err := a.newDir(to)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(dest, dir+".") {
		return nil, fmt.Errorf("%w: %q is below %q", ErrName, to, from)
	}
	below, err := a.inferiors(dir)
	if err != nil {
		return nil, err
	}
	var moves []renamed
	for _, d := range below {
		moves = append(moves, renamed{d, dest + strings.TrimPrefix(d, dir)})
	}
	if st, err := os.Lstat(filepath.Join(a.dir, dir)); err == nil && st.IsDir() {
		moves = append(moves, renamed{dir, dest})
	} else if len(below) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, from)
	}
	for _, m := range moves {
		name, err := maildir.DecodeName(m.dest, a.enc)
		if err == nil {
			_, err = a.vacant(name)
		}
		if errors.Is(err, ErrExists) {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrName, err)
		}
	}
	return moves, ctx.Err()
}

// renamedNames gives the names of the directories.
func (a *Account) renamedNames(moves []renamed) []Renamed {
	var list []Renamed
	for _, m := range slices.Backward(moves) {
		from, ferr := maildir.DecodeName(m.dir, a.enc)
		to, terr := maildir.DecodeName(m.dest, a.enc)
		if ferr == nil && terr == nil {
			list = append(list, Renamed{from, to})
		}
	}
	return list
}

// renameFolders tells the index what is to come, renames, and tells it that it
// has been done. a.mu is held.
func (a *Account) renameFolders(moves []renamed) error {
	err := a.index.update(func(conn *sqlite.Conn) error {
		for _, m := range moves {
			err := sqlitex.Execute(conn, "INSERT OR REPLACE INTO renaming (dir, dest) VALUES (?, ?)",
				&sqlitex.ExecOptions{Args: []any{m.dir, m.dest}})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = a.index.durable()
	}
	if err != nil {
		return err
	}
	var done []renamed
	for _, m := range moves {
		if err = a.renameFolder(m); err != nil {
			break
		}
		done = append(done, m)
	}
	if err != nil {
		// What cannot be taken back stays renamed, and the index is told.
		done = slices.DeleteFunc(done, func(m renamed) bool {
			rerr := a.renameFolder(renamed{m.dest, m.dir})
			err = errors.Join(err, rerr)
			return rerr == nil
		})
	}
	err = errors.Join(err, a.ops.SyncDir(a.dir))
	uerr := a.index.update(func(conn *sqlite.Conn) error {
		for _, m := range done {
			if err := renameRow(conn, m.dir, m.dest); err != nil {
				return err
			}
		}
		return sqlitex.Execute(conn, "DELETE FROM renaming", nil)
	})
	if uerr == nil {
		uerr = a.index.durable()
	}
	return errors.Join(err, uerr)
}

// renameFolder renames one directory, and what is loaded of it.
func (a *Account) renameFolder(m renamed) error {
	a.leaveDir(m.dest)
	mb := a.boxes[m.dir]
	if mb != nil {
		mb.mu.Lock()
		defer mb.mu.Unlock()
	}
	a.quota.changes.RLock()
	defer a.quota.changes.RUnlock()
	if err := a.ops.RenameNew(filepath.Join(a.dir, m.dir), filepath.Join(a.dir, m.dest)); err != nil {
		return err
	}
	if m.dest == maildir.TrashDir {
		a.noteFolder(m.dir, filepath.Join(a.dir, m.dest), false)
	} else if m.dir == maildir.TrashDir {
		a.noteFolder(m.dest, filepath.Join(a.dir, m.dest), true)
	}
	for _, sub := range []string{"new", "cur"} {
		a.watch.forget(filepath.Join(a.dir, m.dir, sub))
	}
	if mb == nil {
		return nil
	}
	delete(a.boxes, m.dir)
	a.boxes[m.dest] = mb
	mb.dir, mb.row.dir = m.dest, m.dest
	if a.watch.remove(mb) {
		a.watch.add(mb, mb.path())
	}
	return nil
}
