package oracle

import (
	"fmt"
	"strconv"
	"strings"
)

// reader reads strictly what RFC 9051 §9 and the extensions have. It panics with a
// syntaxError at the first octet that does not belong.
type reader struct {
	s string
	i int
}

type syntaxError string

// read reads s by one rule, to its end.
func read(s string, rule func(*reader)) (err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case syntaxError:
			err = fmt.Errorf("%s\nin %.300q", string(e), s)
		default:
			panic(e)
		}
	}()
	r := &reader{s: s}
	rule(r)
	if r.i != len(s) {
		r.fail("nothing more")
	}
	return nil
}

func (r *reader) fail(want string) {
	panic(syntaxError(fmt.Sprintf("offset %d: want %s, have %.60q", r.i, want, r.s[r.i:])))
}

func (r *reader) at(s string) bool { return strings.HasPrefix(r.s[r.i:], s) }

func (r *reader) need(s string) {
	if !r.opt(s) {
		r.fail(strconv.Quote(s))
	}
}

func (r *reader) opt(s string) bool {
	if r.at(s) {
		r.i += len(s)
		return true
	}
	return false
}

// while takes octets as long as ok says so.
func (r *reader) while(ok func(byte) bool) string {
	start := r.i
	for r.i < len(r.s) && ok(r.s[r.i]) {
		r.i++
	}
	return r.s[start:r.i]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// number is "number" or "number64": digits without a leading zero, as every
// server sends them, up to max.
func (r *reader) number(max uint64) uint64 {
	start := r.i
	digits := r.while(isDigit)
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > max || len(digits) > 1 && digits[0] == '0' {
		r.i = start
		r.fail(fmt.Sprintf("number up to %d", max))
	}
	return n
}

const (
	max32 = 1<<32 - 1
	max63 = 1<<63 - 1
)

func (r *reader) nzNumber() uint64 {
	start := r.i
	n := r.number(max32)
	if n == 0 {
		r.i = start
		r.fail("nz-number")
	}
	return n
}

// isAtomChar is ATOM-CHAR with "]", which ends an atom only in a response code.
func isAtomChar(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune(`(){%*"\`, rune(c))
}

func (r *reader) atom() string {
	s := r.while(func(c byte) bool { return isAtomChar(c) && c != ']' })
	if s == "" {
		r.fail("atom")
	}
	return s
}

// literal reads a literal, or with eight a literal8, which may hold NUL.
func (r *reader) literal(eight bool) string {
	if eight {
		r.need("~")
	}
	r.need("{")
	n := int(r.number(max32))
	r.need("}\r\n")
	if n > len(r.s)-r.i {
		r.fail("literal")
	}
	s := r.s[r.i : r.i+n]
	if !eight && strings.IndexByte(s, 0) >= 0 {
		r.fail("literal without NUL")
	}
	r.i += n
	return s
}

// str is "string". Outside of ASCII it may be UTF-8 (RFC 9051 §4.3).
func (r *reader) str() string {
	if r.at("{") {
		return r.literal(false)
	}
	r.need(`"`)
	var b strings.Builder
	for !r.opt(`"`) {
		if r.i == len(r.s) {
			r.fail("closing quote")
		}
		c := r.s[r.i]
		r.i++
		if c == '\\' {
			if !r.at(`"`) && !r.at(`\`) {
				r.fail("escaped special")
			}
			c = r.s[r.i]
			r.i++
		}
		if c == 0 || c == '\r' || c == '\n' {
			r.fail("QUOTED-CHAR")
		}
		b.WriteByte(c)
	}
	return b.String()
}

func (r *reader) nstring() (s string, ok bool) {
	if r.opt("NIL") {
		return "", false
	}
	return r.str(), true
}

func (r *reader) astring() string {
	if r.at(`"`) || r.at("{") {
		return r.str()
	}
	s := r.while(isAtomChar)
	if s == "" {
		r.fail("astring")
	}
	return s
}

// list is rule once or more, in parentheses; none at all where empty.
func (r *reader) list(empty bool, rule func()) {
	r.need("(")
	if empty && r.opt(")") {
		return
	}
	for rule(); !r.opt(")"); rule() {
		r.need(" ")
	}
}

// flag is a flag or keyword; wild also "\*".
func (r *reader) flag(wild bool) {
	if wild && r.opt(`\*`) {
		return
	}
	r.opt(`\`)
	r.atom()
}

// set is a sequence-set without "*": the server knows its numbers.
func (r *reader) set() {
	for {
		r.nzNumber()
		if r.opt(":") {
			r.nzNumber()
		}
		if !r.opt(",") {
			return
		}
	}
}

// objectID is an object's name (RFC 8474 §7).
func (r *reader) objectID() {
	r.need("(")
	id := r.while(func(c byte) bool {
		return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '-'
	})
	if id == "" || len(id) > 255 {
		r.fail("objectid")
	}
	r.need(")")
}

// rest is the text of a status response: what a person reads, of ASCII alone.
func (r *reader) rest() {
	if text := r.while(func(c byte) bool { return c >= ' ' && c < 0x7f }); text == "" {
		r.fail("text")
	}
}
