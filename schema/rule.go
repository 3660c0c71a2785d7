package schema

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/parser"
)

//go:embed *.cue
var cueFiles embed.FS

// ownFiles stands before the name of an embedded file in CUE's positions.
// No file of an operator has such a name.
const ownFiles = "\x00schema/"

// rule is one node of the schema: what may stand at one place.
type rule struct {
	path     string // as in Field.Path
	value    cue.Value
	quick    cue.Value        // of a leaf: value without its message, much faster to unify with
	fields   map[string]*rule // of a struct with known names
	names    []string         // of fields, in the order of the schema
	key      cue.Value        // of a map: what its names must be
	quickKey cue.Value
	pattern  *rule // of a map: its values
	elem     *rule // of a list
	list     *rule // of what stands in one
	required bool
	secret   bool
	impact   string
	doc      string
	words    []string // the strings that are allowed, where they are few
	empty    bool     // beside them "" is
	example  string   // a value, as CUE writes it; of what NAME stands for, a name
}

// isStruct tells structs and maps from lists and plain values.
func (r *rule) isStruct() bool { return r.pattern != nil || r.fields != nil }

// at gives the rule for a place below r; nil where the schema has none. A
// secret's parts are secret.
func (r *rule) at(path []string) *rule {
	for _, name := range path {
		switch {
		case r.fields[name] != nil:
			r = r.fields[name]
		case r.pattern != nil:
			r = r.pattern
		case r.elem != nil:
			r = r.elem
		default:
			return nil
		}
	}
	return r
}

// compiled is the embedded schema in a CUE context of its own.
type compiled struct {
	ctx       *cue.Context
	top       *rule
	defaults  cue.Value
	subscribe bool   // the default of a folder
	maildir   string // the default of a system user
}

func compileSchema() (*compiled, error) {
	ctx := newContext()
	inst := build.NewContext().NewInstance("", nil)
	names, err := fs.Glob(cueFiles, "*.cue")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := cueFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(ownFiles+name, text, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("embedded schema: %w", err)
		}
		if err := inst.AddSyntax(f); err != nil {
			return nil, fmt.Errorf("embedded schema: %w", err)
		}
	}
	v := ctx.BuildInstance(inst)
	if err := v.Err(); err != nil {
		return nil, fmt.Errorf("embedded schema: %w", err)
	}
	s := &compiled{ctx: ctx, defaults: v.LookupPath(cue.MakePath(cue.Def("Defaults")))}
	host := s.defaults.LookupPath(cue.MakePath(cue.Str("hosts"), cue.AnyString))
	if s.subscribe, err = host.LookupPath(cue.MakePath(cue.Str("folders"), cue.AnyString, cue.Str("subscribe"))).Bool(); err != nil {
		return nil, fmt.Errorf("embedded schema: %w", err)
	}
	if s.maildir, err = host.LookupPath(cue.MakePath(cue.Str("users"), cue.AnyString, cue.Str("maildir"))).String(); err != nil {
		return nil, fmt.Errorf("embedded schema: %w", err)
	}
	s.top = newRule("", v.LookupPath(cue.MakePath(cue.Def("Description"))))
	return s, nil
}

// newRule reads a node of the schema and everything below it.
func newRule(path string, v cue.Value) *rule {
	r := &rule{path: path, value: v, doc: docText(v)}
	secret := v.Attribute("secret")
	r.secret = secret.Err() == nil
	impact := v.Attribute("impact")
	if impact.Err() == nil {
		r.impact = impact.Contents()
	}
	example := v.Attribute("example")
	if example.Err() == nil {
		r.example = example.Contents()
	}
	switch v.IncompleteKind() {
	case cue.StructKind:
		r.readStruct(v)
	case cue.ListKind:
		r.elem = newRule(path, v.LookupPath(cue.MakePath(cue.AnyIndex)))
		r.elem.list = r
	default:
		r.words, r.empty = stringsOf(v)
		r.quick = withoutMessage(v)
	}
	return r
}

func (r *rule) readStruct(v cue.Value) {
	it, err := v.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		return // a closed struct without fields
	}
	for it.Next() {
		sel := it.Selector()
		if sel.ConstraintType() == cue.PatternConstraint {
			r.key, r.quickKey = sel.Pattern(), withoutMessage(sel.Pattern())
			r.pattern = newRule(r.path+".NAME", it.Value())
			r.pattern.secret = r.pattern.secret || r.secret
			continue
		}
		name := sel.Unquoted()
		f := newRule(strings.TrimPrefix(r.path+"."+name, "."), it.Value())
		f.required = sel.ConstraintType() == cue.RequiredConstraint
		f.secret = f.secret || r.secret
		if r.fields == nil {
			r.fields = map[string]*rule{}
		}
		r.fields[name] = f
		r.names = append(r.names, name)
	}
}

// docText joins the comments of a field's own declaration. A field's comments
// come before those of the definition that it refers to.
func docText(v cue.Value) string {
	for _, g := range v.Doc() {
		return strings.Join(strings.Fields(g.Text()), " ")
	}
	return ""
}

// withoutMessage gives the first arm of a rule whose second one is the
// message. CUE works out every arm of a disjunction, which takes most of the time of a
// unification; almost all values of a description are right.
func withoutMessage(v cue.Value) cue.Value {
	if op, args := cue.Dereference(v).Expr(); op == cue.OrOp && len(args) == 2 {
		return args[0]
	}
	return v
}

// stringsOf gives the strings of a disjunction, and whether "" is one of them.
func stringsOf(v cue.Value) (words []string, empty bool) {
	op, args := cue.Dereference(v).Expr()
	if op != cue.OrOp {
		return nil, false
	}
	for _, a := range args {
		s, err := a.String()
		switch {
		case err == nil && s == "":
			empty = true
		case err == nil:
			words = append(words, s)
		}
	}
	return words, empty
}

// isOwn tells a position in the embedded schema from one in the operator's files.
func isOwn(filename string) bool { return strings.HasPrefix(filename, ownFiles) }
