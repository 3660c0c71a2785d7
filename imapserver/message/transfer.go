package message

import (
	"bytes"
	"io"
	"strings"
)

// decodeTransfer undoes a transfer encoding (RFC 2045 §6). It never fails:
// octets that do not belong are passed over, or passed on. Unknown encodings
// are taken for none.
func decodeTransfer(encoding string, body []byte) io.Reader {
	switch strings.ToLower(encoding) {
	case "base64":
		return &base64Reader{src: body}
	case "quoted-printable":
		return &quotedReader{src: body}
	}
	return bytes.NewReader(body)
}

const badDigit = 0xff

// digits maps an alphabet to the values of its letters.
func digits(alphabet string) (table [256]byte) {
	for i := range table {
		table[i] = badDigit
	}
	for i := range len(alphabet) {
		table[alphabet[i]] = byte(i % 64)
	}
	return table
}

var (
	base64Digits = digits("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
	unhex        = hexDigits()
)

func hexDigits() [256]byte {
	table := digits("0123456789ABCDEF")
	for i, c := range []byte("abcdef") {
		table[c] = byte(10 + i)
	}
	return table
}

// isHex says whether b starts with two hexadecimal digits.
func isHex(b []byte) bool {
	return len(b) >= 2 && unhex[b[0]] != badDigit && unhex[b[1]] != badDigit
}

// base64Reader decodes base64, wherever padding and line breaks stand.
type base64Reader struct {
	src  []byte
	bits uint32
	n    int // bits held in bits
}

func (r *base64Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(r.src) > 0 {
		c := r.src[0]
		r.src = r.src[1:]
		d := base64Digits[c]
		switch {
		case c == '=':
			r.n = 0
		case d == badDigit:
		case r.n == 0:
			r.bits, r.n = uint32(d), 6
		default:
			r.bits = r.bits<<6 | uint32(d)
			r.n -= 2
			p[n] = byte(r.bits >> r.n)
			n++
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// quotedReader decodes quoted-printable.
type quotedReader struct {
	src   []byte
	blank int // octets of white space next that are known not to end their line
}

func (r *quotedReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(r.src) > 0 {
		c := r.src[0]
		if r.blank > 0 {
			r.blank--
		} else if (c == ' ' || c == '\t') && r.trailing() {
			continue
		}
		r.src = r.src[1:]
		if c == '=' {
			if isHex(r.src) {
				c = unhex[r.src[0]]<<4 | unhex[r.src[1]]
				r.src = r.src[2:]
			} else if skip, soft := softBreak(r.src); soft {
				r.src = r.src[skip:]
				continue
			}
		}
		p[n] = c
		n++
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// trailing moves past the white space that comes next if it ends its line: it was put there on
// the way (RFC 2045 §6.7 (3)).
func (r *quotedReader) trailing() bool {
	rest := bytes.TrimLeft(r.src, " \t")
	if len(rest) > 0 && rest[0] != '\n' && !bytes.HasPrefix(rest, []byte("\r\n")) {
		r.blank = len(r.src) - len(rest) - 1
		return false
	}
	r.src = rest
	return true
}

// softBreak says whether only white space parts b from its line break, and
// where the next line starts.
func softBreak(b []byte) (skip int, ok bool) {
	for i, c := range b {
		switch c {
		case ' ', '\t', '\r':
		case '\n':
			return i + 1, true
		default:
			return 0, false
		}
	}
	return len(b), true
}
