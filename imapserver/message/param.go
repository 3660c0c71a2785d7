package message

import (
	"slices"
	"strconv"
	"strings"
)

// param is a parameter of Content-Type or Content-Disposition.
type param struct{ name, value string }

const tspecials = `()<>@,;:\"/[]?=` // RFC 2045 §5.1

// parseContentType reads a Content-Type; one that cannot be read is text/plain
// (RFC 2045 §5.2).
func parseContentType(value []byte) (mediaType, []param) {
	l := lexer{b: value}
	l.skip()
	typ := string(l.until(tspecials))
	l.skip()
	slash := l.take('/')
	l.skip()
	sub := string(l.until(tspecials))
	if !isToken(typ) || !slash || !isToken(sub) {
		return textPlain, nil
	}
	return mediaType{typ, sub}, l.params()
}

// isToken is true of a token (RFC 2045 §5.1), where s holds no tspecials. A
// name of a type with other octets must not pass: what is written of it, NUL left
// out, would be another type than the one that the message was parsed by.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// parseDisposition reads a Content-Disposition (RFC 2183). ok is false where
// it has no type.
func parseDisposition(value []byte) (typ string, params []param, ok bool) {
	l := lexer{b: value}
	l.skip()
	typ = string(l.until(tspecials))
	if typ == "" {
		return "", nil, false
	}
	return typ, l.params(), true
}

// params reads "; name=value" to the end of the field. What does not fit is
// left out up to the next semicolon.
func (l *lexer) params() []param {
	var list []param
	for len(list) < maxParams && l.semicolon() {
		l.skip()
		name := string(l.until(tspecials))
		l.skip()
		if name == "" || !l.take('=') {
			continue
		}
		l.skip()
		if l.next() == '"' {
			list = append(list, param{name, string(l.quoted(nil))})
		} else if v := l.until(`;("`); len(v) > 0 {
			list = append(list, param{name, string(v)})
		}
	}
	return joinContinuations(list)
}

// semicolon moves past the next semicolon outside comments and strings.
func (l *lexer) semicolon() bool {
	for {
		l.skip()
		switch {
		case l.end():
			return false
		case l.next() == '"':
			l.quoted(nil)
		default:
			l.i++
			if l.b[l.i-1] == ';' {
				return true
			}
		}
	}
}

// piece is "name*2*=value": one piece of a parameter (RFC 2231 §3).
type piece struct {
	base    string
	number  int
	encoded bool
	value   string
}

// joinContinuations puts together what RFC 2231 §3 lets a header take apart,
// as its §6 asks of IMAP servers. Charset, language and percent-encoding stay as
// they are, under the name with its "*". Pieces without a start, and those
// after a gap, are left out.
func joinContinuations(list []param) []param {
	pieces := map[string][]piece{}
	for _, a := range list {
		if p, ok := parsePiece(a); ok {
			key := strings.ToLower(p.base)
			pieces[key] = append(pieces[key], p)
		}
	}
	if len(pieces) == 0 {
		return list
	}
	var out []param
	for _, a := range list {
		p, ok := parsePiece(a)
		if !ok {
			out = append(out, a)
			continue
		}
		key := strings.ToLower(p.base)
		if p.number == 0 && pieces[key] != nil {
			out = append(out, joinPieces(p.base, pieces[key]))
			delete(pieces, key)
		}
	}
	return out
}

func parsePiece(a param) (piece, bool) {
	name, encoded := strings.CutSuffix(a.name, "*")
	base, digits, ok := strings.Cut(name, "*")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || base == "" || err != nil {
		return piece{}, false
	}
	return piece{base, int(n), encoded, a.value}, true
}

func joinPieces(name string, list []piece) param {
	slices.SortStableFunc(list, func(a, b piece) int { return a.number - b.number })
	extended := list[0].encoded
	var value []byte
	for i, p := range list {
		if p.number != i {
			break
		}
		if extended && !p.encoded {
			value = appendPercent(value, p.value)
		} else {
			value = append(value, p.value...)
		}
	}
	if extended {
		name += "*"
	}
	return param{name, string(value)}
}

// appendPercent adds s in the encoding of extended values (RFC 2231 §7).
func appendPercent(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c < 0x7f && strings.IndexByte("*'%"+tspecials, c) < 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}
