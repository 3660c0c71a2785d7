package message

import (
	"html"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a preview may cost and give.
const (
	previewLen    = 200       // characters (RFC 8970 §3.2)
	previewParts  = 20        // text parts that are looked at
	previewOctets = 256 << 10 // of a part, decoded
)

// Preview gives the first words of a message (RFC 8970): of its first plain text
// that has any beside what it quotes, else of its first HTML. It is UTF-8 in one
// line, and "" where there is no text.
func (m *Message) Preview() string {
	parts := m.previewParts(m.root, nil)
	quoted := ""
	for _, sub := range []string{"plain", "html"} {
		for _, e := range parts {
			if !strings.EqualFold(e.media.sub, sub) {
				continue
			}
			b, err := io.ReadAll(io.LimitReader(m.text(e), previewOctets))
			if err != nil && len(b) == 0 {
				continue
			}
			text := string(b)
			if sub == "html" {
				text = htmlText(text)
			} else if own := unquoted(text); oneLine(own) != "" {
				text = own
			}
			switch line := oneLine(text); {
			case line == "":
			case sub == "plain" && !strings.HasPrefix(line, ">"), sub == "html":
				return line
			case quoted == "":
				quoted = line
			}
		}
	}
	return quoted
}

// previewParts gives the text parts that are shown, the first ones alone.
func (m *Message) previewParts(e *entity, list []*entity) []*entity {
	if len(list) >= previewParts {
		return list
	}
	if e.kind == kindLeaf {
		value, _ := firstField(m.fields(e), "Content-Disposition")
		attached := len(value) > 0 && strings.HasPrefix(strings.ToLower(strings.TrimSpace(string(unfold(value)))), "attachment")
		if strings.EqualFold(e.media.typ, "text") && !attached {
			list = append(list, e)
		}
		return list
	}
	for _, part := range e.parts {
		list = m.previewParts(part, list)
	}
	return list
}

// unquoted leaves out the lines that a reply quotes, and a signature.
func unquoted(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, "\r\n") == "-- " {
			break
		}
		if !strings.HasPrefix(line, ">") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// oneLine gives the first previewLen characters of a text: white space becomes
// one space, what cannot be seen is left out.
func oneLine(text string) string {
	var b strings.Builder
	n, space := 0, false
	for _, c := range text {
		switch {
		case unicode.IsSpace(c) || c == '\u034f': // CGJ, with which mailers pad
			space = n > 0
			continue
		case !unicode.IsGraphic(c) || c == utf8.RuneError:
			continue
		}
		if n >= previewLen || space && n+1 >= previewLen {
			break
		}
		if space {
			b.WriteByte(' ')
			n++
		}
		space = false
		b.WriteRune(c)
		n++
	}
	return b.String()
}

// hidden are the elements whose content is no text. Head has these alone, and its end tag
// may be left out.
var hidden = map[string]bool{"script": true, "style": true, "title": true, "template": true, "noscript": true}

// inline are the elements that stand within words.
var inline = map[string]bool{"a": true, "b": true, "i": true, "u": true, "em": true, "strong": true, "span": true, "font": true,
	"code": true, "small": true, "big": true, "sub": true, "sup": true, "wbr": true}

// htmlText gives what of HTML is text. It goes over its source once.
func htmlText(s string) string {
	var b strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		if strings.HasPrefix(s, "<!--") {
			_, s, _ = strings.Cut(s, "-->")
			continue
		}
		name, rest, ok := cutTag(s)
		if !ok { // a "<" that begins no tag
			b.WriteByte('<')
			s = s[1:]
			continue
		}
		if s = rest; hidden[name] {
			s = afterElement(s, name)
		}
		if !inline[strings.TrimPrefix(name, "/")] {
			b.WriteByte(' ')
		}
	}
	return html.UnescapeString(b.String())
}

// cutTag cuts a tag off the front: its name in lower case, with the slash of an
// end tag. One that is not closed takes all that is left.
func cutTag(s string) (name, rest string, ok bool) {
	n := 1
	if n < len(s) && (s[n] == '/' || s[n] == '!' || s[n] == '?') {
		n++
	}
	start := n
	for n < len(s) && (lower(s[n]) >= 'a' && lower(s[n]) <= 'z' || n > start && s[n] >= '0' && s[n] <= '9') {
		n++
	}
	if n == start {
		return "", s, false
	}
	name = strings.ToLower(s[1:n])
	quote := byte(0)
	for ; n < len(s); n++ {
		switch c := s[n]; {
		case quote == 0 && c == '>':
			return name, s[n+1:], true
		case quote == 0 && (c == '"' || c == '\'') && s[n-1] == '=':
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return name, "", true
}

// afterElement gives what stands after the end tag of an element.
func afterElement(s, name string) string {
	for {
		i := strings.Index(s, "</")
		if i < 0 {
			return ""
		}
		s = s[i:]
		if len(s) >= 2+len(name) && strings.EqualFold(s[2:2+len(name)], name) {
			_, s, _ = strings.Cut(s, ">")
			return s
		}
		s = s[2:]
	}
}
