package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Sub is one of the three directories of a mailbox.
type Sub uint8

// The directories.
const (
	Cur Sub = iota
	New
	Tmp
)

func (s Sub) String() string { return [...]string{"cur", "new", "tmp"}[s] }

// ErrIrregular says that a name is not that of a regular file. A Maildir may
// hold anything its owner can make; links are not followed, and nothing else is
// opened.
var ErrIrregular = errors.New("not a regular file")

// Folder is one mailbox directory, held open: its calls reach the same
// directories even after these have been renamed, and follow no link. They may
// be made by several goroutines; after Close they fail.
type Folder struct {
	path string
	ops  *Ops

	mu   sync.RWMutex // held for writing by Close only
	root int
	subs [3]int
	lack [3]bool         // of what OpenSource has not found
	hint [3]atomic.Int64 // length of the last Listing
}

// OpenFolder opens the directory and its cur, new and tmp, none of which may be
// a link. ops nil is the zero Ops.
func OpenFolder(path string, ops *Ops) (*Folder, error) { return openFolder(path, ops, false) }

// OpenSource is OpenFolder for who only reads: what is missing of cur, new and tmp, as in a
// backup that has no empty directories, is taken for empty.
func OpenSource(path string) (*Folder, error) { return openFolder(path, nil, true) }

func openFolder(path string, ops *Ops, some bool) (*Folder, error) {
	if ops == nil {
		ops = &Ops{}
	}
	f := &Folder{path: path, ops: ops, root: -1, subs: [3]int{-1, -1, -1}}
	var err error
	if f.root, err = openDirAt(unix.AT_FDCWD, path); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	for s := Cur; s <= Tmp; s++ {
		f.subs[s], err = openDirAt(f.root, s.String())
		if f.lack[s] = some && errors.Is(err, fs.ErrNotExist); err != nil && !f.lack[s] {
			f.Close()
			return nil, &fs.PathError{Op: "open", Path: filepath.Join(path, s.String()), Err: err}
		}
	}
	return f, nil
}

// Close gives the descriptors back.
func (f *Folder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	closeFD(f.root)
	f.root = -1
	for i, fd := range f.subs {
		closeFD(fd)
		f.subs[i] = -1
	}
}

// hold keeps the descriptors of f, and of another folder if that is not f, from
// being closed until release is called.
func (f *Folder) hold(other *Folder) (release func()) {
	f.mu.RLock()
	if other == nil || other == f {
		return f.mu.RUnlock
	}
	other.mu.RLock()
	return func() {
		other.mu.RUnlock()
		f.mu.RUnlock()
	}
}

// Moved tells whether a path leads elsewhere than to the folder: another
// program has renamed or removed the directory.
func (f *Folder) Moved(path string) bool {
	defer f.hold(nil)()
	var here, there unix.Stat_t
	if unix.Fstat(f.root, &here) != nil {
		return false // closed, or out of order: not known
	}
	if err := unix.Lstat(path, &there); err != nil {
		return err == unix.ENOENT
	}
	return here.Dev != there.Dev || here.Ino != there.Ino
}

// Path is where the folder was when it was opened.
func (f *Folder) Path() string { return f.path }

func openDirAt(dirfd int, name string) (int, error) {
	return unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}

func (f *Folder) name(s Sub, name string) string {
	return filepath.Join(f.path, s.String(), name)
}

func (f *Folder) fail(call string, s Sub, name string, err error) error {
	return &fs.PathError{Op: call, Path: f.name(s, name), Err: err}
}

// List looks at a directory of the folder. It must not be called for the same
// directory by two goroutines at once.
func (f *Folder) List(s Sub) (*Listing, error) {
	defer f.hold(nil)()
	if f.lack[s] {
		return &Listing{Snapshot: true}, nil
	}
	read := func() (*Listing, error) {
		return readDir(f.subs[s], int(f.hint[s].Load()), !f.ops.Joined && isSnapshotFS(f.subs[s]))
	}
	if f.ops.Pieces {
		read = func() (*Listing, error) { return readPieces(f.subs[s]) }
	}
	l, err := read()
	if err != nil {
		return nil, f.fail("read", s, "", err)
	}
	f.hint[s].Store(int64(len(l.data)))
	return l, nil
}

// Stat is what is known of a file without reading it.
type Stat struct {
	Dev, Ino uint64
	Size     int64
	ModTime  time.Time
	Change   time.Time // ctime
	Regular  bool
}

func newStat(st *unix.Stat_t) Stat {
	return Stat{
		Dev:     uint64(st.Dev),
		Ino:     st.Ino,
		Size:    st.Size,
		ModTime: time.Unix(st.Mtim.Unix()),
		Change:  time.Unix(st.Ctim.Unix()),
		Regular: st.Mode&unix.S_IFMT == unix.S_IFREG,
	}
}

// Stat looks at a file; name "" is the directory itself.
func (f *Folder) Stat(s Sub, name string) (Stat, error) {
	defer f.hold(nil)()
	var st unix.Stat_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	if err := unix.Fstatat(f.subs[s], name, &st, flags); err != nil {
		return Stat{}, f.fail("stat", s, name, err)
	}
	return newStat(&st), nil
}

// Born gives when a file was made, which nobody can set; the zero time where the
// file system does not say.
func (f *Folder) Born(s Sub, name string) (time.Time, error) {
	defer f.hold(nil)()
	var st unix.Statx_t
	if err := unix.Statx(f.subs[s], name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st); err != nil {
		return time.Time{}, f.fail("stat", s, name, err)
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}, nil
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), nil
}

// Open opens a message for reading. ErrIrregular if it is anything but a
// regular file; it never waits for the other end of a pipe.
func (f *Folder) Open(s Sub, name string) (*File, error) {
	defer f.hold(nil)()
	file, err := openRegularAt(f.subs[s], name)
	if err != nil {
		return nil, f.fail("open", s, name, err)
	}
	file.name = f.name(s, name)
	return file, nil
}

// Create makes a new file in tmp.
func (f *Folder) Create(name string) (*os.File, error) {
	defer f.hold(nil)()
	path := f.name(Tmp, name)
	if err := f.ops.trace(Op{Call: "create", Path: path}); err != nil {
		return nil, f.fail("create", Tmp, name, err)
	}
	fd, err := unix.Openat(f.subs[Tmp], name,
		unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(FileMode))
	if err != nil {
		return nil, f.fail("create", Tmp, name, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Scratch makes a file in tmp that nobody else sees, and that goes when it is closed.
func (f *Folder) Scratch(name string) (*os.File, error) {
	file, err := f.Create(name)
	if err != nil {
		return nil, err
	}
	if err := f.Unlink(Tmp, name); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Rename moves a message to another name, directory or folder. It fails with
// fs.ErrExist rather than replace anything.
func (f *Folder) Rename(s Sub, name string, to *Folder, ts Sub, newName string) error {
	defer f.hold(to)()
	if err := f.ops.trace(Op{Call: "rename", Path: f.name(s, name), To: to.name(ts, newName)}); err != nil {
		return f.fail("rename", s, name, err)
	}
	err := unix.Renameat2(f.subs[s], name, to.subs[ts], newName, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // the file system cannot
		if err = unix.Linkat(f.subs[s], name, to.subs[ts], newName, 0); err == nil {
			err = unix.Unlinkat(f.subs[s], name, 0)
		}
	}
	if err != nil {
		return f.fail("rename", s, name, err)
	}
	return nil
}

// Link gives a message a second name. It replaces nothing and follows no link.
func (f *Folder) Link(s Sub, name string, to *Folder, ts Sub, newName string) error {
	defer f.hold(to)()
	if err := f.ops.trace(Op{Call: "link", Path: f.name(s, name), To: to.name(ts, newName)}); err != nil {
		return f.fail("link", s, name, err)
	}
	if err := unix.Linkat(f.subs[s], name, to.subs[ts], newName, 0); err != nil {
		return f.fail("link", s, name, err)
	}
	return nil
}

// Unlink removes a message.
func (f *Folder) Unlink(s Sub, name string) error {
	defer f.hold(nil)()
	if err := f.ops.trace(Op{Call: "unlink", Path: f.name(s, name)}); err != nil {
		return f.fail("unlink", s, name, err)
	}
	if err := unix.Unlinkat(f.subs[s], name, 0); err != nil {
		return f.fail("unlink", s, name, err)
	}
	return nil
}

// SetTime sets the modification time of a file, which is the INTERNALDATE.
func (f *Folder) SetTime(s Sub, name string, t time.Time) error {
	defer f.hold(nil)()
	if err := f.ops.trace(Op{Call: "utimes", Path: f.name(s, name)}); err != nil {
		return f.fail("utimes", s, name, err)
	}
	ts, err := unix.TimeToTimespec(t)
	if err == nil {
		err = unix.UtimesNanoAt(f.subs[s], name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return f.fail("utimes", s, name, err)
	}
	return nil
}

// Sync makes the entries of a directory durable.
func (f *Folder) Sync(s Sub) error {
	defer f.hold(nil)()
	return f.ops.syncDirFD(f.subs[s], f.name(s, ""))
}

// tmpLifetime is how long a file may stay in tmp: whoever began it is done or
// dead after 36 hours.
const tmpLifetime = 36 * time.Hour

// PurgeTmp removes what others have left in tmp, and tells how many files that
// were. Files that start with a dot are not ours to judge.
func (f *Folder) PurgeTmp(now time.Time) (int, error) {
	l, err := f.List(Tmp)
	if err != nil {
		return 0, err
	}
	defer l.Release()
	n := 0
	var errs []error
	for i := range l.Len() {
		name := string(l.Name(i))
		if name[0] == '.' {
			continue
		}
		st, err := f.Stat(Tmp, name)
		if err != nil || !st.Regular || now.Sub(st.Change) < tmpLifetime {
			continue
		}
		if err := f.Unlink(Tmp, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		n++
	}
	if len(errs) > 0 {
		return n, fmt.Errorf("purge %s: %w", f.name(Tmp, ""), errors.Join(errs...))
	}
	return n, nil
}
