package schema

import (
	"bytes"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"cuelang.org/go/cue"
)

// excerpter cuts lines out of the operator's files.
type excerpter struct {
	inputs []*input
	lines  map[string][][]byte // by the name shown
}

// maxLine is how much of a long line an excerpt shows, such as of a JSON file
// without line ends.
const maxLine = 120

func (x *excerpter) excerpt(p Pos, secret bool) *Excerpt {
	line, ok := x.line(p)
	if !ok || p.Col < 1 {
		return nil
	}
	start := min(p.Col-1, len(line)) // what is missing at the end of a file is missed behind its last line
	length := tokenLength(line[start:])
	col := 1 + utf8.RuneCountInString(line[:start])
	endCol := col + max(1, utf8.RuneCountInString(line[start:start+length]))
	line = mask(line, secret)
	before, marked, after := line[:start], line[start:start+length], line[start+length:]
	e := &Excerpt{Start: utf8.RuneCountInString(plain(before)), Length: max(1, utf8.RuneCountInString(plain(marked))), Col: col, EndCol: endCol}
	e.Line = plain(before) + plain(marked) + plain(after)
	e.shorten()
	return e
}

// Lines gives the lines of a description at which positions are; nil for one that
// is not there. What may be a secret is masked.
func Lines(inputs []string, at []Pos) []*Excerpt {
	ins, _ := openInputs(inputs) // what cannot be read has no lines
	for _, in := range ins {
		defer in.Close()
		if files, err := in.list(); err == nil {
			for _, name := range append(files.cue, files.data...) {
				in.show(path.Join(in.dir, name)) // so that the name that is shown is known
			}
		}
	}
	x := excerpter{inputs: ins}
	list := make([]*Excerpt, len(at))
	for i, p := range at {
		list[i] = x.excerpt(p, false)
	}
	return list
}

func (x *excerpter) line(p Pos) (string, bool) {
	lines, ok := x.lines[p.File]
	if !ok {
		for _, in := range x.inputs {
			if text, ok := in.text(p.File); ok {
				lines = bytes.Split(text, []byte("\n"))
				break
			}
		}
		if x.lines == nil {
			x.lines = map[string][][]byte{}
		}
		x.lines[p.File] = lines
	}
	if p.Line < 1 || p.Line > len(lines) {
		return "", false
	}
	return strings.TrimRight(string(lines[p.Line-1]), "\r"), true
}

// shorten keeps the part of a long line around what is marked.
func (e *Excerpt) shorten() {
	r := []rune(e.Line)
	if len(r) <= maxLine {
		e.Line = strings.TrimRightFunc(e.Line, unicode.IsSpace)
		return
	}
	from := max(0, min(e.Start-maxLine/3, len(r)-maxLine))
	to := min(len(r), from+maxLine)
	e.Length = min(e.Length, to-e.Start)
	e.Line = string(r[from:to])
	e.Start -= from
	if from > 0 {
		e.Line, e.Start = "..."+e.Line, e.Start+3
	}
	if to < len(r) {
		e.Line += "..."
	}
}

// tokenLength is the length of the word, number or string that text begins with.
func tokenLength(text string) int {
	if text == "" {
		return 0
	}
	if text[0] == '"' || text[0] == '\'' {
		for i := 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case text[0]:
				return i + 1
			}
		}
		return len(text)
	}
	end := strings.IndexFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_#$.-", r)
	})
	switch {
	case end < 0:
		return len(text)
	case end == 0:
		_, size := utf8.DecodeRuneInString(text)
		return size
	}
	return end
}

// plain widens tabs and replaces what a terminal would obey.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsGraphic(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ReplaceAll(s, "\t", "    "))
}

// isSecretText is isSecret for a path in the form of a message.
func (l *loader) isSecretText(text string) bool {
	if l.schema == nil || text == "" {
		return false
	}
	var path []string
	for _, s := range cue.ParsePath(text).Selectors() {
		if s.LabelType() != cue.StringLabel {
			return false
		}
		path = append(path, s.Unquoted())
	}
	return l.isSecret(path)
}
