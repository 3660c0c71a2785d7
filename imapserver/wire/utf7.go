package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// utf7 is the base64 of modified UTF-7 (RFC 3501 §5.1.3).
var utf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// printable tells the characters that modified UTF-7 writes as themselves, and
// "&", which it writes as "&-".
func printable(c rune) bool { return ' ' <= c && c <= '~' }

// EncodeUTF7 writes a name in modified UTF-7. Octets that are no UTF-8 become
// U+FFFD.
func EncodeUTF7(s string) string {
	plain := strings.IndexFunc(s, func(c rune) bool { return !printable(c) || c == '&' })
	if plain < 0 {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:plain])
	s = s[plain:]
	for s != "" {
		switch end := strings.IndexFunc(s, printable); {
		case end == 0 && s[0] == '&':
			b.WriteString("&-")
			s = s[1:]
		case end == 0:
			b.WriteByte(s[0])
			s = s[1:]
		default:
			if end < 0 {
				end = len(s)
			}
			b.WriteByte('&')
			b.WriteString(utf7.EncodeToString(utf16Octets(s[:end])))
			b.WriteByte('-')
			s = s[end:]
		}
	}
	return b.String()
}

func utf16Octets(s string) []byte {
	units := utf16.Encode([]rune(s))
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = append(b, byte(u>>8), byte(u))
	}
	return b
}

// DecodeUTF7 reads a name in modified UTF-7. There is one way to write each
// name and no other is accepted, or two names would be one mailbox: no base64
// for what can stand for itself, no two runs of base64 where one would do, no
// stray bits, no lone surrogates, no octets above 127.
func DecodeUTF7(s string) (string, bool) {
	var b strings.Builder
	for s != "" {
		c := s[0]
		if !printable(rune(c)) {
			return "", false
		}
		if c != '&' {
			b.WriteByte(c)
			s = s[1:]
			continue
		}
		run, rest, closed := strings.Cut(s[1:], "-")
		switch {
		case !closed:
			return "", false
		case run == "":
			b.WriteByte('&')
		case strings.HasPrefix(rest, "&") && !strings.HasPrefix(rest, "&-"):
			return "", false
		case !decodeRun(&b, run):
			return "", false
		}
		s = rest
	}
	return b.String(), true
}

// decodeRun adds the characters of a run of base64.
func decodeRun(b *strings.Builder, run string) bool {
	if strings.ContainsAny(run, "\r\n") { // the decoder would skip them
		return false
	}
	octets, err := utf7.DecodeString(run)
	if err != nil || len(octets)%2 != 0 {
		return false
	}
	units := make([]uint16, len(octets)/2)
	for i := range units {
		units[i] = uint16(octets[2*i])<<8 | uint16(octets[2*i+1])
	}
	for i := 0; i < len(units); i++ {
		c := rune(units[i])
		if utf16.IsSurrogate(c) {
			if i+1 == len(units) {
				return false
			}
			i++
			if c = utf16.DecodeRune(c, rune(units[i])); c == utf8.RuneError {
				return false
			}
		}
		if printable(c) {
			return false
		}
		b.WriteRune(c)
	}
	return true
}
