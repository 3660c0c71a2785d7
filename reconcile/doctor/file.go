package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
)

// File is one that decides who may do what here.
type File struct {
	Path   string
	What   string // for the reader: "private key"
	Secret bool   // nobody else may read it
	Origin string
	Mends  string // the resource that it is, "" if it is not ours
}

// Files looks at who may read and write files, and the directories on the way to
// them. What is not there, or what one may not look at, is somebody else's to tell.
func Files(files []File) []Finding {
	var found []Finding
	dirs := map[string]bool{}
	for _, f := range files {
		real, err := filepath.EvalSymlinks(f.Path)
		if err != nil {
			continue
		}
		found = append(found, f.look(real)...)
		for _, dir := range []string{filepath.Dir(f.Path), filepath.Dir(real)} {
			if !dirs[dir] {
				dirs[dir] = true
				found = append(found, f.way(dir)...)
			}
		}
	}
	return found
}

func (f File) finding(code Code, path, seen string) Finding {
	x := New(code, path, seen).At(f.Origin)
	if f.Mends != "" {
		x.Mends = []string{f.Mends}
	}
	return x
}

func (f File) look(path string) []Finding {
	st, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	var found []Finding
	mode, own := st.Mode().Perm(), st.Sys().(*syscall.Stat_t)
	if f.Secret && kind.Exposed(path) {
		found = append(found, f.finding(FileExposed, path, fmt.Sprintf("%s with mode %04o: everybody on this host may read it", f.What, mode)).
			Do("chmod o-rwx "+path+", and replace the secret if somebody may have read it."))
	}
	switch {
	case mode&0o022 != 0:
		found = append(found, f.finding(FileWritable, path, fmt.Sprintf("%s with mode %04o: others may write it", f.What, mode)).Do("chmod go-w "+path))
	case own.Uid != 0 && int(own.Uid) != os.Geteuid():
		found = append(found, f.finding(FileWritable, path, fmt.Sprintf("%s belongs to uid %d", f.What, own.Uid)).Do("chown root "+path))
	}
	return found
}

// way looks at the directories that lead to a file.
func (f File) way(dir string) []Finding {
	d, err := reconcile.OpenDir(dir, false)
	if err == nil {
		d.Close()
		return nil
	}
	var unsafe *reconcile.UnsafeError
	if !errors.As(err, &unsafe) {
		return nil
	}
	x := f.finding(FileWritable, unsafe.Path, fmt.Sprintf("it %s, and the %s is below it", unsafe.Reason, f.What))
	if unsafe.Remedy != "" {
		x = x.Do(unsafe.Remedy)
	}
	return []Finding{x}
}
