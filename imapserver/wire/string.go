package wire

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted is where quoted strings end and literals begin: some clients read
// lines into small buffers.
const maxQuoted = 4096

// AppendString adds s as an IMAP string: quoted where that is possible, else a
// literal. NUL octets are left out (RFC 9051 §4.3).
func AppendString(dst []byte, s string) []byte { return appendString(dst, s, false) }

// appendString is AppendString; eight says that the client takes UTF-8 in
// quoted strings (RFC 6855 §3).
func appendString(dst []byte, s string, eight bool) []byte {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	start := len(dst)
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\r', c == '\n', c >= utf8.RuneSelf && !eight, i >= maxQuoted:
			return appendLiteral(dst[:start], s)
		case c == '"', c == '\\':
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	if eight && !utf8.ValidString(s) {
		return appendLiteral(dst[:start], s)
	}
	return append(dst, '"')
}

func appendLiteral(dst []byte, s string) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "}\r\n"...)
	return append(dst, s...)
}

// appendAString adds s as an atom if it may be one, else as a string.
func appendAString(dst []byte, s string) []byte {
	if isAtom(s) {
		return append(dst, s...)
	}
	return AppendString(dst, s)
}

func isAtom(s string) bool {
	for i := 0; i < len(s); i++ {
		if classes[s[i]]&atomChar == 0 {
			return false
		}
	}
	return s != ""
}

// takeQuoted takes a quoted string if one comes next. Octets above 127 are
// taken as they are: what they mean is decided where the string is used.
func (d *decoder) takeQuoted() (string, bool) {
	if !d.take('"') {
		return "", false
	}
	var buf [128]byte
	b := buf[:0]
	for {
		c, ok := d.peek()
		switch {
		case !ok:
			return "", false
		case c == 0, c == '\r', c == '\n':
			d.fail("quoted string is not closed")
			return "", false
		}
		d.skip()
		if c == '"' {
			return string(b), true
		}
		if c == '\\' {
			if c, _ = d.peek(); c != '"' && c != '\\' {
				d.fail("bad escape in a quoted string")
				return "", false
			}
			d.skip()
		}
		b = append(b, c)
	}
}

// takeString takes a quoted string or a literal if one comes next.
func (d *decoder) takeString() (string, bool) {
	if s, ok := d.takeQuoted(); ok {
		return s, true
	}
	if c, ok := d.peek(); ok && c == '{' {
		return d.literal()
	}
	return "", false
}

func (d *decoder) expectString(what string) string {
	s, ok := d.takeString()
	if !ok {
		d.fail(what + " expected")
	}
	return s
}

// expectNString reads a string or NIL.
func (d *decoder) expectNString(what string) (s string, isNil bool) {
	if s, ok := d.takeString(); ok {
		return s, false
	}
	if d.takeWord() != "NIL" {
		d.fail(what + " expected")
	}
	return "", true
}

// expectNString8 reads a string, a literal8 or NIL.
func (d *decoder) expectNString8(what string) (s string, isNil bool) {
	if d.take('~') {
		s, ok := d.octets(true)
		if !ok {
			d.fail(what + " expected")
		}
		return s, false
	}
	return d.expectNString(what)
}

func (d *decoder) expectAString(what string) string {
	if s, ok := d.takeString(); ok {
		return s
	}
	s := d.run(astringChar)
	if s == "" {
		d.fail(what + " expected")
	}
	return s
}

// expectBase64 reads an initial response. What is no base64 stays, as it may be the head of
// a literal, which comes all the same and is no command.
func (d *decoder) expectBase64() []byte {
	var b bytes.Buffer
	for {
		c, ok := d.peek()
		if !ok || !base64Char(c) {
			break
		}
		d.skip()
		b.WriteByte(c)
	}
	if b.String() == "=" { // an empty response (RFC 4959 §3)
		return []byte{}
	}
	out, err := decodeSASL(b.String())
	if err != nil || len(out) == 0 {
		d.fail("base64 expected")
	}
	return out
}

func base64Char(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '='
}
