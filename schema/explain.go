package schema

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// Explanation is what there is to say of one place of a description.
type Explanation struct {
	Field
	// Below are the fields of a struct, or those that each NAME of a struct by
	// name has; with their own fields after them where that was asked for.
	Below []Field `json:"fields,omitempty"`
}

// UnknownFieldError says that a path names nothing that a description can hold.
type UnknownFieldError struct {
	Path  string   // as it was asked for
	Near  string   // the path that was probably meant; "" where none is near
	Under string   // the place up to which the path is right; "" is the top
	Has   []string // the fields that this place has
}

func (e *UnknownFieldError) Error() string { return "the schema has no field " + quote(e.Path) }

// Explain says what the schema says of a path: all of it from the top, with
// any name where the operator chooses one (hosts.NAME.users.alice.quota), or
// only its end (quota.storage), which may be that of several fields. Without a path
// it is the top. deep asks for everything below. The error for a path that
// names nothing is an *UnknownFieldError.
func Explain(path string, deep bool) ([]Explanation, error) {
	s, err := compileSchema()
	if err != nil {
		return nil, err
	}
	found, err := s.rulesAt(path)
	if err != nil {
		return nil, err
	}
	list := make([]Explanation, len(found))
	for i, r := range found {
		if r.list != nil {
			r = r.list
		}
		list[i].Field, _ = s.field(r) // the comment of what stands for a NAME has no default
		if r.doc == "" {
			list[i].Doc = docText(cue.Dereference(r.value))
		}
		below, err := s.fieldsOf(r)
		if err != nil {
			return nil, err
		}
		if !deep {
			depth := strings.Count(r.inner().path, ".") + 1
			if r == s.top {
				depth = 0
			}
			below = slices.DeleteFunc(below, func(f Field) bool { return strings.Count(f.Path, ".") != depth })
		}
		list[i].Below = below
	}
	return list, nil
}

// rulesAt finds what a path names.
func (s *compiled) rulesAt(path string) ([]*rule, error) {
	names := splitPath(path)
	if len(names) == 0 {
		return []*rule{s.top}, nil
	}
	if r := s.top.at(names); r != nil {
		return []*rule{r}, nil
	}
	var found []*rule
	for _, r := range s.structs() {
		if f := r.fields[names[0]]; r != s.top && f != nil {
			if f = f.at(names[1:]); f != nil {
				found = append(found, f)
			}
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, s.unknownField(path, names)
}

// splitPath gives the names of a path, which is written as CUE does or, as a
// shell likes it better, without the quotation marks.
func splitPath(path string) []string {
	if path == "" {
		return nil
	}
	p := cue.ParsePath(path)
	if p.Err() != nil {
		return strings.Split(path, ".")
	}
	var names []string
	for _, sel := range p.Selectors() {
		if sel.IsString() {
			names = append(names, sel.Unquoted())
		} else {
			names = append(names, sel.String())
		}
	}
	return names
}

// structs lists the structs with known fields, the outer ones first.
func (s *compiled) structs() []*rule {
	list := []*rule{s.top}
	for i := 0; i < len(list); i++ {
		for _, name := range list[i].names {
			if r := list[i].fields[name].inner(); r.fields != nil {
				list = append(list, r)
			}
		}
	}
	return list
}

// unknownField says what was probably meant by a path that names nothing: by
// the places at which the longest part of it is right.
func (s *compiled) unknownField(path string, names []string) error {
	var places []*rule
	right := 0
	for _, r := range s.structs() {
		under, n := r.walk(names)
		if n > right {
			places, right = nil, n
		}
		if n == right {
			places = append(places, under)
		}
	}
	e := &UnknownFieldError{Path: path, Under: places[0].path, Has: places[0].inner().names}
	wrong, rest := names[right], names[right+1:]
	best := len(wrong) + 1
	for _, r := range places {
		near := Nearest(wrong, r.names)
		if d := distance(wrong, near); near != "" && d < best {
			best, e.Near = d, r.fields[near].path
			if f := r.fields[near].at(rest); f != nil {
				e.Near = f.path
			}
		}
	}
	if holder := s.top.holding(wrong); e.Near == "" && holder != "" {
		e.Near = holder + "." + wrong
	}
	return e
}

// walk follows a path for as long as it is right, which is not to its end.
func (r *rule) walk(names []string) (*rule, int) {
	for n := range names {
		if below := r.at(names[n : n+1]); below != nil {
			r = below
		} else {
			return r, n
		}
	}
	return r, len(names) - 1
}
