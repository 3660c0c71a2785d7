package maildir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Op is one call that changes files or makes changes durable.
type Op struct {
	Call string // create, write, sync, syncdir, mkdir, rename, link, unlink, utimes, rmdir
	Path string
	To   string // new path of rename and link
}

// Ops makes the calls that change files. Every change to a Maildir goes through
// one, so that a test can see the calls in their order, stop before any of
// them, and make any of them fail. The zero value is ready for use.
type Ops struct {
	// Trace, if not nil, is told of each call before it is made. Where it
	// returns an error, the call fails with that and is not made. It may be
	// called by several goroutines at once.
	Trace func(Op) error

	// Joined has every Listing be of two looks, as on a file system that gives
	// no snapshots.
	Joined bool

	// Pieces has every Listing be read as os.ReadDir reads, and taken for a
	// snapshot: a test shows by it that this loses messages.
	Pieces bool
}

func (o *Ops) trace(op Op) error {
	if o.Trace == nil {
		return nil
	}
	return o.Trace(op)
}

// SyncFile makes the content of f durable.
func (o *Ops) SyncFile(f *os.File) error {
	if LeftOut() {
		return nil
	}
	return o.syncFile(f)
}

func (o *Ops) syncFile(f *os.File) error {
	if err := o.trace(Op{Call: "sync", Path: f.Name()}); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return f.Sync()
}

// SyncFiles makes the contents of all the files durable. The writing of all is begun
// before the first is waited for, and several are waited for at once, so that the file
// system writes its journal for many and not for each: an eighth of the time on ext4.
func (o *Ops) SyncFiles(files []*os.File) error {
	if LeftOut() {
		return nil
	}
	if len(files) > 1 {
		for _, f := range files {
			unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) // if it can: no more than a beginning
		}
	}
	const atOnce = 8
	errs := make([]error, len(files))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(atOnce, len(files)) - 1 {
		all.Go(func() { o.syncSome(files, errs, &next) })
	}
	o.syncSome(files, errs, &next)
	all.Wait()
	return errors.Join(errs...)
}

// syncSome syncs files that no other goroutine has begun with, until none is left.
func (o *Ops) syncSome(files []*os.File, errs []error, next *atomic.Int64) {
	for {
		i := int(next.Add(1)) - 1
		if i >= len(files) {
			return
		}
		errs[i] = o.syncFile(files[i])
	}
}

// SyncData makes the content of f durable, but not its times.
func (o *Ops) SyncData(f *os.File) error {
	if LeftOut() {
		return nil
	}
	if err := o.trace(Op{Call: "sync", Path: f.Name()}); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
		}
	}
}

// SyncMessage makes durable the content of a message that someone else has
// written: Courier, for one, never does that. Where it is durable already, it
// costs next to nothing, even if flags have changed since.
func (o *Ops) SyncMessage(f *File) error {
	if LeftOut() {
		return nil
	}
	err := o.trace(Op{Call: "sync", Path: f.name})
	if err == nil {
		err = unix.Fdatasync(f.fd)
	}
	if err != nil {
		return &fs.PathError{Op: "sync", Path: f.name, Err: err}
	}
	return nil
}

// SyncDir makes the entries of a directory durable.
func (o *Ops) SyncDir(path string) error {
	if LeftOut() {
		return nil
	}
	if err := o.trace(Op{Call: "syncdir", Path: path}); err != nil {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	d, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func (o *Ops) write(f *os.File, data []byte) error {
	_, err := o.Writer(f).Write(data)
	return err
}

// syncDirFD is SyncDir for a directory that is open.
func (o *Ops) syncDirFD(fd int, path string) error {
	if LeftOut() {
		return nil
	}
	err := o.trace(Op{Call: "syncdir", Path: path})
	if err == nil {
		err = unix.Fsync(fd)
	}
	if err != nil {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	return nil
}

// Writer gives what writes to f.
func (o *Ops) Writer(f *os.File) io.Writer { return opsWriter{o, f} }

type opsWriter struct {
	ops  *Ops
	file *os.File
}

func (w opsWriter) Write(data []byte) (int, error) {
	if err := w.ops.trace(Op{Call: "write", Path: w.file.Name()}); err != nil {
		return 0, &fs.PathError{Op: "write", Path: w.file.Name(), Err: err}
	}
	return w.file.Write(data)
}

// Mkdir makes a directory of ours. It fails with fs.ErrExist where there is one.
func (o *Ops) Mkdir(path string) error {
	if err := o.trace(Op{Call: "mkdir", Path: path}); err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return os.Mkdir(path, DirMode)
}

func (o *Ops) createPath(path string, mode fs.FileMode) (*os.File, error) {
	if err := o.trace(Op{Call: "create", Path: path}); err != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, mode)
}

func (o *Ops) renamePath(from, to string) error {
	if err := o.trace(Op{Call: "rename", Path: from, To: to}); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return os.Rename(from, to)
}

// Announce tells Trace of a call that the caller makes itself.
func (o *Ops) Announce(op Op) error {
	if err := o.trace(op); err != nil {
		return &fs.PathError{Op: op.Call, Path: op.Path, Err: err}
	}
	return nil
}

// RenameNew renames a file or directory, and fails with fs.ErrExist where the
// new name is taken.
func (o *Ops) RenameNew(from, to string) error {
	if err := o.trace(Op{Call: "rename", Path: from, To: to}); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // the file system cannot
		if _, serr := os.Lstat(to); serr == nil {
			err = unix.EEXIST
		} else {
			err = unix.Rename(from, to)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
