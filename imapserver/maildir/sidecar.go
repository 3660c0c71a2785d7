package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Place is a directory for files beside the messages.
type Place uint8

// The places.
const (
	BesideCur  Place = iota
	InKeywords       // in KeywordsDir
)

// dir is relative to the mailbox.
func (p Place) dir() string {
	if p == InKeywords {
		return KeywordsDir
	}
	return "."
}

func (p Place) path(f *Folder, name string) string { return filepath.Join(f.path, p.dir(), name) }

// openPlace opens the directory; close it with closeFD.
func (f *Folder) openPlace(p Place) (int, error) {
	return openDirAt(f.root, p.dir())
}

// ReplaceSidecar replaces a file beside the messages as Courier does: written
// in tmp and renamed. It keeps the mode that the file had. Once it returns, the
// new one survives a power cut.
func (f *Folder) ReplaceSidecar(p Place, name string, n *Namer, data []byte) error {
	tmp := n.Next().Tmp()
	file, err := f.Create(tmp)
	if err != nil {
		return err
	}
	err = f.ops.write(file, data)
	if err == nil {
		if st, serr := f.StatSidecar(p, name); serr == nil && st.Regular {
			err = file.Chmod(st.Mode)
		}
	}
	if err == nil {
		err = f.ops.SyncFile(file)
	}
	if cerr := file.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err == nil {
		err = f.renameSidecar(tmp, p, name)
	}
	if err != nil {
		f.Unlink(Tmp, tmp)
		return fmt.Errorf("replace %s: %w", p.path(f, name), err)
	}
	return nil
}

// renameSidecar moves a file from tmp to its place, which it makes.
func (f *Folder) renameSidecar(tmp string, p Place, name string) error {
	defer f.hold(nil)()
	if p == InKeywords {
		err := f.ops.trace(Op{Call: "mkdir", Path: filepath.Join(f.path, KeywordsDir)})
		if err == nil {
			err = unix.Mkdirat(f.root, KeywordsDir, uint32(DirMode))
		}
		if err == nil {
			err = f.ops.syncDirFD(f.root, f.path)
		}
		if err != nil && err != unix.EEXIST {
			return err
		}
	}
	d, err := f.openPlace(p)
	if err != nil {
		return err
	}
	defer closeFD(d)
	if err := f.ops.trace(Op{Call: "rename", Path: f.name(Tmp, tmp), To: p.path(f, name)}); err != nil {
		return err
	}
	if err := unix.Renameat(f.subs[Tmp], tmp, d, name); err != nil {
		return err
	}
	return f.ops.syncDirFD(d, p.path(f, ""))
}

// SidecarStat is what is known of a file beside the messages.
type SidecarStat struct {
	Stat
	Mode fs.FileMode
}

// StatSidecar looks at a file beside the messages; name "" is the directory.
func (f *Folder) StatSidecar(p Place, name string) (SidecarStat, error) {
	defer f.hold(nil)()
	path := filepath.Join(p.dir(), name)
	var st unix.Stat_t
	if err := unix.Fstatat(f.root, path, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return SidecarStat{}, &fs.PathError{Op: "stat", Path: p.path(f, name), Err: err}
	}
	return SidecarStat{Stat: newStat(&st), Mode: fs.FileMode(st.Mode & 0o777)}, nil
}

// RemoveSidecars removes files from a place. Those that are gone are no error.
func (f *Folder) RemoveSidecars(p Place, names ...string) error {
	defer f.hold(nil)()
	d, err := f.openPlace(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: p.path(f, ""), Err: err}
	}
	defer closeFD(d)
	var errs []error
	for _, name := range names {
		err := f.ops.trace(Op{Call: "unlink", Path: p.path(f, name)})
		if err == nil {
			err = unix.Unlinkat(d, name, 0)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, &fs.PathError{Op: "unlink", Path: p.path(f, name), Err: err})
		}
	}
	return errors.Join(errs...)
}
