package reconcile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is a directory that nobody but root and whoever runs the program can
// change or put another in the place of. It is held open, so what is done in it
// is done in the directory that was checked.
type Dir struct {
	path   string
	fd     int
	shared bool // others may add names: it is sticky, see OpenParent
}

// UnsafeError says that somebody else can change a directory on the way to a
// place where the program was to work with its own rights.
type UnsafeError struct {
	Path   string // the directory
	Reason string
	Remedy string // the command that ends it; "": the directory is meant for all, take another
}

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("%s %s: whoever can write there can lead the program astray", e.Path, e.Reason)
}

// OpenDir opens a directory and checks every directory on the way to it. With
// create, the directories that are missing are made with mode 0755.
func OpenDir(path string, create bool) (*Dir, error) {
	return openWalk(&walk{create: create}, path)
}

// OpenParent opens the directory that path is in, as OpenDir does. It may also be
// one in which others can make names of their own but not touch ours, such as
// /tmp: if what path names there is ours, or nothing yet. Whoever makes it asks
// Owned whether somebody else was faster.
func OpenParent(path string, create bool) (*Dir, error) {
	path = filepath.Clean(path)
	return openWalk(&walk{create: create, last: filepath.Base(path)}, filepath.Dir(path))
}

func openWalk(w *walk, path string) (*Dir, error) {
	if !filepath.IsAbs(path) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not an absolute path")}
	}
	defer w.close()
	shared, err := w.run(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	// The walk holds a path descriptor; working in a directory needs a real one.
	fd, err := unix.Openat(w.top(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{path: path, fd: fd, shared: shared}, nil
}

// Owned fails where a directory just made or found in d may be somebody else's.
func (d *Dir) Owned(name string, st *unix.Stat_t) error {
	if d.shared && !trusted(st.Uid) {
		path := filepath.Join(d.path, name)
		return &UnsafeError{Path: path, Reason: "belongs to " + uidName(st.Uid), Remedy: takeOver(path, uint32(os.Geteuid()))}
	}
	return nil
}

// DirAt is a directory that the caller has opened and checked; Close closes fd.
func DirAt(fd int, path string) *Dir { return &Dir{path: path, fd: fd} }

// Close gives the descriptor back.
func (d *Dir) Close() { unix.Close(d.fd) }

// Path is the directory as it was named.
func (d *Dir) Path() string { return d.path }

// FD is the descriptor of the directory, for calls relative to it.
func (d *Dir) FD() int { return d.fd }

func (d *Dir) fail(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}

// walk goes down a path step by step, by descriptors.
type walk struct {
	create bool
	fds    []int    // of the directories from the root to where it is
	names  []string // their names; the root has ""
	owner  uint32   // of the last directory that it came by, which is trusted
	links  int
	last   string // what is to be made or found at its end; "" is anything
}

// ours says that what the walk is to find at its end is ours, or not there.
func (w *walk) ours() bool {
	var st unix.Stat_t
	err := unix.Fstatat(w.top(), w.last, &st, unix.AT_SYMLINK_NOFOLLOW)
	return w.last != "" && (err == unix.ENOENT || err == nil && trusted(st.Uid))
}

func (w *walk) top() int { return w.fds[len(w.fds)-1] }

func (w *walk) where() string { return "/" + strings.Join(w.names[1:], "/") }

func (w *walk) close() {
	for _, fd := range w.fds {
		unix.Close(fd)
	}
}

const pathFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// run walks a path. shared says that others can add names to where it ends.
func (w *walk) run(path string) (shared bool, err error) {
	fd, err := unix.Open("/", pathFlags, 0)
	if err != nil {
		return false, &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	w.fds, w.names = []int{fd}, []string{""}
	left := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for len(left) > 0 {
		name := left[0]
		left = left[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			w.up()
			continue
		}
		target, err := w.step(name)
		if err != nil {
			return false, err
		}
		if target != "" {
			if filepath.IsAbs(target) {
				w.toRoot()
			}
			left = append(strings.Split(target, "/"), left...)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(w.top(), &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: w.where(), Err: err}
	}
	if err := w.check(&st, false); err == nil || !w.ours() {
		return false, err
	}
	return true, w.check(&st, true)
}

func (w *walk) up() {
	if n := len(w.fds); n > 1 {
		unix.Close(w.fds[n-1])
		w.fds, w.names = w.fds[:n-1], w.names[:n-1]
	}
}

func (w *walk) toRoot() {
	for len(w.fds) > 1 {
		w.up()
	}
}

// step goes into one directory, or gives the target of a link.
func (w *walk) step(name string) (target string, err error) {
	path := filepath.Join(w.where(), name)
	var dir, st unix.Stat_t
	if err := unix.Fstat(w.top(), &dir); err != nil {
		return "", &fs.PathError{Op: "stat", Path: w.where(), Err: err}
	}
	err = unix.Fstatat(w.top(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT && w.create {
		if err := w.check(&dir, true); err != nil {
			return "", err
		}
		if err = w.mkdir(name); err == nil || err == unix.EEXIST { // by another who had the same to do
			err = unix.Fstatat(w.top(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		}
	}
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if err := w.check(&dir, trusted(st.Uid)); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return w.link(name, path, &st)
	}
	fd, err := unix.Openat(w.top(), name, pathFlags, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	w.fds, w.names = append(w.fds, fd), append(w.names, name)
	return "", nil
}

func (w *walk) mkdir(name string) error {
	if err := unix.Mkdirat(w.top(), name, 0o755); err != nil {
		return err
	}
	fd, err := unix.Openat(w.top(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o755); err != nil {
		return err
	}
	parent, err := unix.Openat(w.top(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	return unix.Fsync(parent)
}

func (w *walk) link(name, path string, st *unix.Stat_t) (string, error) {
	if w.links++; w.links > 40 {
		return "", &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
	}
	if !trusted(st.Uid) {
		return "", &UnsafeError{Path: path, Reason: "is a link that belongs to " + uidName(st.Uid), Remedy: takeOver(path, w.owner)}
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(w.top(), name, buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(buf[:n]), nil
}

// check refuses the directory where the walk is if somebody else can write it. One
// that is sticky, such as /tmp, may be passed on the way to something that is ours,
// which nobody else can rename there, or that we are about to make.
func (w *walk) check(st *unix.Stat_t, passing bool) error {
	path := w.where()
	if !trusted(st.Uid) {
		return &UnsafeError{Path: path, Reason: "belongs to " + uidName(st.Uid), Remedy: takeOver(path, w.owner)}
	}
	w.owner = st.Uid
	group, sticky := st.Mode&0o020 != 0, st.Mode&unix.S_ISVTX != 0
	if passing && sticky {
		return nil
	}
	if st.Mode&0o002 != 0 || group && !trustedGroup(st.Gid) {
		e := &UnsafeError{Path: path, Reason: fmt.Sprintf("has mode %04o", st.Mode&0o7777)}
		if !sticky {
			e.Remedy = "chmod go-w " + path
		}
		return e
	}
	if !group {
		return nil
	}
	writer, err := aclWriter(w.top())
	if err != nil {
		return &fs.PathError{Op: "read the ACL of", Path: path, Err: err}
	}
	if writer != "" {
		return &UnsafeError{Path: path, Reason: "has an ACL by which " + writer + " can write", Remedy: "setfacl -b " + path}
	}
	return nil
}

// aclWriter names somebody else who may write a directory by its ACL. The mode has
// the right of the group then, as the mask of the ACL.
func aclWriter(fd int) (string, error) {
	acl := make([]byte, 64<<10) // what a value has room for
	n, err := unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", fd), "system.posix_acl_access", acl)
	switch {
	case err == unix.ENODATA || err == unix.ENOTSUP:
		return "", nil
	case err != nil:
		return "", err
	}
	const version, size, user, group = 4, 8, 0x02, 0x08 // linux/posix_acl_xattr.h
	for e := acl[min(version, n):n]; len(e) >= size; e = e[size:] {
		tag, perm, id := binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[2:]), binary.LittleEndian.Uint32(e[4:])
		switch {
		case perm&0o2 == 0:
		case tag == user && !trusted(id):
			return uidName(id), nil
		case tag == group && !trustedGroup(id):
			return fmt.Sprintf("gid %d", id), nil
		}
	}
	return "", nil
}

func trusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// trustedGroup accepts the groups that a distribution ships for its own
// directories, such as "mail" of /var/mail, and a user's own. The group "users"
// is number 100.
func trustedGroup(gid uint32) bool {
	return gid < 100 || os.Geteuid() != 0 && int(gid) == os.Getegid()
}

// takeOver is the command that gives what is in the way to the owner of what it is in:
// who looks as an ordinary user is not to have what is below root's directories.
func takeOver(path string, owner uint32) string { return fmt.Sprintf("chown -h %d %s", owner, path) }

func uidName(uid uint32) string { return fmt.Sprintf("uid %d", uid) }

var (
	errIrregular = errors.New("not a regular file")
	errTooLarge  = errors.New("larger than any such file should be")
)
