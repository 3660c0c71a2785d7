package session

import "strings"

// pattern is a mailbox name with wildcards (RFC 9051 §6.3.9): "*" is anything,
// "%" anything without the delimiter.
type pattern struct {
	text    string // without wildcards that others make superfluous
	literal int    // octets that are no wildcards: no shorter name matches
}

func newPattern(text string) pattern {
	var b strings.Builder
	p := pattern{}
	for i := 0; i < len(text); {
		if text[i] != '*' && text[i] != '%' {
			b.WriteByte(text[i])
			p.literal++
			i++
			continue
		}
		run := text[i : i+wildcards(text[i:])]
		if strings.Contains(run, "*") {
			b.WriteByte('*')
		} else {
			b.WriteByte('%')
		}
		i += len(run)
	}
	p.text = b.String()
	return p
}

// wildcards counts those at the front.
func wildcards(s string) int {
	return len(s) - len(strings.TrimLeft(s, "*%"))
}

// match tells whether a name matches. Its first octets, fold of them, are
// compared without case. It follows all the ways to match at once, so time is
// in proportion to the lengths' product and, as a name at least as long as
// the pattern's literals is needed, to the square of the name's at most.
func (p pattern) match(name string, fold int) bool {
	if p.literal > len(name) {
		return false
	}
	at := make([]bool, len(p.text)+1) // at[i]: the name so far may have used up text[:i]
	at[0] = true
	p.pass(at)
	for n := 0; n < len(name); n++ {
		p.step(at, name[n], n < fold)
	}
	return at[len(p.text)]
}

// step moves on by one octet of the name.
func (p pattern) step(at []bool, c byte, fold bool) {
	for i := len(p.text); i >= 0; i-- {
		stay := i < len(p.text) && at[i] && (p.text[i] == '*' || p.text[i] == '%' && c != delimiter[0])
		come := i > 0 && at[i-1] && same(p.text[i-1], c, fold)
		at[i] = stay || come
	}
	p.pass(at)
}

// pass lets wildcards stand for nothing.
func (p pattern) pass(at []bool) {
	for i := 0; i < len(p.text); i++ {
		if at[i] && (p.text[i] == '*' || p.text[i] == '%') {
			at[i+1] = true
		}
	}
}

func same(want, c byte, fold bool) bool {
	if want == '*' || want == '%' {
		return false
	}
	return want == c || fold && lower(want) == lower(c)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// foldOf is how many octets of a name are compared without case: those of
// INBOX, alone or in front.
func foldOf(name string) int {
	if name == inbox || strings.HasPrefix(name, courier) {
		return len(inbox)
	}
	return 0
}
