package kind

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// Directory is a directory in a directory that only root (or who runs the
// program) writes. Missing parents are made with mode 0755. Owner and group are
// names; "" is who runs the program. It goes only if it is empty.
func Directory(path string, mode fs.FileMode, owner, group, origin string) reconcile.Resource {
	return reconcile.Resource{
		Ref:    reconcile.Ref{Kind: "directory", Name: path},
		Origin: origin,
		Attrs:  modeAttrs(mode, owner, group),
	}
}

// MailDirectory is the directory that holds the mail of virtual users. It is like
// Directory, but never goes.
func MailDirectory(path string, mode fs.FileMode, owner, group, origin string) reconcile.Resource {
	r := Directory(path, mode, owner, group, origin)
	r.Ref = MailDirectoryRef(path)
	return r
}

func modeAttrs(mode fs.FileMode, owner, group string) []reconcile.Attr {
	if owner == "" {
		owner = Self
	}
	if group == "" {
		group = Self
	}
	return []reconcile.Attr{
		{Name: "mode", Value: modeString(mode), Impact: reconcile.Live},
		{Name: "owner", Value: owner, Impact: reconcile.Live},
		{Name: "group", Value: group, Impact: reconcile.Live},
	}
}

// modeString is a mode as chmod(1) takes it, such as "0750".
func modeString(mode fs.FileMode) string {
	m := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		m |= 0o4000
	}
	if mode&fs.ModeSetgid != 0 {
		m |= 0o2000
	}
	if mode&fs.ModeSticky != 0 {
		m |= 0o1000
	}
	return fmt.Sprintf("%04o", m)
}

// DirectoryRef names a directory.
func DirectoryRef(path string) reconcile.Ref {
	return reconcile.Ref{Kind: "directory", Name: path}
}

// MailDirectoryRef names the directory that holds the mail of virtual users.
func MailDirectoryRef(path string) reconcile.Ref {
	return reconcile.Ref{Kind: "mail-directory", Name: path}
}

func observeDirectory(ctx context.Context, ask reconcile.Ask) (*reconcile.Resource, error) {
	d, st, err := lookAt(ask.Ref.Name, unix.S_IFDIR)
	if err != nil || d == nil {
		return nil, err
	}
	defer d.Close()
	return found(ask.Resource, foundMode(ctx, ask, st)...), nil
}

// lookAt opens the directory that a path is in, and looks at its name there. It
// gives nil where there is nothing; otherwise the caller closes the directory.
func lookAt(path string, typ uint32) (*reconcile.Dir, *unix.Stat_t, error) {
	if err := checkPath(path); err != nil {
		return nil, nil, err
	}
	d, err := openParent(path, typ)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := statAt(d, filepath.Base(path), typ)
	if err != nil || st == nil {
		d.Close()
		return nil, nil, err
	}
	return d, st, nil
}

// openParent opens the directory that a path is in. A directory may be in one
// that others can add names to; it keeps them out by itself.
func openParent(path string, typ uint32) (*reconcile.Dir, error) {
	if typ == unix.S_IFDIR {
		return reconcile.OpenParent(path, false)
	}
	return reconcile.OpenDir(filepath.Dir(path), false)
}

// statAt looks at one name in a directory, and refuses what is there if it is
// something else than the type. It gives nil where there is nothing.
func statAt(d *reconcile.Dir, name string, typ uint32) (*unix.Stat_t, error) {
	var st unix.Stat_t
	path := filepath.Join(d.Path(), name)
	err := unix.Fstatat(d.FD(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == unix.ENOENT:
		return nil, nil
	case err != nil:
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	case st.Mode&unix.S_IFMT == typ:
		return &st, nil
	}
	return nil, fmt.Errorf("%s is %s, want %s: move it away", path, typeName(st.Mode), typeName(typ))
}

func typeName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFREG:
		return "a file"
	case unix.S_IFLNK:
		return "a symbolic link"
	}
	return "a special file"
}

func foundMode(ctx context.Context, ask reconcile.Ask, st *unix.Stat_t) []value {
	owner, group := ownerNames(ctx, int(st.Uid), int(st.Gid), ask.Get("owner"), ask.Get("group"))
	return []value{
		{name: "mode", value: fmt.Sprintf("%04o", st.Mode&0o7777)},
		{name: "owner", value: owner},
		{name: "group", value: group},
	}
}

func applyDirectory(ctx context.Context, c reconcile.Change) error {
	path := c.Ref.Name
	d, err := reconcile.OpenParent(path, c.Want != nil)
	if err != nil {
		return err
	}
	defer d.Close()
	name := filepath.Base(path)
	if c.Want == nil {
		return removeDirectory(d, name)
	}
	mode, uid, gid, err := wantedMode(ctx, c.Want)
	if err != nil {
		return err
	}
	if err := unix.Mkdirat(d.FD(), name, 0o700); err != nil && err != unix.EEXIST {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	fd, err := unix.Openat(d.FD(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := d.Owned(name, &st); err != nil {
		return err
	}
	if err := setMode(fd, path, mode, uid, gid); err != nil {
		return err
	}
	return d.Sync()
}

func removeDirectory(d *reconcile.Dir, name string) error {
	err := unix.Unlinkat(d.FD(), name, unix.AT_REMOVEDIR)
	switch err {
	case unix.ENOTEMPTY, unix.EEXIST:
		return reconcile.Kept("it is not empty, and stays")
	case nil, unix.ENOENT:
		return d.Sync()
	}
	return &fs.PathError{Op: "remove", Path: filepath.Join(d.Path(), name), Err: err}
}

// wantedMode gives the numbers behind the attributes mode, owner and group.
func wantedMode(ctx context.Context, want *reconcile.Resource) (mode uint32, uid, gid int, err error) {
	m, err := strconv.ParseUint(want.Get("mode"), 8, 12)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("mode %q: %w", want.Get("mode"), err)
	}
	uid, gid, err = ownerIDs(ctx, want.Get("owner"), want.Get("group"))
	return uint32(m), uid, gid, err
}

// setMode gives an open file or directory its owner and then its mode; the other
// way round the kernel would take the special bits away again.
func setMode(fd int, path string, mode uint32, uid, gid int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if int(st.Uid) != uid || int(st.Gid) != gid {
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return &fs.PathError{Op: "chown", Path: path, Err: err}
		}
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}
