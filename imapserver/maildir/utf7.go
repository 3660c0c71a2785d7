package maildir

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
)

// utf7Base64 is the alphabet of RFC 3501 §5.1.3: "," in place of "/", no padding.
var utf7Base64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding)

var errUTF7 = errors.New("it is not valid modified UTF-7")

// EncodeUTF7 gives the one right spelling of s, which is valid UTF-8.
func EncodeUTF7(s string) string {
	var b strings.Builder
	var run []uint16
	flush := func() {
		if len(run) == 0 {
			return
		}
		p := make([]byte, 0, 2*len(run))
		for _, u := range run {
			p = append(p, byte(u>>8), byte(u))
		}
		b.WriteByte('&')
		b.WriteString(utf7Base64.EncodeToString(p))
		b.WriteByte('-')
		run = run[:0]
	}
	for _, r := range s {
		if r < ' ' || r > '~' {
			run = utf16.AppendRune(run, r)
			continue
		}
		flush()
		if r == '&' {
			b.WriteString("&-")
		} else {
			b.WriteByte(byte(r))
		}
	}
	flush()
	return b.String()
}

// DecodeUTF7 reads a name as IMAP spells it (RFC 3501 §5.1.3), and refuses every
// spelling but the one that EncodeUTF7 gives.
func DecodeUTF7(s string) (string, error) {
	var b strings.Builder
	for rest := s; rest != ""; {
		plain, after, found := strings.Cut(rest, "&")
		b.WriteString(plain)
		if !found {
			break
		}
		run, next, closed := strings.Cut(after, "-")
		if !closed {
			return "", errUTF7
		}
		rest = next
		if run == "" {
			b.WriteByte('&')
			continue
		}
		p, err := utf7Base64.DecodeString(run)
		if err != nil || len(p)%2 != 0 {
			return "", errUTF7
		}
		units := make([]uint16, len(p)/2)
		for i := range units {
			units[i] = uint16(p[2*i])<<8 | uint16(p[2*i+1])
		}
		b.WriteString(string(utf16.Decode(units)))
	}
	if EncodeUTF7(b.String()) != s {
		return "", errUTF7
	}
	return b.String(), nil
}
