package kind

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
	"mailstead/reconcile"
)

// mailDirMode is the mode of every directory of a Maildir.
const mailDirMode = uint32(maildir.DirMode)

// subdirs are the directories of every mailbox, in the order in which they are
// made: a Maildir with a cur can be delivered into.
var subdirs = []string{"tmp", "new", "cur"}

// tree is an opened Maildir. Everything in it is reached from its descriptors,
// and no link is followed. It is used with the rights of its owner. What is made
// in it is synced by its mailWorker.
type tree struct {
	dir   *node
	owner identity
}

// node is an opened directory of a tree. The descriptor is good for looking and
// for making things below it, even where the mode forbids reading.
type node struct {
	fd   int // O_PATH
	name string
	stat unix.Stat_t
}

func (n *node) close() { unix.Close(n.fd) }

// mailPlace is where a resource of mail lies.
type mailPlace struct {
	path, home string
	owner      identity
}

func (t mailThing) place() (p mailPlace, err error) {
	p.path, p.home = t.get("path"), t.get("home")
	for _, path := range []string{p.path, p.home} {
		if err := checkPath(path); err != nil {
			return p, err
		}
	}
	p.owner, err = parseIdentity(t.get("owner"))
	return p, err
}

// split gives the directory that is opened as it is, and the path from there on
// which no link is followed.
func (p mailPlace) split() (anchor, rel string) {
	if rel, ok := strings.CutPrefix(p.path, strings.TrimSuffix(p.home, "/")+"/"); ok {
		return p.home, rel
	}
	return filepath.Dir(p.path), filepath.Base(p.path)
}

// openTree opens a Maildir; nil without an error if there is none. With create,
// its directory and those between it and the home directory are made.
func openTree(p mailPlace, create bool) (*tree, error) {
	anchor, rel := p.split()
	at, err := openAnchor(anchor, create)
	if at == nil || err != nil {
		return nil, err
	}
	t := &tree{dir: at, owner: p.owner}
	for step := range strings.SplitSeq(rel, "/") {
		next, err := t.dir.open(step)
		if errors.Is(err, fs.ErrNotExist) && create {
			next, err = t.mkdir(t.dir, step)
		}
		t.close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		t.dir = next
	}
	return t, nil
}

func (t *tree) close() { t.dir.close() }

// openAnchor opens a home directory. With create a missing one is made, which
// only works where the owner of the mail may: below the root of virtual mail.
func openAnchor(path string, create bool) (*node, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT && create {
		if err := os.Mkdir(path, fs.FileMode(mailDirMode)); err != nil {
			return nil, fmt.Errorf("no home directory: %w", err)
		}
		fd, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return newNode(fd, path)
}

func newNode(fd int, name string) (*node, error) {
	n := &node{fd: fd, name: name}
	if err := unix.Fstat(fd, &n.stat); err != nil {
		n.close()
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return n, nil
}

// beneath are the rules of every step below a home directory.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// openat opens something below a directory.
func (n *node) openat(name string, flags int, mode uint32) (int, error) {
	fd, err := unix.Openat2(n.fd, name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: beneath})
	if err == unix.ENOSYS {
		err = errors.New("this kernel has no openat2, which came with Linux 5.6")
	}
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: filepath.Join(n.name, name), Err: err}
	}
	return fd, nil
}

// open opens a directory below this one.
func (n *node) open(name string) (*node, error) {
	fd, err := n.openat(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		path := filepath.Join(n.name, name)
		var st unix.Stat_t
		if unix.Fstatat(n.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return nil, fmt.Errorf("%s is a symbolic link: name the place that it points to", path)
		}
		return nil, fmt.Errorf("%s is not a directory: move it away", path)
	}
	if err != nil {
		return nil, err
	}
	return newNode(fd, filepath.Join(n.name, name))
}

// glance looks at a directory right below this one without opening it: there are
// forty in a Maildir with ten folders.
func (n *node) glance(name string) (*node, error) {
	sub := &node{fd: -1, name: filepath.Join(n.name, name)}
	if err := unix.Fstatat(n.fd, name, &sub.stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: sub.name, Err: err}
	}
	if sub.stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		return sub, nil
	}
	wrong, err := n.open(name) // says what it is
	if err == nil {
		wrong.close() // it has become one
		return wrong, nil
	}
	return nil, err
}

// real opens the directory itself for reading.
func (n *node) real() (*os.File, error) {
	fd, err := n.openat(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), n.name), nil
}

// procPath names an O_PATH descriptor for calls that take no such.
func (n *node) procPath() string { return fmt.Sprintf("/proc/self/fd/%d", n.fd) }

// mkdir makes a directory that is the owner's alone.
func (t *tree) mkdir(parent *node, name string) (*node, error) {
	if err := unix.Mkdirat(parent.fd, name, mailDirMode); err != nil {
		return nil, &fs.PathError{Op: "mkdir", Path: filepath.Join(parent.name, name), Err: err}
	}
	n, err := parent.open(name)
	if err != nil {
		return nil, err
	}
	if err := t.repair(n); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// repair gives a directory its mode and its group, which it may have from its
// parent or from an odd umask.
func (t *tree) repair(n *node) error {
	if int(n.stat.Uid) != t.owner.uid {
		return fmt.Errorf("%s belongs to uid %d, want %d: give it to its owner with chown", n.name, n.stat.Uid, t.owner.uid)
	}
	if int(n.stat.Gid) != t.owner.gid {
		if err := os.Chown(n.procPath(), -1, t.owner.gid); err != nil {
			return fmt.Errorf("chown %s: %w", n.name, err)
		}
	}
	if n.stat.Mode&0o777 != mailDirMode {
		if err := os.Chmod(n.procPath(), fs.FileMode(mailDirMode)); err != nil {
			return fmt.Errorf("chmod %s: %w", n.name, err)
		}
	}
	return nil
}

// complete makes what is missing of a mailbox and repairs modes.
func (t *tree) complete(n *node, folder bool) error {
	if err := t.repair(n); err != nil {
		return err
	}
	for _, sub := range subdirs {
		s, err := n.open(sub)
		if errors.Is(err, fs.ErrNotExist) {
			s, err = t.mkdir(n, sub)
		}
		if err != nil {
			return err
		}
		err = t.repair(s)
		s.close()
		if err != nil {
			return err
		}
	}
	if folder {
		fd, err := n.openat(maildir.FolderMark, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, uint32(maildir.FileMode))
		if err == nil {
			unix.Close(fd)
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// folders gives the names of the directories in the tree that are mailboxes,
// sorted. Others that begin with a dot are somebody else's.
func (t *tree) folders() ([]string, error) {
	names, err := t.dots()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool {
		n, err := t.dir.open(name)
		if err != nil {
			return true
		}
		defer n.close()
		return !n.isMailbox()
	}), nil
}

// dots gives every name in the tree that begins with a dot, sorted.
func (t *tree) dots() ([]string, error) {
	f, err := t.dir.real()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, ".") })
	slices.Sort(names)
	return names, nil
}

// isMailbox tells whether any part of a mailbox is in the directory. One that
// cannot be looked into may well be one.
func (n *node) isMailbox() bool {
	for _, name := range []string{"cur", "new", "tmp", maildir.FolderMark} {
		var st unix.Stat_t
		if err := unix.Fstatat(n.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil || err == unix.EACCES {
			return true
		}
	}
	return false
}

// readFile reads a small file of a directory, nil where there is none.
func (n *node) readFile(name string) ([]byte, error) {
	f, err := n.real()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := reconcile.DirAt(int(f.Fd()), n.name).ReadFile(name, 16<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// writeFile replaces a file of a directory; one that exists keeps its mode.
func (n *node) writeFile(name string, data []byte) error {
	f, err := n.real()
	if err != nil {
		return err
	}
	defer f.Close()
	file := reconcile.FileData{Mode: uint32(maildir.FileMode), UID: -1, GID: -1, Data: data, Lazy: true}
	var st unix.Stat_t
	err = unix.Fstatat(n.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		file.Mode = st.Mode & 0o777
	}
	file.New = err == unix.ENOENT
	return reconcile.DirAt(int(f.Fd()), n.name).Replace(name, file)
}
