package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"mailstead/imapserver/maildir"
)

// asideDeleted gives an unused path for a mailbox that is about to be deleted, and
// whether it is to be kept there.
func (a *Account) asideDeleted() (path string, kept bool, err error) {
	k, err := a.keeping()
	if err != nil {
		return "", false, err
	}
	if k.folder == nil {
		path, made, err := a.aside(deletedDir)
		if made && err == nil { // or what is put there, and is not deleted in the end, could be lost with it
			err = a.ops.SyncDir(a.own)
		}
		return path, false, err
	}
	at := a.now()
	name := maildir.KeptName(at, at.Add(k.life), a.namer.Next().Tmp(), "")
	return filepath.Join(a.own, maildir.KeptDir, name), true, nil
}

// noteDeleted writes, beside the messages of a mailbox that is about to be deleted
// and kept, what their files do not say. What has come in since it was last looked at
// has nothing that it would not say. a.mu and mu are held.
func (mb *mailbox) noteDeleted(ctx context.Context) error {
	if err := mb.load(ctx); err != nil {
		mb.a.log.Warn("dates and keywords of a mailbox that is deleted are not kept", "path", mb.path(), "error", err)
	}
	subs, err := mb.a.subscriptions()
	if err != nil {
		mb.a.log.Warn("it is not kept whether a mailbox that is deleted was subscribed", "path", mb.path(), "error", err)
	}
	var b bytes.Buffer
	put := func(n maildir.KeptNote) error {
		line, err := n.Line()
		b.Write(line)
		return err
	}
	name := mb.name()
	err = put(maildir.KeptNote{Mailbox: name, Subscribed: subs.Has(name)})
	if snap := mb.snap.Load(); snap != nil && err == nil {
		snap.all(func(r *record) bool {
			err = put(maildir.KeptNote{Name: r.base, UID: uint32(r.uid), Date: r.date, Keywords: r.set.keywords})
			return err == nil
		})
	}
	if err != nil {
		return fmt.Errorf("note what a mailbox has: %w", err)
	}
	return mb.a.ops.WriteFile(mb.path(), maildir.KeptMailboxFile, maildir.FileMode, b.Bytes())
}

// setAside puts a mailbox that is deleted where it is removed from, or kept. It goes there by
// way of its own name beside that, from which the next start puts it back: what is said to be
// there still must not be lost where the disk fails and it cannot be put back now.
func (a *Account) setAside(dir, aside string, kept bool) error {
	path, staged := filepath.Join(a.dir, dir), filepath.Join(filepath.Dir(aside), dir)
	if err := a.ops.RenameNew(path, staged); err != nil {
		return err
	}
	err := a.syncDeleted(staged, kept)
	if err == nil {
		err = a.ops.RenameNew(staged, aside)
	}
	if err != nil {
		if back := a.ops.RenameNew(staged, path); back != nil {
			err = a.index.fail(errors.Join(err, back)) // it is opened anew
		}
		return err
	}
	if err = a.ops.SyncDir(filepath.Dir(aside)); err == nil {
		return nil
	}
	if back := a.ops.RenameNew(aside, path); back != nil {
		a.log.Error("a mailbox is deleted, and a power cut may bring it back", "dir", dir, "error", errors.Join(err, back))
		return nil
	}
	return errors.Join(err, a.ops.SyncDir(a.dir))
}

// syncDeleted makes durable that a mailbox is gone, and, if it is kept, that it is
// where it is kept, with all that it holds.
func (a *Account) syncDeleted(aside string, kept bool) error {
	if kept {
		if err := a.syncAside(aside); err != nil {
			return err
		}
		if err := a.ops.SyncDir(filepath.Join(a.own, maildir.KeptDir)); err != nil {
			return err
		}
	}
	return a.ops.SyncDir(a.dir)
}

// syncAside makes the messages of a mailbox durable that was set aside. Who delivered them
// may have synced nothing; nobody delivers any more to where it is now.
func (a *Account) syncAside(path string) error {
	f, err := maildir.OpenFolder(path, a.ops)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, sub := range []maildir.Sub{maildir.Cur, maildir.New} {
		if err := a.syncFreshOf(f, sub); err != nil {
			return fmt.Errorf("sync what is kept: %w", err)
		}
	}
	return nil
}

func (a *Account) syncFreshOf(f *maildir.Folder, sub maildir.Sub) error {
	l, err := f.List(sub)
	if err != nil {
		return err
	}
	defer l.Release()
	fresh := false
	for name := range l.All() {
		st, err := f.Stat(sub, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !st.Regular || !isFresh(f, sub, name, st) {
			continue
		}
		fresh = true
		if err := a.syncMessage(f, sub, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !fresh {
		return nil
	}
	return f.Sync(sub)
}

// isEmpty tells whether a mailbox that was set aside has no message, and nothing that
// might be one.
func isEmpty(path string) bool {
	f, err := maildir.OpenFolder(path, nil)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, sub := range []maildir.Sub{maildir.Cur, maildir.New} {
		l, err := f.List(sub)
		if err != nil {
			return false
		}
		n := l.Len()
		if l.Release(); n > 0 {
			return false
		}
	}
	return true
}
