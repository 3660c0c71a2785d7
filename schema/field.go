package schema

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// Field is what the schema says of one field.
type Field struct {
	Path     string   `json:"path"`              // from the top, names of the operator's choice as NAME: hosts.NAME.listeners.NAME.port
	Type     string   `json:"type"`              // what the schema wants there, in a few words
	Doc      string   `json:"doc"`               // its meaning, without the default
	Default  string   `json:"default,omitempty"` // as its comment has it; "" for a required field
	Required bool     `json:"required,omitempty"`
	Secret   bool     `json:"secret,omitempty"`
	Impact   string   `json:"impact,omitempty"`  // what a change means to the people connected: the word of one of Impacts; "" where its fields say it
	Words    []string `json:"words,omitempty"`   // the strings that are allowed beside "", where they are few
	Rule     string   `json:"rule,omitempty"`    // which values are allowed: "must be ..."; "" where the type says it all, or Go does
	NameRule string   `json:"names,omitempty"`   // which names are allowed in place of NAME, of a struct by name
	Example  string   `json:"example,omitempty"` // a description that says it, as one line of CUE
}

// Term is a word of a short list, with what it means.
type Term struct{ Word, Meaning string }

// MeaningOf gives the meaning of a word; "" of one that is not in the list.
func MeaningOf(list []Term, word string) string {
	if i := slices.IndexFunc(list, func(t Term) bool { return t.Word == word }); i >= 0 {
		return list[i].Meaning
	}
	return ""
}

// Impacts are the impact words of the schema, from the lightest to the gravest.
var Impacts = []Term{
	{"live", "it takes effect at once, and nobody notices"},
	{"reload", "the daemon reloads, and no connection is lost"},
	{"rebind", "a listener moves, and its connections end"},
	{"restart", "every connection ends"},
	{"data", "it is about where mail is, and moves none: say what you mean before you apply it"},
}

// Fields lists every field of the schema, each after the field that holds it.
// The error names a field that breaks the schema's own rules: a comment that
// ends with the default or with "Required.", a known impact word, an example.
func Fields() ([]Field, error) {
	s, err := compileSchema()
	if err != nil {
		return nil, err
	}
	return s.fieldsOf(s.top)
}

// fieldsOf lists the fields of a struct and everything below them.
func (s *compiled) fieldsOf(top *rule) ([]Field, error) {
	var list []Field
	var errs []error
	var visit func(r *rule)
	visit = func(r *rule) {
		for _, name := range r.names {
			f := r.fields[name]
			field, err := s.field(f)
			list, errs = append(list, field), append(errs, err)
			visit(f.inner())
		}
	}
	visit(top.inner())
	return list, errors.Join(errs...)
}

// inner gives what the names of a map, or the places of a list, hold.
func (r *rule) inner() *rule {
	for r.pattern != nil || r.elem != nil {
		if r.pattern != nil {
			r = r.pattern
		} else {
			r = r.elem
		}
	}
	return r
}

// docEnd parts a comment from its default.
var docEnd = regexp.MustCompile(`^(.+?) (?:Default: (.+)|(Required))\.$`)

// field says of a rule what the schema does, and what it breaks of the schema's own rules.
func (s *compiled) field(r *rule) (Field, error) {
	f := Field{Path: r.path, Type: r.typeName(), Doc: r.doc, Required: r.required, Secret: r.secret, Impact: r.impact, Words: r.words, Example: s.line(r)}
	if !r.isStruct() && r.words == nil {
		f.Rule = s.wants(r.inner().value)
		if f.Rule == "must be a string" || f.Rule == "must be "+f.Type {
			f.Rule = "" // the type has said so
		}
	}
	if r.pattern != nil {
		f.NameRule = s.wants(r.key)
	}
	m := docEnd.FindStringSubmatch(r.doc)
	switch {
	case m == nil:
		return f, fmt.Errorf(`%s: the comment must end with "Default: ...." or "Required."`, r.path)
	case r.required != (m[3] != ""):
		return f, fmt.Errorf("%s: the comment and the field differ in whether it is required", r.path)
	case r.impact != "" && MeaningOf(Impacts, r.impact) == "":
		return f, fmt.Errorf("%s: %q is no impact word", r.path, r.impact)
	case r.impact == "" && !r.isStruct():
		return f, fmt.Errorf("%s: no @impact", r.path)
	case r.example == "" && !r.isStruct(), r.pattern != nil && r.pattern.example == "":
		return f, fmt.Errorf("%s: no @example", r.path)
	}
	f.Doc, f.Default = m[1], m[2]
	return f, nil
}

// wants gives the words in which the schema refuses what is not even of the
// right type; "" where it has none of its own.
func (s *compiled) wants(v cue.Value) string {
	wrong := s.ctx.CompileString("null")
	if words := wanted(v.Unify(wrong).Err()); words != wanted(nil) {
		return words
	}
	return ""
}

// line writes a description with the example of a field, or of the first
// field in it, on one line.
func (s *compiled) line(r *rule) string {
	var b strings.Builder
	at := s.top
	for _, name := range splitPath(r.path) {
		at = at.step(name)
		b.WriteString(at.label(name) + ": ")
	}
	for at.isStruct() {
		name := "NAME"
		if at.pattern == nil {
			name = at.names[0]
		}
		at = at.step(name)
		b.WriteString(at.label(name) + ": ")
	}
	return b.String() + at.example
}

// step goes down by one name.
func (r *rule) step(name string) *rule {
	if r.pattern != nil {
		return r.pattern
	}
	return r.fields[name]
}

// label writes the name of a field, and in place of NAME the one that is its example.
func (r *rule) label(name string) string {
	if name == "NAME" && r.example != "" {
		name = strings.Trim(r.example, `"`)
	}
	return cue.MakePath(cue.Str(name)).String()
}

// typeName says in a word what a field holds.
func (r *rule) typeName() string {
	switch {
	case r.pattern != nil:
		return "struct by name"
	case r.fields != nil:
		return "struct"
	case r.elem != nil:
		return "list of strings"
	case r.words != nil:
		words := `"` + strings.Join(r.words, `", "`) + `"`
		if r.empty {
			words += ` or ""`
		}
		return words
	case r.value.IncompleteKind() == cue.IntKind:
		return "whole number"
	case r.value.IncompleteKind() == cue.BoolKind:
		return "true or false"
	}
	return "string"
}
