package message

import "strings"

// lexer reads the tokens of structured fields (RFC 5322 §3.2, RFC 2045 §5.1),
// from values as they stand in a header. It reads every octet once.
type lexer struct {
	b         []byte
	i         int
	comment   []byte // text of the last comment that skip went past
	bracketed bool   // comments stand within angle brackets, and end before ">" at the latest
}

func (l *lexer) end() bool { return l.i >= len(l.b) }

func (l *lexer) next() byte {
	if l.end() {
		return 0
	}
	return l.b[l.i]
}

// take moves past c if it is next.
func (l *lexer) take(c byte) bool {
	if l.end() || l.b[l.i] != c {
		return false
	}
	l.i++
	return true
}

// skip moves past white space, line breaks and comments, and says whether
// there were any.
func (l *lexer) skip() bool {
	start := l.i
	for !l.end() {
		switch l.b[l.i] {
		case ' ', '\t', '\r', '\n':
			l.i++
		case '(':
			l.skipComment()
		default:
			return l.i > start
		}
	}
	return l.i > start
}

// skipComment moves past a comment; one that is not closed ends with the field, or
// with the angle brackets that it stands in.
func (l *lexer) skipComment() {
	l.i++
	l.comment = nil
	for depth := 1; !l.end(); l.i++ {
		c := l.b[l.i]
		switch c {
		case '\\':
			if l.i++; l.end() {
				return
			}
			c = l.b[l.i]
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				l.i++
				return
			}
		case '>':
			if l.bracketed {
				return
			}
		case '\r', '\n':
			continue
		}
		l.comment = append(l.comment, c)
	}
}

// quoted reads a quoted string, without its quoting (RFC 5322 §3.2.4), and
// adds it to dst. One that is not closed ends with the field.
func (l *lexer) quoted(dst []byte) []byte {
	l.i++
	for !l.end() {
		c := l.b[l.i]
		l.i++
		switch c {
		case '"':
			return dst
		case '\r', '\n':
			continue
		case '\\':
			if l.end() {
				return dst
			}
			c = l.b[l.i]
			l.i++
		}
		dst = append(dst, c)
	}
	return dst
}

// until reads up to one of the octets of stop, white space, or the end.
func (l *lexer) until(stop string) []byte {
	start := l.i
	for !l.end() {
		c := l.b[l.i]
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' || strings.IndexByte(stop, c) >= 0 {
			break
		}
		l.i++
	}
	return l.b[start:l.i]
}
