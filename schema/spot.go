package schema

import (
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
)

// spot is a place in the description with the operator's value of it. A spot
// is passed on rather than looked up again: CUE finds a name by going through
// its neighbours one by one, of which a host may have tens of thousands.
type spot struct {
	loader *loader
	path   []string // from the top
	value  cue.Value
	sound  bool // values with a fault, below, are as if they were not there
}

// name is the last part of the path.
func (s spot) name() string { return s.path[len(s.path)-1] }

// at gives a place below.
func (s spot) at(names ...string) spot {
	below := spot{s.loader, append(slices.Clip(s.path), names...), s.value.LookupPath(selectors(names)), s.sound}
	if s.sound && !below.ok() && below.value.IncompleteKind() != cue.StructKind {
		below.value = s.value.LookupPath(selectors([]string{indexMark}))
	}
	return below
}

// fields gives the fields of a struct, sorted by name; none of what is no struct.
func (s spot) fields() []spot {
	v, _ := s.value.Default()
	it, err := v.Fields()
	if err != nil {
		return nil
	}
	var list []spot
	for it.Next() {
		list = append(list, spot{s.loader, append(slices.Clip(s.path), it.Selector().Unquoted()), it.Value(), s.sound})
	}
	slices.SortFunc(list, func(a, b spot) int { return strings.Compare(a.name(), b.name()) })
	return list
}

// elements gives the elements of a list; none of what is no list.
func (s spot) elements() []spot {
	it, err := s.value.List()
	if err != nil {
		return nil // there is none, or strict has said why
	}
	var list []spot
	for i := 0; it.Next(); i++ {
		list = append(list, spot{s.loader, append(slices.Clip(s.path), indexMark+strconv.Itoa(i)), it.Value(), s.sound})
	}
	return list
}

// exists tells whether the operator wrote anything there.
func (s spot) exists() bool { return s.value.Exists() }

// ok tells that strict found no fault there.
func (s spot) ok() bool { return !s.loader.faulty[pathKey(s.path)] }

// pos is where the place is named; valuePos, where its value stands.
func (s spot) pos() Pos      { return s.loader.places.namePos(s.path, s.value) }
func (s spot) valuePos() Pos { return s.loader.places.valuePos(s.path, s.value) }

// fault records a fault of the place, shown where it is named; faultOfValue,
// where its value stands.
func (s spot) fault(code, message, hint string) {
	s.loader.fault(code, s.path, s.pos(), message, hint)
}

func (s spot) faultOfValue(code, message, hint string) {
	s.loader.fault(code, s.path, s.valuePos(), message, hint)
}

// str, number and boolean give a plain value; false where there is none.
func (s spot) str() (string, bool) {
	v, err := s.value.String()
	return v, err == nil
}

func (s spot) number() (int, bool) {
	v, err := s.value.Int64()
	return int(v), err == nil
}

func (s spot) boolean() (bool, bool) {
	v, err := s.value.Bool()
	return v, err == nil
}

// days gives the number of a value such as "30d"; 0 where there is none, or "never".
func (s spot) days() int {
	text, _ := s.str()
	n, _ := strconv.Atoi(strings.TrimSuffix(text, "d"))
	return n
}

func selectors(path []string) cue.Path {
	sels := make([]cue.Selector, len(path))
	for i, name := range path {
		sels[i] = cue.Str(name)
	}
	return cue.MakePath(sels...)
}
