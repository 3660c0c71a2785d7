package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"
)

// wanted gives the words of the error() arm of the rule that a value breaks.
func wanted(err error) string {
	for _, e := range errors.Errors(err) {
		if format, args := e.Msg(); format == "%s" && len(args) == 1 {
			return fmt.Sprint(args[0])
		}
	}
	return "is not what the schema allows"
}

// cueErrors records what CUE reports of the operator's files.
func (l *loader) cueErrors(err error) {
	for _, e := range errors.Errors(err) {
		l.cueError(e)
	}
}

func (l *loader) cueError(e errors.Error) {
	format, _ := e.Msg()
	if strings.HasSuffix(format, "empty disjunction:") {
		return // a heading: what it heads follows
	}
	d := Diagnostic{Code: CodeCUE, Pos: l.cuePos(e), Path: cuePath(e), Message: plain(cut(cueText(e), maxMessage))}
	for _, c := range cueCodes {
		if strings.Contains(d.Message, c.part) {
			d.Code, d.Hint = c.code, c.hint
			break
		}
	}
	others := otherPlaces(e, d.Pos)
	if d.Code == CodeConflict && len(others) > 0 {
		d.Hint += ": see " + strings.Join(others, " and ")
	}
	if m := lineInText.FindString(d.Message); m != "" {
		d.Code, d.Message = CodeSyntax, strings.TrimSpace(d.Message[len(m):]) // YAML's
	}
	if d.Code == CodeImport || d.Code == CodeSyntax {
		d.Path = "" // that of a file or a package
	}
	d.Message = yamlValue.ReplaceAllString(d.Message, "$1")
	if tag := len(others) == 0 && len(l.opts.Tags) > 0; !tag { // what -t sets, the command line shows
		l.hideValues(&d, unquoted(e.Path()))
	}
	if d.Path != "" {
		d.Message = d.Path + ": " + d.Message
	}
	l.add(d)
}

// yamlValue finds where messages of YAML's go on with a part of a value.
var yamlValue = regexp.MustCompile(`(unknown anchor|anchor|cannot decode|cannot unmarshal tag) ['"].*`)

// hideValues takes the values out of a message whose path is a secret's, or is none of
// the schema's, since a field of one's own may be what a secret is made of, or that of
// a struct, which may hold one.
func (l *loader) hideValues(d *Diagnostic, path []string) {
	if l.schema == nil || len(path) == 0 {
		return
	}
	r := l.schema.top.at(path)
	switch {
	case l.isSecret(path):
		d.Message = "cannot be evaluated"
	case r != nil && !r.isStruct(), !strings.ContainsAny(d.Message, `"'{`):
	case d.Code == CodeConflict:
		d.Message = strings.TrimSpace("conflicting values " + mismatch.FindString(d.Message))
		l.hide(d.Pos)
	case d.Code == CodeCUE:
		d.Message = "cannot be evaluated"
		l.hide(d.Pos)
	}
}

var mismatch = regexp.MustCompile(`\(mismatched types [a-z |]+\)$`)

// cueText gives the words of an error with their cause, but without positions
// and paths.
func cueText(e errors.Error) string {
	format, args := e.Msg()
	text := fmt.Sprintf(format, args...)
	if cause := errors.Unwrap(e); cause != nil {
		if c, ok := cause.(errors.Error); ok {
			return join(text, cueText(c))
		}
		return join(text, cause.Error())
	}
	return text
}

func join(text, cause string) string {
	if text == "" {
		return cause
	}
	return text + ": " + cause
}

// cuePath writes the path of an error as CUE has it, from the operator's top.
func cuePath(e errors.Error) string {
	path := e.Path()
	if len(path) > 0 && strings.HasPrefix(path[0], "#") {
		path = path[1:] // the schema that it was unified with
	}
	return plain(cut(strings.Join(path, "."), maxMessage))
}

var lineInText = regexp.MustCompile(`^(?:yaml: )?(\S+?):([0-9]+):`)

// cuePos gives the first position of an error in the operator's files; where
// it has none, that of the nearest field.
func (l *loader) cuePos(e errors.Error) Pos {
	for _, p := range append([]token.Pos{e.Position()}, e.InputPositions()...) {
		if isTheirs(p) {
			return posOf(p)
		}
	}
	if m := lineInText.FindStringSubmatch(e.Error()); m != nil {
		return Pos{File: m[1], Line: number(m[2]), Col: 1}
	}
	near, _ := l.places.find(unquoted(e.Path()))
	return posOf(near.name)
}

// otherPlaces gives where else in the operator's files the values stand that an
// error is about: some of the first.
func otherPlaces(e errors.Error, known Pos) (others []string) {
	const most = 3
	for _, p := range e.InputPositions() {
		if at := posOf(p); isTheirs(p) && at != known && !slices.Contains(others, at.String()) && len(others) < most {
			others = append(others, at.String())
		}
	}
	return others
}

// cueCodes sorts CUE's messages by a part of their text.
var cueCodes = []struct{ part, code, hint string }{
	{"conflicting values", CodeConflict, "the same field is given two values that differ"},
	{"field is required but not present", CodeMissing, ""},
	{"import failed", CodeImport, "what a description imports stands in its own module (cue.mod); nothing is fetched"},
	{"cannot find package", CodeImport, "what a description imports stands in its own module (cue.mod); nothing is fetched"},
	{"undefined field", CodeReference, ""},
	{`" not found`, CodeReference, "a bare word is the name of another value: text stands in quotes, and what has all its defaults is written as {}"},
	{"incomplete", CodeIncomplete, "what fields depend on must have one definite value; -t sets a value that is marked with @tag"},
	{"expected", CodeSyntax, ""},
	{"missing ',' in struct literal", CodeSyntax, `a colon stands behind each name, and quotes around one with anything but letters, digits and _ in it: "mail.example.org": {...}`},
	{"missing", CodeSyntax, ""},
	{"illegal", CodeSyntax, ""},
	{"unknown escape sequence", CodeSyntax, `a backslash in a string is written twice`},
	{"invalid JSON", CodeSyntax, ""},
	{"no tag for", CodeTag, "-t sets a value that the description marks with @tag(name)"},
}

// isSecret tells whether a path is that of a secret or of a part of one.
func (l *loader) isSecret(path []string) bool {
	for i := range path {
		if r := l.schema.top.at(path[:i+1]); r != nil && r.secret {
			return true
		}
	}
	return false
}

// unquoted gives the plain names of a path as CUE's errors have it.
func unquoted(path []string) []string {
	names := make([]string, 0, len(path))
	for _, p := range path {
		if strings.HasPrefix(p, "#") {
			continue // where the schema is unified from
		}
		if s, err := strconv.Unquote(p); err == nil {
			p = s
		}
		names = append(names, p)
	}
	return names
}
