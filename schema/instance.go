package schema

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/inject/embed"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
	"cuelang.org/go/mod/modfile"
	"cuelang.org/go/mod/module"
)

// newContext gives a CUE context that only the description decides about:
// CUE's own switches in the environment would make two people's plans differ.
func newContext() *cue.Context {
	os.Unsetenv("CUE_EXPERIMENT")
	os.Unsetenv("CUE_DEBUG")
	return cuecontext.New(cuecontext.WithInjection(embed.New()))
}

// noRegistry refuses every module but the operator's own, so that nothing is
// ever fetched.
type noRegistry struct{}

var errNoRegistry = errors.New("modules are not fetched: a description is one module, with everything that it imports inside")

func (noRegistry) ModFile(context.Context, module.Version) (*modfile.File, error) {
	return nil, errNoRegistry
}

func (noRegistry) Fetch(context.Context, module.Version) (module.SourceLoc, error) {
	return module.SourceLoc{}, errNoRegistry
}

func (noRegistry) ModuleVersions(context.Context, string) ([]string, error) {
	return nil, errNoRegistry
}

// listing is the files of an input by what they are.
type listing struct {
	cue, data []string // names in the directory of the input
	capitals  []string // with an ending that would be one of these in small letters
}

var dataEndings = []string{".json", ".yaml", ".yml"}

// list sorts the files of an input. A directory's files whose names start
// with a dot or an underscore are left out, as CUE does it.
func (in *input) list() (listing, error) {
	var l listing
	names := in.files
	if names == nil {
		entries, err := fs.ReadDir(in, in.dir)
		if err != nil {
			return l, err
		}
		for _, e := range entries {
			_, passed := in.passedOver(path.Join(in.dir, e.Name()))
			if !e.IsDir() && !passed && !hidden(e.Name()) {
				names = append(names, e.Name())
			}
		}
		for name := range in.instead {
			if name = path.Base(name); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	for _, name := range names {
		ext := path.Ext(name)
		switch small := strings.ToLower(ext); {
		case ext == ".cue":
			l.cue = append(l.cue, name)
		case slices.Contains(dataEndings, ext):
			l.data = append(l.data, name)
		case in.files != nil:
			return l, fmt.Errorf("the name of %s does not end in .cue, .json, .yaml or .yml", filepath.Join(in.prefix, name))
		case small == ".cue" || slices.Contains(dataEndings, small):
			l.capitals = append(l.capitals, name)
		}
	}
	return l, nil
}

// read parses an input into one instance; nil where it cannot be, since what
// is not there would be missed everywhere.
func (l *loader) read(in *input) *build.Instance {
	files, err := in.list()
	if err != nil {
		l.add(Diagnostic{Code: CodeInput, Message: fmt.Sprintf("cannot read the description: %v", err)})
		return nil
	}
	if len(files.cue)+len(files.data)+len(files.capitals) == 0 {
		l.add(Diagnostic{Code: CodeInput, Message: fmt.Sprintf("%s holds no .cue, .json or .yaml file", in.named()),
			Hint: "\"mailstead init DIR\" writes a description to start from"})
		return nil
	}
	if !l.found(in, files) {
		return nil
	}
	inst := build.NewContext().NewInstance("", nil)
	if len(files.cue) > 0 {
		if inst = l.readCUE(in, files.cue); inst == nil {
			return nil
		}
	}
	embedded := embeddedIn(inst)
	if !l.smallEndings(in, slices.DeleteFunc(files.capitals, embedded)) {
		return nil
	}
	for _, name := range files.data {
		if in.files == nil && embedded(name) {
			continue // it has its place already
		}
		f := l.readData(in, name)
		if f == nil {
			return nil
		}
		if err := inst.AddSyntax(f); err != nil {
			l.cueErrors(err)
		}
	}
	return inst
}

// found says of every link that leads nowhere which it is. CUE would end at the first, with
// the name of a system call.
func (l *loader) found(in *input, files listing) bool {
	found := true
	for _, name := range slices.Concat(files.cue, files.data) {
		full := path.Join(in.dir, name)
		if _, err := fs.Stat(in, full); errors.Is(err, fs.ErrNotExist) {
			d := inputFault(in.show(full), err)
			d.Hint = "it is a link to what is not there: remove it, or put that back"
			l.add(d)
			found = false
		}
	}
	return found
}

// smallEndings refuses files that would be left out for the capitals of their endings alone.
func (l *loader) smallEndings(in *input, names []string) bool {
	for _, name := range names {
		shown, ext := in.show(path.Join(in.dir, name)), path.Ext(name)
		l.add(Diagnostic{Code: CodePackage, Pos: Pos{File: shown, Line: 1, Col: 1}, Message: fmt.Sprintf("the name of %s ends in %s, so it would be left out", shown, ext),
			Hint: fmt.Sprintf("name it %s, or move it elsewhere", strings.TrimSuffix(name, ext)+strings.ToLower(ext))})
	}
	return len(names) == 0
}

func (in *input) named() string {
	if in.prefix == "" {
		return "the directory"
	}
	return in.prefix
}

// readCUE loads the CUE files of one package, with what they import from
// their module.
func (l *loader) readCUE(in *input, names []string) *build.Instance {
	pkg, ok := l.packageOf(in, names)
	if !ok {
		return nil
	}
	args := []string{"."}
	if in.files != nil {
		args = nil
		for _, n := range names {
			args = append(args, "./"+n)
		}
	}
	insts := load.Instances(args, &load.Config{
		FS:         in.tree,
		FromFSPath: in.show,
		Dir:        path.Join("/", in.dir),
		ModuleRoot: "/",
		Package:    pkg,
		Tags:       l.opts.Tags,
		Registry:   noRegistry{},
		Env:        []string{},
	})
	for _, inst := range insts {
		if inst.Err != nil {
			l.cueErrors(inst.Err)
			return nil
		}
	}
	in.passOver(insts[0])
	return insts[0]
}

// packageOf gives the one package of the files of a directory; "_" where none
// names one. CUE would pass over a file without a package clause in silence.
func (l *loader) packageOf(in *input, names []string) (string, bool) {
	files, ok := l.packageClauses(in, names)
	var first, without *ast.File
	for _, f := range files {
		switch {
		case f.PackageName() == "":
			without = f
		case first == nil:
			first = f
		case first.PackageName() != f.PackageName():
			l.add(Diagnostic{Code: CodePackage, Pos: posOf(packageClause(f)), Message: fmt.Sprintf("package %s stands beside package %s of %s",
				f.PackageName(), first.PackageName(), first.Filename), Hint: "the files of a directory make up one description: give them one package name"})
			ok = false
		}
	}
	switch {
	case !ok:
		return "", false
	case first == nil:
		return "_", true
	case without != nil:
		l.add(Diagnostic{Code: CodePackage, Pos: Pos{File: without.Filename, Line: 1, Col: 1}, Message: fmt.Sprintf("%s has no package clause, so it would be left out",
			without.Filename), Hint: fmt.Sprintf("begin it with \"package %s\", as %s does", first.PackageName(), first.Filename)})
		return "", false
	}
	return first.PackageName(), true
}

// packageClauses parses the beginnings of CUE files.
func (l *loader) packageClauses(in *input, names []string) (files []*ast.File, ok bool) {
	ok = true
	for _, name := range names {
		full := path.Join(in.dir, name)
		text, err := in.ReadFile(full)
		if err != nil {
			l.add(inputFault(in.show(full), err))
			ok = false
			continue
		}
		f, err := parser.ParseFile(in.show(full), text, parser.PackageClauseOnly)
		if err != nil {
			l.cueErrors(err)
			ok = false
			continue
		}
		files = append(files, f)
	}
	return files, ok
}

func packageClause(f *ast.File) token.Pos {
	for _, d := range f.Decls {
		if p, ok := d.(*ast.Package); ok {
			return p.Name.Pos()
		}
	}
	return token.NoPos
}

var embedFile = regexp.MustCompile(`\b(file|glob)="?([^,")]+)`)

// embeddedIn tells which data files the CUE files embed by themselves.
func embeddedIn(inst *build.Instance) func(name string) bool {
	var patterns []string
	for _, f := range inst.Files {
		ast.Walk(f, func(n ast.Node) bool {
			if a, ok := n.(*ast.Attribute); ok && strings.HasPrefix(a.Text, "@embed(") {
				if m := embedFile.FindStringSubmatch(a.Text); m != nil {
					patterns = append(patterns, m[2])
				}
			}
			return true
		}, nil)
	}
	return func(name string) bool {
		for _, p := range patterns {
			if ok, err := path.Match(p, name); ok && err == nil {
				return true
			}
		}
		return false
	}
}
