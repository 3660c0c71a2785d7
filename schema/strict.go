package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue"
)

// strict compares a value with the schema, node by node and without defaults,
// and records every fault. CUE's own unification would stop at the first
// conflict of a struct and be silent about its other fields.
func (l *loader) strict(r *rule, v cue.Value, path []string) {
	switch {
	case r.isStruct():
		l.strictStruct(r, v, path)
	case r.elem != nil:
		l.strictList(r, v, path)
	default:
		l.strictLeaf(r, v, path)
	}
}

func (l *loader) strictStruct(r *rule, v cue.Value, path []string) {
	v, _ = v.Default()
	it, err := v.Fields()
	if err != nil {
		l.notKind(r, v, path, "a struct", cue.StructKind)
		return
	}
	seen := make(map[string]bool, len(r.names))
	for it.Next() {
		name := it.Selector().Unquoted()
		seen[name] = true
		sub := append(path[:len(path):len(path)], name)
		switch {
		case r.fields[name] != nil:
			l.strict(r.fields[name], it.Value(), sub)
		case r.pattern != nil:
			l.strictName(r, name, it.Value(), sub)
			l.strict(r.pattern, it.Value(), sub)
		default:
			l.unknown(r, name, it.Value(), path, v)
		}
	}
	for _, name := range r.names {
		misspelt := l.faulty[pathKey(append(path[:len(path):len(path)], name))]
		if r.fields[name].required && !seen[name] && !misspelt {
			l.missing(r.fields[name], v, path, name)
		}
	}
}

// notKind records that a value is not the struct or list that is wanted there.
func (l *loader) notKind(r *rule, v cue.Value, path []string, want string, kind cue.Kind) {
	switch has := v.IncompleteKind(); {
	case has == cue.BottomKind:
		l.broken(r, v, path)
	case has&kind != 0:
		l.fault(CodeIncomplete, path, l.places.valuePos(path, v), "has no definite value", "")
	default:
		l.fault(CodeType, path, l.places.valuePos(path, v), fmt.Sprintf("must be %s%s, not %s", want, r.outline(), kindName(has)), "")
	}
}

// outline shows the fields of a struct as one would write them.
func (r *rule) outline() string {
	if len(r.names) == 0 || len(r.names) > 4 {
		return ""
	}
	return " {" + strings.Join(r.names, ": ..., ") + ": ...}"
}

func (l *loader) strictList(r *rule, v cue.Value, path []string) {
	v, _ = v.Default()
	it, err := v.List()
	if err != nil {
		l.notKind(r, v, path, "a list", cue.ListKind)
		return
	}
	for i := 0; it.Next(); i++ {
		l.strictLeaf(r.elem, it.Value(), append(path[:len(path):len(path)], indexMark+strconv.Itoa(i)))
	}
}

func (l *loader) strictLeaf(r *rule, v cue.Value, path []string) {
	v, _ = v.Default()
	if v.IncompleteKind() == cue.BottomKind {
		l.broken(r, v, path)
		return
	}
	words := ""
	if r.quick.Unify(v).Err() != nil {
		words = wanted(r.value.Unify(v).Err())
	}
	switch {
	case words != "":
		code, not := CodeValue, ""
		if v.IncompleteKind()&r.value.IncompleteKind() == 0 {
			code = CodeType
		}
		if !r.secret {
			not = ", not " + shown(v)
		}
		l.fault(code, path, l.places.valuePos(path, v), words+not, l.nearWord(r, v))
	case !v.IsConcrete():
		l.fault(CodeIncomplete, path, l.places.valuePos(path, v), "has no definite value", "")
	}
}

// strictName checks a name that the operator chose.
func (l *loader) strictName(r *rule, name string, v cue.Value, path []string) {
	key := l.schema.ctx.Encode(name)
	if r.quickKey.Unify(key).Err() != nil {
		err := r.key.Unify(key).Err()
		l.fault(CodeName, path, l.places.namePos(path, v), "cannot have that name: it "+wanted(err), l.nearName(r, name))
	}
}

func (l *loader) unknown(r *rule, name string, v cue.Value, path []string, in cue.Value) {
	sub := append(path[:len(path):len(path)], name)
	message, hint := "has no field "+quote(name), ""
	if r.secret && !r.anyIn(in) {
		message = "has no field of that name" // which may be the secret
	}
	if near := Nearest(name, r.names); near != "" {
		message = fmt.Sprintf("has no field %s (did you mean %q?)", quote(name), near)
		l.faulty[pathKey(append(path[:len(path):len(path)], near))] = true // it is not missing as well
		if r.fields[near].secret {
			l.hide(l.places.namePos(sub, v))
		}
	} else if elsewhere := l.schema.top.holding(name); elsewhere != "" {
		hint = quote(name) + " is a field of " + elsewhere
	} else if len(path) == 0 {
		hint = "a value of your own begins with an underscore: _" + name
	} else {
		hint = "it has " + strings.Join(r.names, ", ")
	}
	for i := range len(sub) + 1 {
		l.faulty[pathKey(sub[:i])] = true
	}
	l.fault(CodeUnknownField, path, l.places.namePos(sub, v), message, hint)
}

// anyIn tells whether a struct has any of the fields that it may have.
func (r *rule) anyIn(v cue.Value) bool {
	return slices.ContainsFunc(r.names, func(name string) bool { return v.LookupPath(cue.MakePath(cue.Str(name))).Exists() })
}

// holding finds the struct that has a field of a name.
func (r *rule) holding(name string) string {
	for _, n := range r.names {
		if n == name {
			return r.path
		}
	}
	for _, n := range r.names {
		f := r.fields[n]
		if f.pattern != nil {
			f = f.pattern
		}
		if p := f.holding(name); p != "" {
			return p
		}
	}
	return ""
}

func (l *loader) missing(f *rule, v cue.Value, path []string, name string) {
	l.fault(CodeMissing, append(path[:len(path):len(path)], name), l.places.namePos(path, v), "is missing: it is required", docEnd.ReplaceAllString(f.doc, "$1"))
}

// broken records what CUE itself finds wrong with a value, such as two values
// that differ.
func (l *loader) broken(r *rule, v cue.Value, path []string) {
	before := len(l.faults)
	l.cueErrors(v.Err())
	if len(l.faults) == before {
		l.fault(CodeValue, path, l.places.valuePos(path, v), "has no value", "")
	}
	for i := range len(path) + 1 {
		l.faulty[pathKey(path[:i])] = true
	}
}

// nearWord proposes an allowed word for a wrong one, or the same without capitals.
func (l *loader) nearWord(r *rule, v cue.Value) string {
	s, err := v.String()
	if err != nil || r.secret {
		return ""
	}
	if near := Nearest(strings.ToLower(strings.TrimPrefix(s, `\`)), r.words); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	at := strings.LastIndexByte(s, '@') + 1 // whose name is before it may have capitals
	scheme := strings.Index(s, "://") + 1
	for _, lower := range []string{s[:at] + strings.ToLower(s[at:]), strings.ToLower(s[:scheme]) + s[scheme:max(at, scheme)] + strings.ToLower(s[max(at, scheme):])} {
		if lower != s && r.quick.Unify(l.schema.ctx.Encode(lower)).Err() == nil {
			return inLower(lower)
		}
	}
	return ""
}

func inLower(s string) string { return "write it in lower case: " + quote(s) }

// nearName proposes the name in small letters, where that is one.
func (l *loader) nearName(r *rule, name string) string {
	if lower := strings.ToLower(name); lower != name && r.quickKey.Unify(l.schema.ctx.Encode(lower)).Err() == nil {
		return inLower(lower)
	}
	return ""
}

// shown writes a plain value for a message: short, on one line, and without
// anything that a terminal would obey.
func shown(v cue.Value) string {
	switch k := v.IncompleteKind(); {
	case !v.IsConcrete():
		return kindName(k)
	case k == cue.StringKind:
		s, _ := v.String()
		return quote(s)
	case k == cue.StructKind || k == cue.ListKind || k == cue.BytesKind:
		return kindName(k)
	}
	return plain(cut(fmt.Sprint(v), maxValue))
}

// How many characters of a value, and of a message of CUE's, are shown.
const maxValue, maxMessage = 60, 240

func quote(s string) string { return strconv.QuoteToGraphic(cut(s, maxValue)) }

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + "..."
}

// kindName names a kind of values, with its article.
func kindName(k cue.Kind) string {
	switch k {
	case cue.StringKind:
		return "a string"
	case cue.IntKind, cue.FloatKind, cue.NumberKind:
		return "a number"
	case cue.BoolKind:
		return "true or false"
	case cue.ListKind:
		return "a list"
	case cue.StructKind:
		return "a struct"
	case cue.NullKind:
		return "null"
	case cue.BytesKind:
		return "bytes"
	}
	return "a value of another kind"
}
