package search

import (
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
		if c := src[0]; c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			src = src[1:]
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
