package imapserver

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// event is a line of the log: what the code calls it, how bad it is, and what it says.
type event struct {
	name, level string
	from        string   // packages
	attrs       []string // in their order
}

// levels are the methods that log.
var levels = map[string]string{"Info": "info", "Warn": "warn", "Error": "error", "tell": "warn", "LevelInfo": "info", "LevelWarn": "warn"}

// passed are files that log what others have called.
var passed = map[string]bool{"lmtp/worker.go": true, "login/server.go": true}

// logged finds the events in a file.
func logged(t *testing.T, path string, all map[string]*event) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		level, args := logCall(call)
		if name, ok := literal(args); ok {
			add(all, event{name, level, filepath.Base(filepath.Dir(path)), attrsOf(args[1:])})
		} else if level != "" && len(args) > 0 && !passed[path] {
			t.Errorf("%s: a line of the log whose name is no literal", path)
		}
		return true
	})
}

// logCall gives the level of a call that logs, and its arguments from the name on.
func logCall(call *ast.CallExpr) (level string, args []ast.Expr) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", nil
	}
	if method.Sel.Name == "tell" && len(call.Args) > 2 && isLog(call.Args[0]) {
		return levels["tell"], call.Args[1:]
	}
	if !isLog(method.X) || levels[method.Sel.Name] == "" {
		return "", nil
	}
	return levels[method.Sel.Name], call.Args
}

// isLog tells whether an expression is a logger, by its name.
func isLog(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "log"
	case *ast.SelectorExpr:
		return strings.EqualFold(e.Sel.Name, "log")
	case *ast.CallExpr:
		return isLog(e.Fun)
	}
	return false
}

func literal(args []ast.Expr) (string, bool) {
	if len(args) == 0 {
		return "", false
	}
	l, ok := args[0].(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// attrsOf are the names of a line's values, in pairs or made by slog.
func attrsOf(args []ast.Expr) (attrs []string) {
	for i := 0; i < len(args); i++ {
		if name, ok := literal(args[i:]); ok {
			attrs = append(attrs, name)
			i++
		} else if call, ok := args[i].(*ast.CallExpr); ok {
			if name, ok := literal(call.Args); ok {
				attrs = append(attrs, name)
			}
		}
	}
	return attrs
}

// add adds an event; of one that several places log, what any says.
func add(all map[string]*event, e event) {
	old := all[e.name]
	if old == nil {
		all[e.name] = &e
		return
	}
	if !slices.Contains(strings.Split(old.from, ", "), e.from) {
		old.from += ", " + e.from
	}
	if !slices.Contains(strings.Split(old.level, ", "), e.level) {
		old.level += ", " + e.level
	}
	for _, a := range e.attrs {
		if !slices.Contains(old.attrs, a) {
			old.attrs = append(old.attrs, a)
		}
	}
}

// byAuth are the events whose names auth chooses by what has happened.
var byAuth = []event{
	{"login failed", "warn", "auth", []string{"addr", "user", "session", "mechanism", "tls", "reason", "for"}},
	{"login not checked", "warn", "auth", []string{"addr", "user", "session", "mechanism", "tls", "reason", "for"}},
	{"login referred", "info", "auth", []string{"user", "addr", "session", "to"}},
}

// TestLogs: docs/logs.md has every event that the daemon logs, and no other.
// MAILSTEAD_UPDATE=1 writes its table anew, with the meanings that it has.
func TestLogs(t *testing.T) {
	all := map[string]*event{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			logged(t, path, all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range byAuth {
		add(all, e)
	}
	const file, head = "../docs/logs.md", "| event | level | from | says | meaning |\n|---|---|---|---|---|\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	intro, table, ok := strings.Cut(string(text), head)
	if !ok {
		t.Fatalf("%s has no table", file)
	}
	meanings := map[string]string{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(strings.Trim(line, "| \n"), " | "); len(cells) == 5 {
			meanings[cells[0]] = cells[4]
		}
	}
	var want bytes.Buffer
	want.WriteString(intro + head)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e := all[name]
		from := strings.ReplaceAll(e.from, ".", "imapserver")
		if meanings[name] == "" {
			t.Errorf("%s: nothing is said of what %q means", file, name)
		}
		fmt.Fprintf(&want, "| %s | %s | %s | %s | %s |\n", name, e.level, from, cmp.Or(strings.Join(e.attrs, ", "), "-"), cmp.Or(meanings[name], "?"))
	}
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want.String() != string(text) {
		t.Errorf("%s is not what the code logs; MAILSTEAD_UPDATE=1 writes it anew", file)
	}
}
