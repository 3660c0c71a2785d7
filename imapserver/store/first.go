package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// FirstFolder is a mailbox that Make makes.
type FirstFolder struct {
	Name       string // as for Create
	Use        string // one of maildir.Uses, or ""
	Subscribed bool
}

// Make makes the Maildir at dir with folders, and the directories that it is in, if
// there is nothing of that name at all. It is made under another name and then put
// in its place whole: whoever dies meanwhile leaves nothing that looks like an
// account.
func Make(ctx context.Context, dir string, folders []FirstFolder) error {
	return makeAccount(ctx, &maildir.Ops{}, dir, folders)
}

func makeAccount(ctx context.Context, ops *maildir.Ops, dir string, folders []FirstFolder) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := makeParents(ops, filepath.Dir(dir))
	if err == nil {
		err = makeWhole(ctx, ops, dir, folders)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", dir, diskError(err))
	}
	return nil
}

// makeParents makes dir and what it is in; each is on disk before the next.
func makeParents(ops *maildir.Ops, dir string) error {
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, d)
	}
	for _, d := range slices.Backward(missing) {
		if err := ops.Mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := ops.SyncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

func makeWhole(ctx context.Context, ops *maildir.Ops, dir string, folders []FirstFolder) error {
	// A name that nobody has: one made of dir's might be another user's.
	parent := filepath.Dir(dir)
	fresh := filepath.Join(parent, ".first-"+maildir.NewNamer().Next().Tmp())
	if err := ops.Mkdir(fresh); err != nil {
		return err
	}
	err := ops.MakeTree(fresh, false)
	if err == nil {
		err = makeFirst(ctx, ops, fresh, folders)
	}
	if err == nil {
		err = ops.RenameNew(fresh, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return ops.SyncDir(parent)
}

// makeFirst makes the folders of an account that nobody has opened yet.
func makeFirst(ctx context.Context, ops *maildir.Ops, dir string, folders []FirstFolder) (err error) {
	if len(folders) == 0 {
		return nil
	}
	a, err := Open(ctx, Options{Maildir: dir, ops: ops})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	for _, f := range folders {
		var use []imap.MailboxAttr
		if f.Use != "" {
			use = append(use, useAttrs[f.Use])
		}
		if err := a.Create(ctx, f.Name, use...); err != nil {
			return err
		}
		if f.Subscribed {
			if err := a.Subscribe(ctx, f.Name, true); err != nil {
				return err
			}
		}
	}
	return nil
}
