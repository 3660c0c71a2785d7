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
// account. Nobody else may make it at the same time.
func Make(ctx context.Context, dir string, folders []FirstFolder) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	fresh := filepath.Join(parent, filepath.Base(dir)+".first")
	err := errors.Join(makeParents(parent), os.RemoveAll(fresh))
	if err == nil {
		err = maildir.MakeTree(fresh, false)
	}
	if err == nil {
		err = makeFirst(ctx, fresh, folders)
	}
	if err == nil {
		err = os.Rename(fresh, dir)
	}
	if err == nil {
		err = new(maildir.Ops).SyncDir(parent)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", dir, spaceError(err))
	}
	return nil
}

// makeParents makes dir and what it is in; each is on disk before the next.
func makeParents(dir string) error {
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, d)
	}
	for _, d := range slices.Backward(missing) {
		if err := os.Mkdir(d, maildir.DirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := new(maildir.Ops).SyncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

// makeFirst makes the folders of an account that nobody has opened yet.
func makeFirst(ctx context.Context, dir string, folders []FirstFolder) (err error) {
	if len(folders) == 0 {
		return nil
	}
	a, err := Open(ctx, Options{Maildir: dir})
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
