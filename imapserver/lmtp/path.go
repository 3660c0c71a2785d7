package lmtp

import (
	"strings"
	"unicode/utf8"
)

// maxAddress is more than a path may have (RFC 5321 §4.5.3.1.3): what is longer
// is no address.
const maxAddress = 512

// parsePath reads "<address>" and what follows it, the parameters, parted by
// blanks. A source route is passed over (RFC 5321 §4.1.1.3), quotes are undone:
// `<"a b"@example.org>` is `a b@example.org`.
func parsePath(s string) (address string, params []string, ok bool) {
	s, ok = strings.CutPrefix(strings.TrimLeft(s, " "), "<")
	if !ok {
		return "", nil, false
	}
	if strings.HasPrefix(s, "@") {
		_, after, found := strings.Cut(s, ":")
		if !found {
			return "", nil, false
		}
		s = after
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c < ' ' || c == 0x7f || b.Len() > maxAddress:
			return "", nil, false
		case quoted && c == '\\' && i+1 < len(s) && s[i+1] >= ' ':
			i++
			b.WriteByte(s[i])
		case c == '"' && (quoted || b.Len() == 0):
			quoted = !quoted
		case c == '>' && !quoted:
			rest := s[i+1:]
			if rest != "" && rest[0] != ' ' || !utf8.ValidString(b.String()) {
				return "", nil, false
			}
			return b.String(), strings.Fields(rest), true
		case !quoted && (c == ' ' || c == '<' || c == '"'):
			return "", nil, false
		default:
			b.WriteByte(c)
		}
	}
	return "", nil, false
}
