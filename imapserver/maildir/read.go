package maildir

import (
	"io"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is a regular file that is open for reading. It is what os.File would be,
// for half the system calls: a FETCH of sizes opens every message of a mailbox.
type File struct {
	fd   int
	name string
	stat Stat
}

// openRegularAt opens a file and makes sure that it is one. It does not follow
// a link, and does not wait, whatever the name is of.
func openRegularAt(dirfd int, name string) (*File, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err == unix.ELOOP || err == unix.ENXIO { // a link; a socket
		return nil, ErrIrregular
	}
	if err != nil {
		return nil, err
	}
	f := &File{fd: fd, name: name}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	f.stat = newStat(&st)
	if err == nil && !f.stat.Regular {
		err = ErrIrregular
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile reads a file in a directory that the account's owner may fill with
// anything. An error wraps fs.ErrNotExist where there is none, and ErrIrregular
// where it is no regular file.
func ReadFile(dir, name string) ([]byte, error) {
	data, err := readFileAt(unix.AT_FDCWD, filepath.Join(dir, name))
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: filepath.Join(dir, name), Err: err}
	}
	return data, nil
}

// Stat is what the file was like when it was opened.
func (f *File) Stat() Stat { return f.stat }

// Name is where it was then.
func (f *File) Name() string { return f.name }

// Read is that of io.Reader.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := unix.Read(f.fd, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, &fs.PathError{Op: "read", Path: f.name, Err: err}
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// ReadAt is that of io.ReaderAt, but for fewer octets than asked for, which are no
// error.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(f.fd, p, off)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, &fs.PathError{Op: "read", Path: f.name, Err: err}
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Close closes the file. It must be called once.
func (f *File) Close() { closeFD(f.fd) }
