package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
)

// Source gives the schema as one file of CUE.
func Source() ([]byte, error) {
	files, err := vendored()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("package schema\n")
	for _, f := range files {
		_, text, ok := bytes.Cut(f.data, []byte("package schema\n"))
		if !ok {
			return nil, fmt.Errorf("embedded schema: %s has no package clause", f.name)
		}
		b.Write(text)
	}
	return b.Bytes(), nil
}

// What Vendor writes, beside the schema itself.
const (
	vendorFile = "mailstead_schema.cue" // in the description's directory
	vendorPath = "mailstead.local/schema"
	vendorDir  = "cue.mod/pkg/" + vendorPath
	vendorHead = `// Made by "mailstead schema vendor", for cue vet and editors alone: mailstead`
)

const vendorText = vendorHead + `
// itself checks a description by the schema that it carries, and passes over
// this file. It can be removed, with cue.mod/pkg/` + vendorPath + `.

`

const vendorModule = `module: "mailstead.local/description@v0"
language: version: "v0.17.0"
`

type namedFile struct {
	name string
	data []byte
}

// vendored lists the files of the schema that plain CUE can use: its defaults
// would double every message.
func vendored() ([]namedFile, error) {
	names, err := fs.Glob(cueFiles, "*.cue")
	if err != nil {
		return nil, err
	}
	var files []namedFile
	for _, name := range names {
		data, err := cueFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if name != "defaults.cue" {
			files = append(files, namedFile{name, data})
		}
	}
	return files, nil
}

// Vendor puts the schema beside a description, so that "cue vet" and the CUE
// language server know it. Into the module around dir, or one that is made of
// dir, goes the schema as a package; into dir a file that demands it. Load
// treats the directory as before. It gives the names of what was written,
// relative to the module's directory.
func Vendor(dir string) (written []string, err error) {
	t, err := openTree(dir, "")
	if err != nil {
		return nil, err
	}
	defer t.Close()
	files, err := vendored()
	if err != nil {
		return nil, err
	}
	for i := range files {
		files[i].name = path.Join(vendorDir, files[i].name)
	}
	demand, err := t.demand(dir)
	if err != nil {
		return nil, err
	}
	files = append(files, demand)
	if _, err := t.root.Stat("cue.mod/module.cue"); errors.Is(err, fs.ErrNotExist) {
		files = append(files, namedFile{"cue.mod/module.cue", []byte(vendorModule)})
	}
	if err := t.removeStale(files); err != nil {
		return nil, err
	}
	for _, f := range files {
		have, err := t.root.ReadFile(f.name)
		if err == nil && bytes.Equal(have, f.data) {
			continue
		}
		if err := t.replace(f); err != nil {
			return written, err
		}
		written = append(written, f.name)
	}
	return written, nil
}

// demand gives the file that has a description checked by the schema. A schema
// that is embedded closes nothing but with explicitopen (cue-lang/cue#4032), and
// the language server looks below a name only where it is written out.
func (t *tree) demand(dir string) (namedFile, error) {
	name := path.Join(t.dir, vendorFile)
	if have, err := t.root.ReadFile(name); err == nil && !bytes.HasPrefix(have, []byte(vendorHead)) {
		return namedFile{}, fmt.Errorf("%s is not one that mailstead has made, and is left as it is", vendorFile)
	}
	pkg, err := t.packageName()
	if err != nil {
		return namedFile{}, err
	}
	var b strings.Builder
	b.WriteString(vendorText + "@experiment(explicitopen)\n\n")
	if pkg != "" {
		fmt.Fprintf(&b, "package %s\n\n", pkg)
	}
	fmt.Fprintf(&b, "import %q\n\nschema.#Description\n", vendorPath)
	if config, err := Load(Options{Inputs: []string{dir}}); err == nil {
		b.WriteString("\n")
		for _, h := range config.Hosts {
			fmt.Fprintf(&b, "hosts: %s: schema.#Host\n", strconv.Quote(h.Name))
		}
	}
	data, err := format.Source([]byte(b.String()))
	return namedFile{name, data}, err
}

// packageName gives the package of the description's files; "" where none names one.
func (t *tree) packageName() (string, error) {
	entries, err := fs.ReadDir(t, t.dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Name() == vendorFile || path.Ext(e.Name()) != ".cue" || hidden(e.Name()) {
			continue
		}
		text, err := t.ReadFile(path.Join(t.dir, e.Name()))
		if err != nil {
			return "", err
		}
		f, err := parser.ParseFile(e.Name(), text, parser.PackageClauseOnly)
		if err != nil {
			return "", err
		}
		if f.PackageName() != "" {
			return f.PackageName(), nil
		}
	}
	return "", nil
}

// removeStale removes from the vendored package what the schema no longer has.
func (t *tree) removeStale(files []namedFile) error {
	entries, err := fs.ReadDir(t, vendorDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(vendorDir, e.Name())
		if !slices.ContainsFunc(files, func(f namedFile) bool { return f.name == name }) {
			if err := t.root.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace writes a file of the tree whole, or not at all.
func (t *tree) replace(f namedFile) error {
	if err := t.root.MkdirAll(path.Dir(f.name), 0o755); err != nil {
		return err
	}
	temporary := path.Join(path.Dir(f.name), ".mailstead.tmp")
	if err := t.root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := t.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(f.data)
	if err := errors.Join(err, w.Close()); err != nil {
		return errors.Join(err, t.root.Remove(temporary))
	}
	return t.root.Rename(temporary, f.name)
}

// passedOver is the file that Vendor made as Load sees it: with its package
// clause alone. The rest would have CUE refuse as a whole what strict explains
// fault by fault. false is any other file.
func (t *tree) passedOver(name string) (fs.File, bool) {
	if name != path.Join(t.dir, vendorFile) {
		return nil, false
	}
	text, err := t.root.ReadFile(name)
	if err != nil || !bytes.HasPrefix(text, []byte(vendorHead)) {
		return nil, false
	}
	fi, err := t.root.Stat(name)
	if err != nil {
		return nil, false
	}
	return &clauseFile{FileInfo: fi, Reader: bytes.NewReader(packageLine.Find(text))}, true
}

// passOver takes that file out of what was read, so that no fault of the
// description is shown in it.
func (in *input) passOver(inst *build.Instance) {
	name := path.Join(in.dir, vendorFile)
	if _, ok := in.passedOver(name); ok {
		shown := in.show(name)
		inst.Files = slices.DeleteFunc(inst.Files, func(f *ast.File) bool { return f.Filename == shown })
	}
}

var packageLine = regexp.MustCompile(`(?m)^package \w+$`)

// clauseFile is a file of which only the package clause is read.
type clauseFile struct {
	fs.FileInfo
	*bytes.Reader
}

func (f *clauseFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *clauseFile) Size() int64                { return f.Reader.Size() }
func (f *clauseFile) Close() error               { return nil }
