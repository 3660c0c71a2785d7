package sasl

import (
	"errors"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// ErrPrepare says that SCRAM cannot be used with a password: clients would each
// make something else of it.
var ErrPrepare = errors.New("the password has characters that SASLprep (RFC 4013) prohibits")

// The tables of RFC 3454 that RFC 4013 names. What Unicode has assigned since its
// version 3.2 is taken as it is: clients do so too.
var (
	// B.1: mapped to nothing.
	unseen = &unicode.RangeTable{R16: []unicode.Range16{
		{Lo: 0xad, Hi: 0xad, Stride: 1}, {Lo: 0x34f, Hi: 0x34f, Stride: 1}, {Lo: 0x1806, Hi: 0x1806, Stride: 1},
		{Lo: 0x180b, Hi: 0x180d, Stride: 1}, {Lo: 0x200b, Hi: 0x200d, Stride: 1}, {Lo: 0x2060, Hi: 0x2060, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1}, {Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
	}, LatinOffset: 1}
	// C.1.2: mapped to a space.
	spaces = &unicode.RangeTable{R16: []unicode.Range16{
		{Lo: 0xa0, Hi: 0xa0, Stride: 1}, {Lo: 0x1680, Hi: 0x1680, Stride: 1}, {Lo: 0x2000, Hi: 0x200b, Stride: 1},
		{Lo: 0x202f, Hi: 0x202f, Stride: 1}, {Lo: 0x205f, Hi: 0x205f, Stride: 1}, {Lo: 0x3000, Hi: 0x3000, Stride: 1},
	}, LatinOffset: 1}
	// C.2.1 to C.9, without what is private, unpaired or no character.
	prohibited = &unicode.RangeTable{R16: []unicode.Range16{
		{Lo: 0, Hi: 0x1f, Stride: 1}, {Lo: 0x7f, Hi: 0x9f, Stride: 1}, {Lo: 0x340, Hi: 0x341, Stride: 1},
		{Lo: 0x6dd, Hi: 0x6dd, Stride: 1}, {Lo: 0x70f, Hi: 0x70f, Stride: 1}, {Lo: 0x180e, Hi: 0x180e, Stride: 1},
		{Lo: 0x200e, Hi: 0x200f, Stride: 1}, {Lo: 0x2028, Hi: 0x202e, Stride: 1}, {Lo: 0x2061, Hi: 0x2063, Stride: 1},
		{Lo: 0x206a, Hi: 0x206f, Stride: 1}, {Lo: 0x2ff0, Hi: 0x2ffb, Stride: 1}, {Lo: 0xfdd0, Hi: 0xfdef, Stride: 1},
		{Lo: 0xfff9, Hi: 0xffff, Stride: 1},
	}, R32: []unicode.Range32{
		{Lo: 0x1d173, Hi: 0x1d17a, Stride: 1}, {Lo: 0xe0001, Hi: 0xe0001, Stride: 1}, {Lo: 0xe0020, Hi: 0xe007f, Stride: 1},
	}, LatinOffset: 2}
)

// Prepare is SASLprep (RFC 4013): what clients make of a password before SCRAM, so
// that it is the same however a keyboard composes it.
func Prepare(password string) (string, error) {
	s := norm.NFKC.String(strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(spaces, r):
			return ' '
		case unicode.Is(unseen, r):
			return -1
		}
		return r
	}, password))
	if s == "" || strings.ContainsFunc(s, forbidden) || !oneDirection(s) {
		return "", ErrPrepare
	}
	return s, nil
}

func forbidden(r rune) bool {
	return r == unicode.ReplacementChar || r&0xfffe == 0xfffe || unicode.Is(unicode.Co, r) || unicode.Is(prohibited, r)
}

// oneDirection is RFC 3454 §6: what is written from right to left begins and ends
// so, and has nothing in it that is written from left to right.
func oneDirection(s string) bool {
	var first, last, left, right bool
	for i, r := range s {
		p, _ := bidi.LookupRune(r)
		last = p.Class() == bidi.R || p.Class() == bidi.AL
		if i == 0 {
			first = last
		}
		left = left || p.Class() == bidi.L
		right = right || last
	}
	return !right || first && last && !left
}
