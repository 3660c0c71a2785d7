package schema

import (
	"bytes"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"cuelang.org/go/cue"
)

// excerpter cuts lines out of the operator's files. A file without line ends is one
// line, of thousands of faults: what is found out of a line is kept.
type excerpter struct {
	inputs []*input
	lines  map[string][][]byte // by the name shown
	last   sourceLine
}

// sourceLine is a line of a file.
type sourceLine struct {
	file   string
	number int
	text   string
	goesOn bool            // from a secret in a line before
	masked map[bool]string // by whether the fault is of a secret
	at     int             // an offset
	runes  int             // the characters before it
}

// maxLine is how much of a long line an excerpt shows, such as of a JSON file
// without line ends.
const maxLine = 120

func (x *excerpter) excerpt(p Pos, secret bool) *Excerpt {
	line, ok := x.line(p)
	if !ok || p.Col < 1 {
		return nil
	}
	start := min(p.Col-1, len(line.text)) // what is missing at the end of a file is missed behind its last line
	length := tokenLength(line.text[start:])
	col := 1 + line.count(start)
	endCol := col + max(1, utf8.RuneCountInString(line.text[start:start+length]))
	shown := line.mask(secret)
	before, marked, after := lastOf(shown[:start]), shown[start:start+length], firstOf(shown[start+length:])
	e := &Excerpt{Start: utf8.RuneCountInString(plain(before)), Length: max(1, utf8.RuneCountInString(plain(marked))), Col: col, EndCol: endCol}
	e.Line = plain(before) + plain(marked) + plain(after)
	e.shorten()
	return e
}

// count gives the number of characters before an offset.
func (l *sourceLine) count(offset int) int {
	if offset < l.at {
		l.at, l.runes = 0, 0
	}
	l.runes += utf8.RuneCountInString(l.text[l.at:offset])
	l.at = offset
	return l.runes
}

func (l *sourceLine) mask(secret bool) string {
	text, ok := l.masked[secret]
	if !ok {
		how := secretValues
		if l.goesOn {
			how = secretWhole
		} else if secret {
			how = secretFault
		}
		text = mask(l.text, how)
		l.masked[secret] = text
	}
	return text
}

// window is more than what shorten leaves on either side, in octets.
const window = 2 * maxLine * utf8.UTFMax

func lastOf(s string) string {
	from := max(0, len(s)-window)
	for from > 0 && !utf8.RuneStart(s[from]) {
		from--
	}
	return s[from:]
}

func firstOf(s string) string {
	to := min(len(s), window)
	for to < len(s) && !utf8.RuneStart(s[to]) {
		to++
	}
	return s[:to]
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

func (x *excerpter) line(p Pos) (*sourceLine, bool) {
	if x.last.file == p.File && x.last.number == p.Line {
		return &x.last, true
	}
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
		return nil, false
	}
	x.last = sourceLine{
		file: p.File, number: p.Line, text: strings.TrimRight(string(lines[p.Line-1]), "\r"),
		goesOn: goesOn(lines[:p.Line-1], lines[p.Line-1]), masked: map[bool]string{},
	}
	return &x.last, true
}

// furthest is how many lines a secret is looked for in before one that may belong to it.
const furthest = 100

// goesOn tells whether a line is part of a secret that stands in the lines before it: one
// that has not ended there, or a hash in one of less indentation, as of a value that is set
// out, or, if it has no name itself, in the last that has one.
func goesOn(before [][]byte, line []byte) bool {
	if leftOpen(before[max(0, len(before)-furthest):], line) {
		return true
	}
	depth, named := indent(line), anyName.Match(line)
	for n := 0; len(before) > 0 && n < furthest; n++ {
		line = before[len(before)-1]
		before = before[:len(before)-1]
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		outer := indent(line) < depth
		if (outer || !named) && hashName.Match(line) {
			return true
		}
		if outer {
			depth = indent(line)
		}
		named = named || anyName.Match(line)
		if named && depth == 0 {
			break
		}
	}
	return false
}

// indent is how much white space a line begins with.
func indent(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " \t")) }

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
