package reconcile

import (
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FileData is a file to be: its bytes, and who may do what with it.
type FileData struct {
	Mode     uint32 // permission bits
	UID, GID int    // -1: who runs the program
	Data     []byte
	Lazy     bool // the caller sees to it that the new name is synced
	New      bool // nothing is lost if a power cut leaves the file empty: there was none, and the caller sees to it that all of it is synced
}

// Private is a file of whoever runs the program, which nobody else can read.
func Private(data []byte) FileData { return FileData{Mode: 0o600, UID: -1, GID: -1, Data: data} }

// ReplaceFile is Dir.Replace of the file at path, whose directory is there.
func ReplaceFile(path string, f FileData) error {
	d, err := OpenDir(filepath.Dir(path), false)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Replace(filepath.Base(path), f)
}

// tempSuffix is what a file is called while it is written. It does not begin
// with a dot, because in a Maildir that would be a mailbox, and ends with a
// tilde, because certbot runs every other program in its hook directories.
const tempSuffix = ".mailstead~"

// Replace puts a file in the place of name. Whoever reads sees the old file or
// the new one, whole; after Replace the new one survives a power cut (or, if it
// is Lazy, then or later one of the two). Nobody but
// its owner can open it before it has its final mode. Only one writer at a time
// may replace a name: the lock sees to that.
func (d *Dir) Replace(name string, f FileData) error {
	return d.replace(name, f, func(string) error { return nil })
}

// replace calls step before each step that the disk can see.
func (d *Dir) replace(name string, f FileData, step func(string) error) (err error) {
	tmp := name + tempSuffix
	if err := unix.Unlinkat(d.fd, tmp, 0); err != nil && err != unix.ENOENT {
		return d.fail("remove", tmp, err)
	}
	if err := step("create"); err != nil {
		return err
	}
	fd, err := unix.Openat(d.fd, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return d.fail("create", tmp, err)
	}
	file := os.NewFile(uintptr(fd), tmp)
	defer func() {
		file.Close()
		if err != nil {
			unix.Unlinkat(d.fd, tmp, 0)
		}
	}()
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"write", func() error { _, err := file.Write(f.Data); return err }},
		{"chown", func() error { return own(fd, f.UID, f.GID) }},
		{"chmod", func() error { return unix.Fchmod(fd, f.Mode) }},
		{"sync", func() error {
			if f.New {
				return nil
			}
			return file.Sync()
		}},
		{"rename", func() error { return unix.Renameat(d.fd, tmp, d.fd, name) }},
		{"sync directory", func() error {
			if f.Lazy || f.New {
				return nil
			}
			return unix.Fsync(d.fd)
		}},
	} {
		if err := step(s.name); err != nil {
			return err
		}
		if err := s.do(); err != nil {
			return d.fail(s.name, name, err)
		}
	}
	return nil
}

// own gives a file to someone; root's own files need no call for it.
func own(fd, uid, gid int) error {
	if uid < 0 && gid < 0 {
		return nil
	}
	return unix.Fchown(fd, uid, gid)
}

// Open opens a file of the directory for reading, unless it is a link.
func (d *Dir) Open(name string) (*os.File, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadFile reads a file of the directory, of at most limit bytes, unless it is a
// link or anything else but a file.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, d.fail("read", name, errIrregular)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, d.fail("read", name, err)
	}
	if int64(len(data)) > limit {
		return nil, d.fail("read", name, errTooLarge)
	}
	return data, nil
}

// Remove removes a file of the directory; none is no error.
func (d *Dir) Remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil && err != unix.ENOENT {
		return d.fail("remove", name, err)
	}
	return d.Sync()
}

// Sync makes what was made, renamed or removed in the directory durable.
func (d *Dir) Sync() error {
	if err := unix.Fsync(d.fd); err != nil {
		return d.fail("sync", "", err)
	}
	return nil
}
