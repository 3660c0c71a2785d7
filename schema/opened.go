package schema

import (
	"regexp"
	"strings"
)

// openValue is the value of a secret that is set out over lines. What it may be in, CUE,
// JSON or YAML, is not known, and may be wrong in any way: in doubt it goes on.
type openValue struct {
	ends   string // what ends the text that it is in; "" where it is in none
	depth  int    // of brackets
	indent int    // of the line with its name
	block  bool   // what is indented more belongs to it
	more   bool   // an operator is its last: the next line belongs to it
	begins string // with what else a line begins that does
}

var (
	operatorLast = regexp.MustCompile(`(?:^|[\s:])[-+*/&|>][-+0-9]*$`) // or what begins a block of YAML's
	commentNext  = regexp.MustCompile(`^(?://|#(?:[ \t]|$))`)
)

// leftOpen tells whether a line belongs to a secret whose name is in one of the lines before.
func leftOpen(before [][]byte, line []byte) bool {
	var v *openValue
	for _, b := range before {
		text := strings.TrimRight(string(b), " \t\r")
		if text == "" {
			continue
		}
		if v != nil && !v.holds(text) {
			v = nil
		}
		if v == nil && commentNext.MatchString(strings.TrimLeft(text, " \t")) {
			continue // whatever it speaks of
		}
		for at := 0; at >= 0; {
			if v == nil {
				name := secretName.FindStringIndex(text[at:])
				if name == nil {
					break
				}
				at += name[1]
				v = &openValue{indent: indent(b)}
			}
			if at = v.read(text, at); at >= 0 {
				v = nil
			}
		}
	}
	return v != nil && v.holds(string(line))
}

// holds tells whether the next line belongs to the value.
func (v *openValue) holds(line string) bool {
	rest := strings.TrimLeft(line, " \t")
	return v.ends != "" || v.depth > 0 || v.more || v.block && len(line)-len(rest) > v.indent ||
		rest != "" && strings.IndexByte(v.begins, rest[0]) >= 0
}

// read goes through the value in a line, and says where it ends; -1 where that is in no
// part of this one.
func (v *openValue) read(line string, from int) int {
	closed := false // the last is a string or a bracket that has ended
	i := from
	for i < len(line) {
		switch c := line[i]; {
		case v.ends != "":
			end := endOfText(line[i:], v.ends)
			if end < 0 {
				return -1
			}
			i, v.ends, closed = i+end, "", true
			continue
		case strings.HasPrefix(line[i:], `"""`), strings.HasPrefix(line[i:], `'''`):
			v.ends = line[i : i+3]
			i += 2
		case c == '"', c == '\'':
			v.ends = line[i : i+1]
		case strings.IndexByte("{[(", c) >= 0:
			v.depth++
		case strings.IndexByte("}])", c) >= 0:
			v.depth, closed = max(0, v.depth-1), true
		case c == ',' && closed && v.depth == 0 && !v.block:
			return i
		case (c == '/' || c == '#') && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') && commentNext.MatchString(line[i:]):
			return v.lineEnd(line[from:i], closed, i)
		case c != ' ' && c != '\t':
			closed = false
		}
		i++
	}
	return v.lineEnd(line[from:], closed, i)
}

// lineEnd says where the value ends that has been read up to the end of its line.
func (v *openValue) lineEnd(read string, closed bool, at int) int {
	read = strings.TrimRight(read, " \t")
	begins := v.begins
	v.begins, v.more = "", false
	switch {
	case v.ends != "" || v.depth > 0:
		return -1
	case !v.block && (read == "" || strings.HasSuffix(read, ":")):
		v.begins = `-{["'`
	case strings.Contains(begins, "-") && strings.HasPrefix(strings.TrimLeft(read, " \t"), "-"): // a list of YAML's
		v.begins = "-"
	case operatorLast.MatchString(read):
		v.more = true
	case closed && !v.block:
		return at
	}
	v.block = true
	return -1
}

// endOfText finds the end of a text in its last line; -1 where that is another. A quote
// behind a backslash is none.
func endOfText(line, ends string) int {
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
		} else if strings.HasPrefix(line[i:], ends) {
			return i + len(ends)
		}
	}
	return -1
}
