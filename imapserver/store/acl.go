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
	"sync"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// Rights are rights to a mailbox (RFC 4314 §2.1).
type Rights = maildir.Rights

// The rights.
const (
	RightLookup  = maildir.RightLookup
	RightRead    = maildir.RightRead
	RightSeen    = maildir.RightSeen
	RightWrite   = maildir.RightWrite
	RightInsert  = maildir.RightInsert
	RightPost    = maildir.RightPost
	RightCreate  = maildir.RightCreate
	RightDelete  = maildir.RightDelete
	RightDeleted = maildir.RightDeleted
	RightExpunge = maildir.RightExpunge
	RightAdmin   = maildir.RightAdmin
	AllRights    = maildir.AllRights
)

// ACL is who has which rights to a mailbox, and Grant a line of it.
type (
	ACL   = maildir.ACL
	Grant = maildir.Grant
)

// The identifiers of an ACL; IDUser and IDGroup go before a name.
const (
	IDOwner  = maildir.IDOwner
	IDAnyone = maildir.IDAnyone
	IDUser   = maildir.IDUser
	IDGroup  = maildir.IDGroup
)

// ParseRights reads the letters of rights.
func ParseRights(letters string) Rights { return maildir.ParseRights(letters) }

// CheckID tells whether an ACL can have an identifier.
func CheckID(id string) error { return maildir.CheckID(id) }

// aclFiles reads the files with rights of a Maildir tree, which any program may
// replace at any time: a file is read again when it is another one.
type aclFiles struct {
	top string // the top Maildir

	mu   sync.Mutex
	read map[string]aclFile // by path
}

// of gives the rights to the mailbox of a directory: what its own file says or,
// where there is none, that of the nearest name above it (as Courier does).
func (f *aclFiles) of(dir string) (ACL, error) {
	for ; ; dir = above(dir) {
		acl, ok, err := f.own(dir)
		if err != nil || ok {
			return acl, err
		}
		if dir == "." {
			return maildir.DefaultACL(), nil
		}
	}
}

// own gives what is said of that very name.
func (f *aclFiles) own(dir string) (acl ACL, ok bool, err error) {
	acl, ok, err = f.get(filepath.Join(f.top, dir, maildir.ACLFile))
	if ok || err != nil || dir == "." {
		return acl, ok, err
	}
	return f.get(filepath.Join(f.top, maildir.ACLDir, dir[1:]))
}

// aclFile is a file as it was read.
type aclFile struct {
	ino   uint64
	ctime int64
	size  int64
	acl   ACL
}

// maxACLFiles is how many files are kept in memory.
const maxACLFiles = 1000

// get gives the ACL of a file; ok is false where there is none.
func (f *aclFiles) get(path string) (acl ACL, ok bool, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err == unix.ENOENT || err == unix.ENOTDIR {
		return nil, false, nil
	} else if err != nil {
		return nil, false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	now := aclFile{ino: st.Ino, ctime: st.Ctim.Nano(), size: st.Size}
	f.mu.Lock()
	old, known := f.read[path]
	f.mu.Unlock()
	if known && old.ino == now.ino && old.ctime == now.ctime && old.size == now.size {
		return old.acl, true, nil
	}
	if now.acl, err = readACL(path, st.Size); errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read == nil || len(f.read) >= maxACLFiles {
		f.read = make(map[string]aclFile)
	}
	f.read[path] = now
	return now.acl, true, nil
}

// forget has a file read again.
func (f *aclFiles) forget(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.read, path)
}

// readACL reads a file of that size.
func readACL(path string, size int64) (ACL, error) {
	if size > maildir.MaxACL {
		return nil, fmt.Errorf("read %s: %d octets, more than %d", path, size, maildir.MaxACL)
	}
	data, err := maildir.ReadFile(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		return nil, err
	}
	return maildir.ParseACL(data), nil
}

// Rights gives what a user has of a mailbox, whether or not it exists.
func (a *Account) Rights(ctx context.Context, name, user string, owner bool) (Rights, error) {
	dir, err := a.dirOf(name)
	if err != nil {
		return 0, err
	}
	return a.rightsOf(dir, user, owner), ctx.Err()
}

// Rights gives what a user has of the view's mailbox.
func (v *View) Rights(user string, owner bool) Rights {
	v.mb.mu.Lock()
	dir := v.mb.dir
	v.mb.mu.Unlock()
	return v.mb.a.rightsOf(dir, user, owner)
}

// RightsToMake gives what a user has of the nearest mailbox above a name that
// there is, which INBOX is for all others (RFC 4314 §4, CREATE).
func (a *Account) RightsToMake(ctx context.Context, name, user string, owner bool) (Rights, error) {
	dir, err := a.dirOf(name)
	if err != nil {
		return 0, err
	}
	for dir = above(dir); dir != "."; dir = above(dir) {
		if st, err := os.Lstat(filepath.Join(a.dir, dir)); err == nil && st.IsDir() {
			break
		}
	}
	return a.rightsOf(dir, user, owner), ctx.Err()
}

// rightsOf gives a user's rights to the mailbox of a directory.
func (a *Account) rightsOf(dir, user string, owner bool) Rights {
	return a.aclOf(dir).Rights(user, owner)
}

// ACL gives the rights to a mailbox that exists.
func (a *Account) ACL(ctx context.Context, name string) (ACL, error) {
	dir, err := a.existing(name)
	if err != nil {
		return nil, err
	}
	return a.aclOf(dir), ctx.Err()
}

// Exists tells whether there is a mailbox of that name.
func (a *Account) Exists(ctx context.Context, name string) bool {
	_, err := a.existing(name)
	return err == nil && ctx.Err() == nil
}

// existing gives the directory of a mailbox that exists.
func (a *Account) existing(name string) (dir string, err error) {
	if dir, err = a.dirOf(name); err != nil {
		return "", err
	}
	st, err := os.Lstat(filepath.Join(a.dir, dir))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return "", fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	return dir, err
}

// above gives the directory of the name one level up. INBOX is above the first
// level, as Courier has it.
func above(dir string) string {
	if i := strings.LastIndexByte(dir, '.'); i > 0 {
		return dir[:i]
	}
	return "."
}

// aclOf gives the rights to the mailbox of a directory. Of what cannot be read,
// the owner has all and nobody else anything.
func (a *Account) aclOf(dir string) ACL {
	acl, err := a.acls.of(dir)
	if err != nil {
		a.unreadable.Do(func() {
			a.log.Error("rights cannot be read: the owner has them all, nobody else any", "dir", dir, "error", err)
		})
		return maildir.DefaultACL()
	}
	return acl
}

// RightsChanged counts how often rights may have changed through the account.
func (a *Account) RightsChanged() uint64 { return a.rightsChanged.Load() }

// ChangeACL replaces the rights to a mailbox by what change makes of them; the
// rights to others stay as they are. Once it returns, they survive a power cut.
func (a *Account) ChangeACL(ctx context.Context, name string, change func(ACL) (ACL, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed
	}
	dir, err := a.existing(name)
	if err != nil {
		return err
	}
	acl, err := change(a.aclOf(dir))
	if err == nil {
		err = a.settle(dir)
	}
	if err == nil {
		err = a.writeACL(dir, acl)
	}
	if err != nil {
		return fmt.Errorf("change the rights to %q: %w", name, diskError(err))
	}
	return nil
}

// writeACL writes the file of a mailbox, or that of a name which has none.
func (a *Account) writeACL(dir string, acl ACL) error {
	data, err := maildir.EncodeACL(acl)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrACL, err)
	}
	in, name := filepath.Join(a.dir, dir), maildir.ACLFile
	if st, err := os.Lstat(in); err != nil || !st.IsDir() {
		in, name = filepath.Join(a.dir, maildir.ACLDir), dir[1:]
		err := a.ops.Mkdir(in)
		if err == nil {
			err = a.ops.SyncDir(a.dir)
		}
		if errors.Is(err, fs.ErrExist) {
			err = realDir(in)
		}
		if err != nil {
			return err
		}
	}
	defer a.rightsChanged.Add(1)
	defer a.acls.forget(filepath.Join(in, name))
	return a.ops.WriteFile(in, name, maildir.FileMode, data)
}

// settle gives the names below one that follow its rights a file of their own,
// so that they keep what they have when those change. a.mu is held.
func (a *Account) settle(dir string) error {
	acl := a.aclOf(dir)
	dirs, err := a.folderDirs()
	if err != nil {
		return err
	}
	prefix := strings.TrimSuffix(dir, ".") + "."
	var done string
	for _, d := range dirs {
		if !strings.HasPrefix(d, prefix) || !a.isFolder(d) {
			continue
		}
		// The first level of it below dir; what is deeper follows that.
		child := d
		if i := strings.IndexByte(d[len(prefix):], '.'); i >= 0 {
			child = d[:len(prefix)+i]
		}
		if child == done {
			continue
		}
		done = child
		if _, ok, err := a.acls.own(child); ok || err != nil {
			continue // what cannot be read is nobody's but the owner's already
		}
		if err := a.writeACL(child, acl); err != nil {
			return err
		}
	}
	return nil
}

// isFolder tells whether an entry of the top Maildir is that of a mailbox.
func (a *Account) isFolder(dir string) bool {
	if _, err := maildir.DecodeName(dir, a.enc); err != nil {
		return false
	}
	st, err := os.Lstat(filepath.Join(a.dir, dir))
	return err == nil && st.IsDir()
}

// keepACLs has mailboxes keep their rights that are about to be renamed. a.mu is
// held.
func (a *Account) keepACLs(moves []renamed) error {
	over := a.aclOf(moves[len(moves)-1].dest) // what they would follow
	kept := make([]ACL, len(moves))
	for i, m := range moves {
		kept[i] = a.aclOf(m.dir)
	}
	for i, m := range moves {
		_, err := os.Lstat(filepath.Join(a.dir, m.dir, maildir.ACLFile))
		if !errors.Is(err, fs.ErrNotExist) || isDefault(kept[i]) && isDefault(over) {
			continue // a file goes along
		}
		if err := a.writeACL(m.dir, kept[i]); err != nil {
			return err
		}
	}
	return nil
}

func isDefault(acl ACL) bool { return slices.Equal(acl, maildir.DefaultACL()) }

// dropACL removes what is said of a name that has just gone, beside its own
// directory. What stays does no harm until there is such a name again. a.mu is
// held.
func (a *Account) dropACL(dir string) {
	path := filepath.Join(a.dir, maildir.ACLDir, dir[1:])
	if _, err := os.Lstat(path); err != nil {
		return
	}
	defer a.rightsChanged.Add(1)
	if err := a.removeAll(path); err != nil {
		a.log.Warn("rights to a mailbox that is gone are left", "dir", dir, "error", err)
	}
}
