package dialogue

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// matcher holds what has been captured so far.
type matcher struct{ vars map[string]string }

// match compares a response with a pattern; where they agree, it keeps what the
// pattern captures.
func (m *matcher) match(pattern, response []node) bool {
	vars := maps.Clone(m.vars)
	if m.all(pattern, response) {
		return true
	}
	m.vars = vars
	return false
}

// all compares in order. "..." stands for as many words as are left once what
// follows it in the pattern has its own.
func (m *matcher) all(pattern, have []node) bool {
	for i, p := range pattern {
		if p.isRest() {
			for skip := i; skip <= len(have); skip++ {
				if m.all(pattern[i+1:], have[skip:]) {
					return true
				}
			}
			return i+1 == len(pattern)
		}
		if i >= len(have) || !m.one(p, have[i]) {
			return false
		}
	}
	return len(have) == len(pattern)
}

// isRest is true of "..." alone.
func (n node) isRest() bool { return n.text == "..." && (n.kind == word || n.kind == rest) }

func (m *matcher) one(p, have node) bool {
	switch p.kind {
	case list, code:
		return p.kind == have.kind && m.all(p.kids, have.kids)
	case set:
		return have.kind == set && m.any(p.kids, have.kids)
	}
	if have.kind > rest || (p.is("NIL") || have.is("NIL")) && p.kind != have.kind {
		return false
	}
	return m.text(p.text, have.text)
}

// any compares without order: each piece of the pattern takes one of have, and
// nothing may be left over unless the pattern says "...".
func (m *matcher) any(pattern, have []node) bool {
	if len(pattern) == 0 {
		return len(have) == 0
	}
	p, others := pattern[0], pattern[1:]
	if p.isRest() {
		if !slices.ContainsFunc(others, func(n node) bool { return !n.isRest() }) {
			return true
		}
		return m.any(append(others[:len(others):len(others)], p), have)
	}
	for i, h := range have {
		vars := maps.Clone(m.vars)
		left := append(have[:i:i], have[i+1:]...)
		if m.one(p, h) && m.any(others, left) {
			return true
		}
		m.vars = vars
	}
	return false
}

var special = regexp.MustCompile(`\.\.\.|\$\$|\$[A-Za-z][A-Za-z0-9_]*`)

// text compares a word or string with its pattern.
func (m *matcher) text(pattern, have string) bool {
	if !strings.ContainsAny(pattern, "$.") {
		return pattern == have
	}
	var re strings.Builder
	var names []string
	re.WriteString(`^(?s:`)
	last := 0
	for _, at := range special.FindAllStringIndex(pattern, -1) {
		re.WriteString(regexp.QuoteMeta(pattern[last:at[0]]))
		last = at[1]
		switch s := pattern[at[0]:at[1]]; {
		case s == "...":
			re.WriteString(`.*?`)
		case s == "$$":
			re.WriteString(`\$`)
		default:
			if value, known := m.vars[s[1:]]; known {
				re.WriteString(regexp.QuoteMeta(value))
			} else {
				names = append(names, s[1:])
				re.WriteString(`(.+)`)
			}
		}
	}
	re.WriteString(regexp.QuoteMeta(pattern[last:]) + `)$`)
	found := regexp.MustCompile(re.String()).FindStringSubmatch(have)
	if found == nil {
		return false
	}
	for i, name := range names {
		if m.vars == nil {
			m.vars = map[string]string{}
		}
		m.vars[name] = found[i+1]
	}
	return true
}
