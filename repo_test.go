// Package mailstead_test holds the rules of the repository that a test can
// hold: DESIGN.md and CONTRIBUTING.md say the same in words. It reads files and
// runs no program, so that go test's cache knows when to run it again.
package mailstead_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"go/version"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mailstead/schema"
)

// modules are the libraries that only some packages may import, and why.
var modules = map[string][]string{
	"cuelang.org/go":                     {"schema"},                                        // a listener grows from 3 to 18 MB with it
	"zombiezen.com/go/sqlite":            {"imapserver/store"},                              // the index is the store's
	"github.com/spf13/cobra":             {"cmd/mailstead"},                                 // the daemon has three verbs
	"github.com/prometheus":              {"imapserver/exposition"},                         // no worker pays for it
	"github.com/coreos/go-systemd":       {"imapserver", "reconcile/kind", "cmd/mailstead"}, // systemd is spoken to at the edges
	"github.com/hashicorp/go-multierror": {"reconcile", "cmd/mailstead"},                    // elsewhere errors.Join
}

// topLevel is all that may stand in the repository's first directory.
var topLevel = []string{
	".ci", ".git", ".gitignore", "CONTRIBUTING.md", "DESIGN.md", "README.md", "SECURITY.md", "cmd", "docs", "examples",
	"go.mod", "go.sum", "imapserver", "reconcile", "render", "repo_test.go", "schema",
}

// file is one Go file.
type file struct {
	name string // with slashes, from the repository's directory
	dir  string
	text []byte
	ast  *ast.File
	set  *token.FileSet
}

func (f *file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// names gives every file of the repository but for what git ignores.
func names(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin"):
			return filepath.SkipDir
		case name == ".git": // of a work tree: it names the repository
		case d.Type().IsRegular() && path.Ext(name) != ".test" && path.Ext(name) != ".out":
			list = append(list, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// files parses the Go files.
func files(t *testing.T, mode parser.Mode) []*file {
	t.Helper()
	var list []*file
	for _, name := range names(t) {
		if path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f := &file{name: name, dir: path.Dir(name), text: text, set: token.NewFileSet()}
		if f.ast, err = parser.ParseFile(f.set, name, text, mode|parser.SkipObjectResolution); err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}

// importPaths gives what a file imports.
func (f *file) importPaths() []string {
	var list []string
	for _, i := range f.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		list = append(list, p)
	}
	return list
}

// The tree can be read from the top only while the top stays short.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n := e.Name(); n != "bin" && path.Ext(n) != ".test" && path.Ext(n) != ".out" && !slices.Contains(topLevel, n) {
			t.Errorf("%s does not belong at the top level", n)
		}
	}
}

// A newcomer opens a package by its comment: what it owns, who calls it, what
// it must not import.
func TestPackageComments(t *testing.T) {
	comments := map[string]int{}
	for _, f := range files(t, parser.PackageClauseOnly|parser.ParseComments) {
		want := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			want = "Command " + path.Base(f.dir) + " "
		}
		switch {
		case f.isTest():
		case f.ast.Doc == nil:
			comments[f.dir] += 0
		case !strings.HasPrefix(f.ast.Doc.Text(), want):
			t.Errorf("%s: the package comment does not begin with %q", f.name, want)
		default:
			comments[f.dir]++
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(comments)) {
		if comments[dir] != 1 {
			t.Errorf("%s has %d package comments, want 1", dir, comments[dir])
		}
	}
}

// packageRow is a row of the table of packages in DESIGN.md.
var packageRow = regexp.MustCompile("(?m)^\\| `([a-z/-]+)` \\| (.*) \\|(.*)\\|$")

// designImports reads from DESIGN.md which packages of the project each may
// import. A name there is that of a package, or of one beside it; a name that
// ends with /* stands for everything below. What is for tests only wires the
// daemon together as tests need it.
func designImports(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Packages\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := packageRow.FindAllStringSubmatch(section, -1)
	if !ok || len(rows) < 10 {
		t.Fatal("DESIGN.md has no table of packages")
	}
	table := map[string][]string{}
	for _, row := range rows {
		table[row[1]] = nil
	}
	for _, row := range rows {
		for name := range strings.FieldsFuncSeq(row[3], func(r rune) bool { return r == ' ' || r == ',' }) {
			if _, known := table[name]; !known && !strings.HasSuffix(name, "/*") {
				name = path.Join(path.Dir(row[1]), name)
			}
			if _, known := table[name]; !known && !strings.HasSuffix(name, "/*") {
				t.Errorf("DESIGN.md: %s imports %s, which is not in the table", row[1], name)
			}
			table[row[1]] = append(table[row[1]], name)
		}
		if strings.Contains(row[2], "tests only") {
			table[row[1]] = []string{"imapserver", "imapserver/*"}
		}
	}
	return table
}

// The halves know each other only through the packages made for it: the daemon
// can be read, built and trusted without the compiler of descriptions.
func TestImports(t *testing.T) {
	table, seen := designImports(t), map[string]bool{}
	for _, f := range files(t, parser.ImportsOnly) {
		if f.isTest() || strings.HasPrefix(f.dir, "cmd/") {
			continue
		}
		allowed, known := table[f.dir]
		if !known {
			t.Errorf("%s: package %s is not in DESIGN.md's table", f.name, f.dir)
		}
		seen[f.dir] = true
		for _, p := range f.importPaths() {
			own, ok := strings.CutPrefix(p, "mailstead/")
			if ok && !slices.ContainsFunc(allowed, func(a string) bool { return own == a || path.Dir(own)+"/*" == a }) {
				t.Errorf("%s imports %s", f.name, own)
			}
		}
	}
	for dir := range table {
		if !seen[dir] {
			t.Errorf("DESIGN.md has the package %s, which does not exist", dir)
		}
	}
}

// Tests too keep to the halves, or the daemon's would not build without the other.
func TestHalves(t *testing.T) {
	for _, f := range files(t, parser.ImportsOnly) {
		for _, p := range f.importPaths() {
			own := strings.TrimPrefix(p, "mailstead/")
			if strings.HasPrefix(f.dir, "imapserver") && slices.Contains([]string{"schema", "render", "reconcile"}, strings.Split(own, "/")[0]) && own != p {
				t.Errorf("%s imports %s", f.name, own)
			}
			if own == "imapserver/dialogue" && !(f.isTest() && strings.HasSuffix(packageName(f), "_test")) {
				t.Errorf("%s imports the protocol scripts, which are for external test packages", f.name)
			}
		}
	}
}

func packageName(f *file) string { return f.ast.Name.Name }

// A library is in the hands of one package, so that it can be replaced there.
func TestModules(t *testing.T) {
	for _, f := range files(t, parser.ImportsOnly) {
		for _, p := range f.importPaths() {
			for module, allowed := range modules {
				if (p == module || strings.HasPrefix(p, module+"/")) && !f.isTest() && !slices.Contains(allowed, f.dir) {
					t.Errorf("%s imports %s", f.name, p)
				}
			}
		}
	}
}

// A package is named after a thing of its field; in the others, things pile up.
func TestPackageNames(t *testing.T) {
	for _, f := range files(t, parser.PackageClauseOnly) {
		parts := strings.Split(f.dir, "/")
		for _, p := range append(parts, packageName(f)) {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "internal", "misc"}, p) {
				t.Errorf("%s: no package is named %s", f.name, p)
			}
		}
		if len(parts) > 2 && !f.isTest() {
			t.Errorf("%s: packages are at most two deep", f.name)
		}
	}
}

// What a program does begins in main and stands in tables, not in the order in
// which packages are set up.
func TestNoInit(t *testing.T) {
	for _, f := range files(t, 0) {
		if f.isTest() {
			continue
		}
		for _, i := range f.ast.Imports {
			if i.Name != nil && i.Name.Name == "_" {
				t.Errorf("%s: blank import of %s", f.name, i.Path.Value)
			}
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init function", f.set.Position(fn.Pos()))
			}
		}
	}
}

// A file that does not fit into one's head is two files. What starts a program
// is read in one look, and so is the only part with privileges.
func TestSizes(t *testing.T) {
	spawn := 0
	for _, f := range files(t, parser.PackageClauseOnly) {
		lines := bytes.Count(f.text, []byte("\n"))
		if lines > 700 {
			t.Errorf("%s has %d lines, want at most 700", f.name, lines)
		}
		if path.Base(f.name) == "main.go" && lines > 30 {
			t.Errorf("%s has %d lines, want at most 30", f.name, lines)
		}
		if f.dir == "imapserver/spawn" && !f.isTest() {
			spawn += lines
		}
	}
	if spawn > 300 {
		t.Errorf("imapserver/spawn has %d lines, want at most 300", spawn)
	}
}

// A fresh clone holds all that it speaks of.
func TestNoForeignPaths(t *testing.T) {
	foreign := []string{"/wor" + "k/", "../shar" + "ed", "/root/g" + "o/", "/wor" + "kspace/"}
	for _, name := range names(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range foreign {
			if i := bytes.Index(text, []byte(p)); i >= 0 {
				t.Errorf("%s:%d: %s", name, 1+bytes.Count(text[:i], []byte("\n")), p)
			}
		}
	}
}

var (
	// rfcNames are words of IMAP, MIME and Go, not references.
	rfcNames = regexp.MustCompile(`(?i)RFC822|RFC3339`)
	rfcLoose = regexp.MustCompile(`(?i)\brfc-?[0-9]+|\brfc [0-9]+,? ?\(?(?:section|sect?\.|chapter|[0-9]+\.[0-9])|\brfc [0-9]+[,(] ?§|\b(?-i:rfc|Rfc) [0-9]+`)
)

// References are in one form, RFC 9051 §6.4.4, so that they can be searched for.
func TestRFCReferences(t *testing.T) {
	for _, f := range files(t, parser.ParseComments) {
		for _, group := range f.ast.Comments {
			text := rfcNames.ReplaceAllString(strings.Join(strings.Fields(group.Text()), " "), "")
			if wrong := rfcLoose.FindString(text); wrong != "" {
				t.Errorf("%s: %q: write RFC n §s", f.set.Position(group.Pos()), wrong)
			}
		}
	}
}

// The rule must catch what it is for.
func TestLooseReferences(t *testing.T) {
	for text, loose := range map[string]bool{
		"as RFC 9051 §6.4.4 says": false, "RFC 9051 §6.3.7 and §6.3.8": false, "RFC 5322, RFC 2045": false, "(RFC 5051): case": false,
		"RFC9051": true, "rfc 9051": true, "RFC-9051": true, "RFC 9051, §6.4.4": true, "RFC 9051 section 6.4.4": true, "RFC 9051, 6.4.4": true, "RFC 9051 (Section 6)": true,
	} {
		if got := rfcLoose.FindString(text); (got != "") != loose {
			t.Errorf("%q: found %q", text, got)
		}
	}
}

// The comments of the schema are the manual of descriptions.
func TestSchemaComments(t *testing.T) {
	if _, err := schema.Fields(); err != nil {
		t.Error(err)
	}
}

// The description on the first page is the one in examples/single, and loads.
func TestReadmeDescription(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "\n```cue\n")
	block, _, closed := strings.Cut(block, "```\n")
	if !ok || !closed {
		t.Fatal("README.md has no block of CUE")
	}
	example, err := os.ReadFile("examples/single/host.cue")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(example), "\n"+block) {
		t.Error("the first description of README.md is not the one of examples/single")
	}
	name := filepath.Join(t.TempDir(), "host.cue")
	if err := os.WriteFile(name, []byte(block), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := schema.Load(schema.Options{Inputs: []string{name}}); err != nil {
		t.Errorf("the first description of README.md is refused:\n%v", err)
	}
}

// The two commands are the way in; what they run is tested elsewhere.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"go build -o bin/ ./cmd/... && bin/mailstead up examples/quickstart", "go test ./..."} {
		if !regexp.MustCompile("(?m)^(?:    |\t)?" + regexp.QuoteMeta(command) + "$").Match(text) {
			t.Errorf("README.md has no line with the command %q", command)
		}
	}
}

// Tests use the standard library and go-cmp: no assertion framework has to be learned.
func TestNoAssertionFramework(t *testing.T) {
	for _, f := range files(t, parser.ImportsOnly) {
		for _, p := range f.importPaths() {
			if strings.HasPrefix(p, "github.com/stretchr/testify") || strings.HasPrefix(p, "github.com/go-quicktest") || strings.HasPrefix(p, "github.com/onsi/") {
				t.Errorf("%s imports %s", f.name, p)
			}
		}
	}
}

// .ci/run has the race detector look at every test, at fewer random runs of some (-short).
func TestShortLeavesNothingOut(t *testing.T) {
	out := regexp.MustCompile(`testing\.Short\(\)[^\n]*\{\s*(t\.Skip|return\b)`)
	for _, f := range files(t, parser.PackageClauseOnly) {
		if at := out.FindIndex(f.text); f.isTest() && at != nil {
			t.Errorf("%s:%d: a test is left out where it should do less", f.name, bytes.Count(f.text[:at[0]], []byte("\n"))+1)
		}
	}
}

// rightsByPath are the files that change mode, owner or times by a path, and why
// nobody else can turn that path elsewhere. Anywhere else it is done by a descriptor:
// where a user may write, the path loses against a link once in five tries.
var rightsByPath = map[string]string{
	"imapserver/control/serve.go": "a socket in the daemon's own directory",
	"imapserver/maildir/file.go":  "the worker is the user",
	"cmd/mailstead/demo.go":       "the operator's own directory, without root",
	"reconcile/kind/tree.go":      "/proc/self/fd of what has been opened",
}

// shells are programs that would read an argument as more than an argument.
var shells = []string{"sh", "bash", "dash", "zsh", "ksh", "busybox", "su", "sudo", "runuser", "eval", "xargs", "perl", "python3"}

// What gosec would say of the project, where it would be right.
func TestDangerousCalls(t *testing.T) {
	for _, f := range files(t, 0) {
		if f.isTest() || slices.Contains([]string{"imapserver/dialogue", "imapserver/bench", "imapserver/siege", "imapserver/oracle"}, f.dir) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, at := called(call), f.set.Position(call.Pos())
			switch name {
			case "os.Chown", "os.Lchown", "os.Chmod", "os.Chtimes", "unix.Chown", "unix.Lchown", "unix.Chmod", "syscall.Chown", "syscall.Lchown", "syscall.Chmod":
				if rightsByPath[f.name] == "" {
					t.Errorf("%s: %s goes by a path: use a descriptor", at, name)
				}
			case "exec.Command", "exec.CommandContext", "os.StartProcess", "syscall.Exec", "unix.Exec":
				for _, word := range literals(call) {
					if slices.Contains(shells, path.Base(word)) {
						t.Errorf("%s: %s runs %s, which reads its arguments once more", at, name, word)
					}
				}
			case "os.Setenv", "syscall.Setenv", "unix.Setenv":
				t.Errorf("%s: %s: what is set for this process is set for all that it starts", at, name)
			}
			return true
		})
	}
}

// Who becomes somebody else is of a session of its own: that user may look into the process, and
// from one in root's session type into root's shell (TIOCSTI of ioctl_tty(2)).
func TestSessionOfItsOwn(t *testing.T) {
	for _, f := range files(t, 0) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || f.isTest() {
				return true
			}
			set := map[string]bool{}
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok {
						set[key.Name] = true
					}
				}
			}
			if set["Credential"] && !set["Setsid"] {
				t.Errorf("%s: Credential without Setsid", f.set.Position(lit.Pos()))
			}
			return true
		})
	}
}

// called is the name of a function of another package that is called.
func called(call *ast.CallExpr) string {
	if s, ok := call.Fun.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name + "." + s.Sel.Name
		}
	}
	return ""
}

// literals are the strings among the arguments of a call.
func literals(call *ast.CallExpr) (list []string) {
	for _, a := range call.Args {
		if b, ok := a.(*ast.BasicLit); ok && b.Kind == token.STRING {
			s, _ := strconv.Unquote(b.Value)
			list = append(list, s)
		}
	}
	return list
}

// A program that strangers talk to has no door for its developers: no profiles over
// HTTP, no variables, and none of the runtime's switches for old behaviour.
func TestNoBackDoors(t *testing.T) {
	for _, f := range files(t, parser.ParseComments) {
		if f.isTest() || slices.Contains([]string{"imapserver/dialogue", "imapserver/bench", "imapserver/siege"}, f.dir) {
			continue
		}
		for _, p := range f.importPaths() {
			if slices.Contains([]string{"net/http/pprof", "runtime/pprof", "runtime/trace", "expvar", "plugin"}, p) {
				t.Errorf("%s imports %s", f.name, p)
			}
		}
		if bytes.Contains(f.text, []byte("//go:deb"+"ug")) || bytes.Contains(f.text, []byte("GODE"+"BUG")) {
			t.Errorf("%s sets a switch of the runtime's", f.name)
		}
	}
}

// The standard library reads what strangers send. Before this version it did some of
// it in quadratic time, and let links out of an os.Root: imapserver/oracle tries it.
func TestToolchainFloor(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(text)
	if m == nil || version.Compare("go"+string(m[1]), "go1.26.6") < 0 {
		t.Errorf("go.mod asks for Go %s, want 1.26.6 at least", m)
	}
	if bytes.Contains(text, []byte("\ngodebug")) {
		t.Error("go.mod sets a switch of the runtime's")
	}
}

// TestFuzzBounds: every fuzz target bounds what an input costs, by oracle.Cost or
// oracle.OnceCost: processor time and memory in proportion to its length.
func TestFuzzBounds(t *testing.T) {
	elsewhere := map[string]string{
		"schema/fuzz_test.go FuzzLoad": "schema.loadWithin, the bounds that every description has",
	}
	n := 0
	for _, f := range files(t, parser.SkipObjectResolution) {
		for _, d := range f.ast.Decls {
			target, ok := d.(*ast.FuncDecl)
			if !ok || !f.isTest() || !strings.HasPrefix(target.Name.Name, "Fuzz") {
				continue
			}
			n++
			bounded := false
			ast.Inspect(target, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if ok && strings.HasSuffix(s.Sel.Name, "Cost") {
					x, ok := s.X.(*ast.Ident)
					bounded = bounded || ok && x.Name == "oracle"
				}
				return true
			})
			id := f.name + " " + target.Name.Name
			if bounded == (elsewhere[id] != "") {
				t.Errorf("%s: oracle bounds its cost: %v; something else does: %q", id, bounded, elsewhere[id])
			}
		}
	}
	if n < 50 {
		t.Errorf("%d fuzz targets were found", n)
	}
}

// TestPatternsAreLate: no package of the daemon compiles a regular expression before it
// needs it. Its programs have all packages, and each worker would have what none uses.
func TestPatternsAreLate(t *testing.T) {
	for _, f := range files(t, parser.SkipObjectResolution) {
		if !strings.HasPrefix(f.dir, "imapserver") || f.isTest() || f.dir == "imapserver/dialogue" {
			continue
		}
		for _, d := range f.ast.Decls {
			vars, ok := d.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				for _, v := range spec.(*ast.ValueSpec).Values {
					call, ok := v.(*ast.CallExpr)
					if !ok {
						continue
					}
					if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "MustCompile" {
						t.Errorf("%s: a regular expression is made at start; see config.Pattern", f.set.Position(v.Pos()))
					}
				}
			}
		}
	}
}
