package dialogue

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var octetsTerm = regexp.MustCompile(`^\s*("(?:[^"\\]|\\.)*")(?:\*([0-9]+))?`)

// rawOctets reads what an R line sends: Go strings, each with "*n" where it is
// sent n times.
func rawOctets(text string) (string, error) {
	var b strings.Builder
	for text != "" {
		m := octetsTerm.FindStringSubmatch(text)
		if m == nil {
			return "", fmt.Errorf("%q is no string", text)
		}
		s, err := strconv.Unquote(m[1])
		if err != nil {
			return "", fmt.Errorf("%s: %w", m[1], err)
		}
		n := 1
		if m[2] != "" {
			if n, err = strconv.Atoi(m[2]); err != nil {
				return "", err
			}
		}
		b.WriteString(strings.Repeat(s, n))
		text = text[len(m[0]):]
	}
	return b.String(), nil
}

// piece is a stretch of what a client sends. After one that ends in a
// synchronising literal's announcement, the client waits for "+".
type piece struct {
	octets string
	wait   bool
}

// pieces puts a client's line together: variables replaced, literals announced,
// the line break added.
func (s *Script) pieces(text string, variable func(name string) (string, bool)) ([]piece, error) {
	var out []piece
	var b strings.Builder
	for text != "" {
		i := strings.IndexAny(text, "${")
		if i < 0 {
			break
		}
		b.WriteString(text[:i])
		text = text[i:]
		switch {
		case strings.HasPrefix(text, "{{"):
			inside, after, ok := strings.Cut(text[2:], "}}")
			if !ok {
				return nil, fmt.Errorf("no }} after %q", text)
			}
			literal, wait, err := s.literal(inside)
			if err != nil {
				return nil, err
			}
			if wait {
				fmt.Fprintf(&b, "{%d}\r\n", len(literal))
				out = append(out, piece{b.String(), true})
				b.Reset()
			} else {
				fmt.Fprintf(&b, "{%d+}\r\n", len(literal))
			}
			b.WriteString(literal)
			text = after
		case strings.HasPrefix(text, "$$"):
			b.WriteByte('$')
			text = text[2:]
		default:
			name := special.FindString(text)
			if name == "" || !strings.HasPrefix(text, name) {
				b.WriteByte(text[0])
				text = text[1:]
				continue
			}
			value, ok := variable(name[1:])
			if !ok {
				return nil, fmt.Errorf("%s is not known", name)
			}
			b.WriteString(value)
			text = text[len(name):]
		}
	}
	return append(out, piece{b.String() + text + "\r\n", false}), nil
}

// literal reads what stands between {{ and }}.
func (s *Script) literal(inside string) (octets string, wait bool, err error) {
	name, nonSync := strings.CutSuffix(inside, "+")
	if octets, err := strconv.Unquote(name); err == nil {
		return octets, !nonSync, nil
	}
	octets, ok := s.messages[name]
	if !ok {
		return "", false, fmt.Errorf("no message %q", name)
	}
	return octets, !nonSync, nil
}
