package reconcile

import (
	"fmt"
	"slices"
	"strings"
)

// Selection says which part of a plan is meant, by patterns. A pattern is held
// against kind/name as a whole: "*" stands for any text, also with a "/" in it,
// "?" for one character, and a pattern without a "/" for everything of a kind.
type Selection struct {
	Only   []string `json:"only,omitempty"`
	Except []string `json:"except,omitempty"`
	Take   []string `json:"take,omitempty"` // may be replaced although somebody else wrote it
}

// Match tells whether a pattern of a Selection is meant for a reference.
func Match(pattern string, ref Ref) bool {
	if !strings.Contains(pattern, "/") {
		return glob(pattern, ref.Kind)
	}
	return glob(pattern, ref.String())
}

// glob goes back no further than to the last "*", so that no pattern takes
// longer than the product of both lengths.
func glob(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, star, from := 0, -1, 0
	for j := 0; j < len(t); {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i, j = i+1, j+1
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(string(p[i:]), "*") == ""
}

func matchAny(patterns []string, ref Ref) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return Match(p, ref) })
}

// picks tells whether a resource is meant.
func (s Selection) picks(ref Ref) bool {
	return (len(s.Only) == 0 || matchAny(s.Only, ref)) && !matchAny(s.Except, ref)
}

// Narrows tells whether anything at all is left out.
func (s Selection) Narrows() bool { return len(s.Only)+len(s.Except) > 0 }

// Aside is a change that is needed and not part of the plan.
type Aside struct {
	Ref    Ref    `json:"ref"`
	Origin string `json:"origin"`
	Reason string `json:"reason"`
}

// Unmatched gives the patterns that are meant for nothing: no resource that is
// wanted, and none that the plan is about. They are misspelled, most likely.
func (s Selection) Unmatched(p *Plan, want []Resource) []string {
	var none []string
	for _, pattern := range slices.Concat(s.Only, s.Except, s.Take) {
		meant := func(ref Ref) bool { return Match(pattern, ref) }
		if !slices.ContainsFunc(want, func(r Resource) bool { return meant(r.Ref) }) &&
			!slices.ContainsFunc(p.Changes, func(c Change) bool { return meant(c.Ref) }) &&
			!slices.ContainsFunc(p.Forget, meant) {
			none = append(none, pattern)
		}
	}
	return none
}

// Narrow keeps of a plan what is selected. What needs a change that is left out
// is deferred: it could not be made. What waits or could not be read is told
// where it is selected.
func (p *Plan) Narrow(s Selection) *Plan {
	out := *p
	out.Changes, out.Blocked, out.Unreadable, out.Record, out.Forget = []Change{}, nil, nil, nil, nil
	missing := make(map[Ref]string) // why there will be no such change
	for _, c := range p.Changes {
		if !s.picks(c.Ref) {
			missing[c.Ref] = "left out"
			out.LeftOut = append(out.LeftOut, Aside{c.Ref, c.Origin, c.Reason})
			continue
		}
		if n, ok := c.lacks(missing); ok {
			out.Deferred = append(out.Deferred, Aside{c.Ref, c.Origin, fmt.Sprintf("needs %s, which is %s", n, missing[n])})
			missing[c.Ref] = "deferred"
			continue
		}
		out.Changes = append(out.Changes, c)
	}
	for _, w := range p.Blocked {
		if s.picks(w.Ref) {
			out.Blocked = append(out.Blocked, w)
		}
	}
	for _, u := range p.Unreadable {
		if s.picks(u.Ref) {
			out.Unreadable = append(out.Unreadable, u)
		}
	}
	for _, r := range p.Record {
		if s.picks(r.Ref) {
			out.Record = append(out.Record, r)
		}
	}
	for _, ref := range p.Forget {
		if s.picks(ref) {
			out.Forget = append(out.Forget, ref)
		}
	}
	return &out
}

// lacks gives a resource that a change needs and that will not be there.
func (c Change) lacks(missing map[Ref]string) (Ref, bool) {
	if c.Want != nil {
		for _, n := range c.Want.Needs {
			if missing[n] != "" {
				return n, true
			}
		}
	}
	return Ref{}, false
}
