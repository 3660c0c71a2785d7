package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The modes of what we make. Mail is its owner's alone.
const (
	DirMode  fs.FileMode = 0o700
	FileMode fs.FileMode = 0o600
)

// FolderMark is the empty file that makes a directory a folder of the Maildir
// above it, for whoever counts quota.
const FolderMark = "maildirfolder"

// subdirs are the three directories of every mailbox, in the order in which
// they are made: a Maildir with a cur can be delivered into.
var subdirs = []string{"tmp", "new", "cur"}

// WriteFile replaces dir/name by a file with that mode and content. Readers see
// the old file or the new one; once it returns, the new one survives a power
// cut. The mode is exact, whatever the umask, from the file's first moment on.
func WriteFile(dir, name string, mode fs.FileMode, data []byte) error {
	return new(Ops).WriteFile(dir, name, mode, data)
}

// WriteFile is the function of that name.
func (o *Ops) WriteFile(dir, name string, mode fs.FileMode, data []byte) error {
	f, tmp, err := o.createTemp(dir, name, mode)
	if err != nil {
		return err
	}
	err = o.write(f, data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = o.SyncFile(f)
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err == nil {
		err = o.renamePath(tmp, filepath.Join(dir, name))
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("write %s: %w", filepath.Join(dir, name), err)
	}
	return o.SyncDir(dir)
}

// EndLine ends the last line of a file that is open to be appended to and read, where
// a power cut or a full disk has torn it: the next would be lost with it.
func EndLine(f *os.File) error {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], st.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.WriteString("\n")
	return err
}

// createTemp opens a new file beside dir/name, whose name does not start with
// a dot: Courier would list it as a mailbox.
func (o *Ops) createTemp(dir, name string, mode fs.FileMode) (f *os.File, path string, err error) {
	for n := 0; ; n++ {
		path = filepath.Join(dir, fmt.Sprintf("%s.%d.%d.tmp", name, os.Getpid(), n))
		f, err = o.createPath(path, mode)
		if !errors.Is(err, fs.ErrExist) || n == 1000 {
			return f, path, err
		}
		// Left by a process with our id that is no more, or being written by
		// another goroutine; a leftover is found again only by counting past it.
	}
}

// PurgeTemps removes what WriteFile has left in dir of files of these names, as where its
// process was killed, and tells how many that were.
func PurgeTemps(dir string, now time.Time, names ...string) (n int, err error) {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		if !slices.ContainsFunc(names, func(name string) bool { return isTemp(e.Name(), name) }) {
			continue
		}
		st, err := e.Info()
		if err != nil || !st.Mode().IsRegular() || now.Sub(st.ModTime()) < tmpLifetime {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

// isTemp tells whether createTemp gives a file that name for one of another name.
func isTemp(temp, name string) bool {
	rest, ok := strings.CutPrefix(temp, name+".")
	rest, tmp := strings.CutSuffix(rest, ".tmp")
	pid, n, two := strings.Cut(rest, ".")
	_, perr := strconv.ParseUint(pid, 10, 32)
	_, nerr := strconv.ParseUint(n, 10, 32)
	return ok && tmp && two && perr == nil && nerr == nil
}

// MakeTree makes what is missing of a mailbox directory: itself, tmp, new and
// cur, and in a folder (any mailbox but INBOX) the file maildirfolder. What
// exists it leaves as it is. Parents of dir must exist.
func MakeTree(dir string, folder bool) error {
	return new(Ops).MakeTree(dir, folder)
}

// MakeTree is the function of that name.
func (o *Ops) MakeTree(dir string, folder bool) error {
	made, err := o.mkdir(dir)
	if err != nil {
		return err
	}
	for _, sub := range subdirs {
		if _, err := o.mkdir(filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	if folder {
		f, err := o.createPath(filepath.Join(dir, FolderMark), FileMode)
		if err == nil {
			err = errors.Join(f.Chmod(FileMode), f.Close())
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := o.SyncDir(dir); err != nil {
		return err
	}
	if made {
		return o.SyncDir(filepath.Dir(dir))
	}
	return nil
}

// exactMode gives a directory that was just made DirMode, by its descriptor: a process
// that is confined may change the mode of nothing that it may not open.
func exactMode(path string) error {
	fd, err := openDirAt(unix.AT_FDCWD, path)
	if err == nil {
		err = unix.Fchmod(fd, uint32(DirMode))
		closeFD(fd)
	}
	if err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// mkdir makes a directory of mode DirMode whatever the umask, and tells
// whether it did. One that exists is left alone; anything else of that name is
// an error.
func (o *Ops) mkdir(path string) (made bool, err error) {
	if err := o.trace(Op{Call: "mkdir", Path: path}); err != nil {
		return false, &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	err = unix.Mkdir(path, uint32(DirMode))
	switch {
	case err == nil:
		return true, exactMode(path)
	case err == unix.EEXIST:
		st, err := os.Lstat(path)
		if err == nil && !st.IsDir() {
			err = &fs.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR}
		}
		return false, err
	}
	return false, &fs.PathError{Op: "mkdir", Path: path, Err: err}
}
