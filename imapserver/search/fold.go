package search

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// fold gives a string in the form in which strings are compared.
func fold(s string) []byte {
	dst, _ := appendFold(nil, []byte(s), true)
	return dst
}

// appendFold adds src to dst, each character folded by itself, so text may come
// in pieces: what may be the start of a character is left in rest, unless final
// says that no more comes. Octets that are not UTF-8 become U+FFFD.
func appendFold(dst, src []byte, final bool) (out, rest []byte) {
	for len(src) > 0 {
		if n := asciiLen(src); n > 0 {
			start := len(dst)
			dst = append(dst, src[:n]...)
			for i, c := range dst[start:] {
				dst[start+i] = upper[c&0x7f]
			}
			src = src[n:]
			continue
		}
		if !final && !utf8.FullRune(src) {
			return dst, src
		}
		r, n := utf8.DecodeRune(src)
		dst = appendRune(dst, r)
		src = src[n:]
	}
	return dst, nil
}

// upper is the capitals of ASCII.
var upper = func() (table [utf8.RuneSelf]byte) {
	for i := range table {
		table[i] = byte(unicode.ToUpper(rune(i)))
	}
	return table
}()

// asciiLen is the length of the ASCII that b starts with.
func asciiLen(b []byte) int {
	n := 0
	for len(b)-n >= 8 && binary.LittleEndian.Uint64(b[n:])&0x8080808080808080 == 0 {
		n += 8
	}
	for n < len(b) && b[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// appendRune takes a character apart by its compatibility decomposition and
// adds each piece in titlecase. RFC 5051 §2 has it the other way round, and then
// "fi" does not find the ligature of the two.
func appendRune(dst []byte, r rune) []byte {
	var buf [utf8.UTFMax]byte
	whole := utf8.AppendRune(buf[:0], r)
	pieces := norm.NFKD.Properties(whole).Decomposition()
	if pieces == nil {
		return utf8.AppendRune(dst, unicode.ToTitle(r))
	}
	for len(pieces) > 0 {
		p, n := utf8.DecodeRune(pieces)
		dst = utf8.AppendRune(dst, unicode.ToTitle(p))
		pieces = pieces[n:]
	}
	return dst
}
