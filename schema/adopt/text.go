package adopt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quote writes a string as CUE, in which JSON's strings are its own.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(s) // a string can be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

// label writes the name of a field.
func label(s string) string {
	plain := s != "" && s[0] != '_' && (s[0] < '0' || s[0] > '9')
	for i := 0; i < len(s) && plain; i++ {
		c := s[i]
		plain = c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	switch s {
	case "true", "false", "null", "if", "for", "let", "in", "package", "import", "func", "try", "else", "fallback", "otherwise":
		plain = false
	}
	if plain {
		return s
	}
	return quote(s)
}

// maxShown is how much of a value is told in a comment.
const maxShown = 200

func cut(s string) string {
	if len(s) <= maxShown {
		return s
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// printable makes a text from elsewhere fit for a comment, which ends with its line.
func printable(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if unicode.IsPrint(r) && !unicode.Is(unicode.Bidi_Control, r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}
