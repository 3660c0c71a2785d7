package schema

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// maxFile is the most that one file of a description may hold: some 300,000
// users in JSON.
const maxFile = 64 << 20

// tree is the directory that the files of one input are read from: that of
// the CUE module, or where there is none the directory that was named. It is
// an fs.FS out of which no link leads.
type tree struct {
	root    *os.Root
	dir     string // the directory named, relative to the root and with slashes: "." or "hosts/mx1"
	prefix  string // what stands before the names of files in that directory when they are shown
	mu      sync.Mutex
	display map[string]string // shown name to name in the tree
	instead map[string][]byte // texts in place of files, by name in the tree
}

// openTree opens the tree around a directory that the operator named.
func openTree(dir, prefix string) (*tree, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, err
	}
	top := moduleRoot(abs)
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(top, abs)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &tree{root: root, dir: filepath.ToSlash(rel), prefix: prefix, display: map[string]string{}}, nil
}

// moduleRoot is the nearest directory from abs upwards that holds cue.mod, or
// abs. It stops below a directory that everyone may write to, such as /tmp:
// whoever put a module there would add files to the description.
func moduleRoot(abs string) string {
	for d := abs; ; d = filepath.Dir(d) {
		fi, err := os.Stat(d)
		if err != nil || d != abs && fi.Mode().Perm()&0o002 != 0 {
			return abs
		}
		if fi, err := os.Stat(filepath.Join(d, "cue.mod")); err == nil && fi.IsDir() {
			return d
		}
		if d == filepath.Dir(d) {
			return abs
		}
	}
}

func (t *tree) Close() error { return t.root.Close() }

// Open opens a directory or a regular file. Anything else could block or
// never end.
func (t *tree) Open(name string) (fs.File, error) {
	if f, ok := t.insteadOf(name); ok {
		return f, nil
	}
	fi, err := t.root.Stat(name)
	if err != nil {
		return nil, err
	}
	switch {
	case !fi.IsDir() && !fi.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	case fi.Size() > maxFile && fi.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("larger than %d MiB", maxFile>>20)}
	}
	if f, ok := t.passedOver(name); ok {
		return f, nil
	}
	return t.root.Open(name)
}

// ReadDir leaves out links that lead nowhere where CUE passes over the name: Emacs locks a
// file by one beside it, and CUE opens all that it finds before it looks at names.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.root.FS(), name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		if !hidden(e.Name()) || e.Type() != fs.ModeSymlink {
			return false
		}
		_, err := t.root.Stat(path.Join(name, e.Name()))
		return errors.Is(err, fs.ErrNotExist)
	}), err
}

// hidden tells whether CUE takes a file of this name for none of a package.
func hidden(name string) bool { return name[0] == '.' || name[0] == '_' }

// ReadFile reads a whole file of at most maxFile bytes.
func (t *tree) ReadFile(name string) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// show gives the name by which the operator knows a file of the tree, and
// remembers it for text. It takes both forms of names that CUE uses.
func (t *tree) show(name string) string {
	name = strings.TrimPrefix(path.Clean(name), "/")
	rel, err := filepath.Rel(filepath.FromSlash(t.dir), filepath.FromSlash(name))
	if err != nil {
		rel = name
	}
	shown := filepath.Join(t.prefix, rel)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.display[shown] = name
	return shown
}

// text reads the file that was shown under a name.
func (t *tree) text(shown string) ([]byte, bool) {
	t.mu.Lock()
	name, ok := t.display[shown]
	t.mu.Unlock()
	if !ok {
		name = path.Join(t.dir, filepath.ToSlash(shown)) // an embedded file: CUE names it from its directory
	}
	b, err := t.ReadFile(name)
	return b, err == nil
}

// input is what is read from one tree: a whole directory, or the named files of it.
type input struct {
	*tree
	files []string // names in tree.dir; nil for the directory
}

// openInputs groups what the operator named by directory, in the order of the
// arguments. The caller closes the trees, also after an error.
func openInputs(named []string) ([]*input, Diagnostics) {
	var list []*input
	var faults Diagnostics
	byDir := map[string]*input{}
	for _, n := range named {
		fi, err := os.Stat(n)
		if err != nil {
			faults = append(faults, inputFault(n, err))
			continue
		}
		dir, prefix := n, n
		if fi.IsDir() && len(named) == 1 {
			prefix = "" // the only directory: names relative to it are clear
		}
		if !fi.IsDir() {
			dir = filepath.Dir(n)
			prefix = dir
		}
		in := byDir[filepath.Clean(dir)]
		if in == nil {
			t, err := openTree(dir, prefix)
			if err != nil {
				faults = append(faults, inputFault(n, err))
				continue
			}
			in = &input{tree: t, files: []string{}}
			byDir[filepath.Clean(dir)] = in
			list = append(list, in)
		}
		if fi.IsDir() {
			in.files = nil
		} else if in.files != nil {
			in.files = append(in.files, filepath.Base(n))
		}
	}
	return list, faults
}

func inputFault(name string, err error) Diagnostic {
	d := Diagnostic{Code: CodeInput, Message: fmt.Sprintf("cannot read %s: %v", name, cause(err))}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Hint = "name a directory with *.cue files, or a file; \"mailstead init\" writes one to start from"
	case errors.Is(err, fs.ErrPermission):
		d.Hint = "run this as somebody who may read it, or give them the right to"
	}
	return d
}

// cause strips the operation and the path that the message names already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
