package adopt

import (
	"fmt"
	"strings"
)

// Origin is where a value was found. The zero Origin is no place.
type Origin struct {
	File string // as the host names it, such as /etc/courier/imapd
	Line int    // from 1; 0 for the whole file
}

// String gives file:line.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// SyntaxError is something in a file that cannot be read without running it, or
// at all.
type SyntaxError struct {
	Origin
	What string
}

func (e *SyntaxError) Error() string { return e.Origin.String() + ": " + e.What }

// Setting is the value of an option, and where it was set last.
type Setting struct {
	Name, Value string
	Origin      Origin
}

// Settings are the options of one program by name.
type Settings map[string]Setting

// Get gives the value of an option, "" where it is not set.
func (s Settings) Get(name string) string { return s[name].Value }

// The bounds of what is read: a file of a person's making is far below them, and
// A=$A$A, a hundred times, is far above.
const (
	maxFile  = 1 << 20
	maxUsers = 64 << 20 // a list of users
	maxValue = 64 << 10
)

// readShell reads a file that Courier has /bin/sh source, into settings. It knows
// assignments, quotes, escapes, $NAME and ${NAME}, continued lines and comments
// (POSIX.1-2024 Shell Command Language, sections 2.2 and 2.6.2), and nothing that
// would have to be run. What it cannot tell the value of is a *SyntaxError.
func readShell(file string, data []byte, into Settings) error {
	r := &shellReader{file: file, text: string(data), line: 1, into: into}
	if len(data) > maxFile {
		return r.fault("the file is larger than any configuration")
	}
	for r.pos < len(r.text) {
		if err := r.statement(); err != nil {
			return err
		}
	}
	return nil
}

// shellReader is a place in a file.
type shellReader struct {
	file string
	text string
	pos  int
	line int
	into Settings
}

func (r *shellReader) fault(format string, args ...any) error {
	return &SyntaxError{Origin{r.file, r.line}, fmt.Sprintf(format, args...)}
}

// peek gives the octet at pos+n, 0 at the end.
func (r *shellReader) peek(n int) byte {
	if r.pos+n < len(r.text) {
		return r.text[r.pos+n]
	}
	return 0
}

// next takes one octet.
func (r *shellReader) next() byte {
	c := r.text[r.pos]
	r.pos++
	if c == '\n' {
		r.line++
	}
	return c
}

// statement reads what stands at the start of a line or behind a blank: nothing,
// a comment, or an assignment.
func (r *shellReader) statement() error {
	switch c := r.peek(0); {
	case c == ' ' || c == '\t' || c == '\n':
		r.next()
		return nil
	case c == '\\' && r.peek(1) == '\n':
		r.next()
		r.next()
		return nil
	case c == '#':
		for r.pos < len(r.text) && r.peek(0) != '\n' {
			r.next()
		}
		return nil
	}
	return r.assignment()
}

// assignment reads NAME=WORD and the end of the statement, or `export NAME`.
func (r *shellReader) assignment() error {
	begin := r.line
	name := r.name()
	if name == "export" && (r.peek(0) == ' ' || r.peek(0) == '\t') {
		return r.export()
	}
	if name == "" || r.peek(0) != '=' {
		return r.fault("is no assignment: what this runs cannot be told without running it")
	}
	r.next()
	value, err := r.word()
	if err != nil {
		return err
	}
	if name == "IFS" || name == "PATH" {
		return r.fault("sets %s, on which everything below it may depend", name)
	}
	r.into[name] = Setting{name, value, Origin{r.file, begin}}
	return r.end()
}

// export reads the names of an export, which all of these files are under anyway.
func (r *shellReader) export() error {
	for r.peek(0) == ' ' || r.peek(0) == '\t' {
		r.next()
	}
	begin, name := r.pos, r.name()
	switch {
	case name == "":
		return r.fault("exports something that is no name")
	case r.peek(0) == '=':
		r.pos = begin // the assignment is the next statement
		return nil
	}
	return r.end()
}

// end takes what may follow a word: blanks, then a semicolon, a comment or the end
// of the line. A second assignment may not: shells differ in whether it sees the
// first.
func (r *shellReader) end() error {
	blanks := false
	for {
		switch c := r.peek(0); {
		case c == ' ' || c == '\t':
			r.next()
			blanks = true
		case c == '\\' && r.peek(1) == '\n':
			r.next()
			r.next()
		case r.pos == len(r.text) || c == '\n' || c == '#' && blanks:
			return nil
		case c == ';' && r.peek(1) != ';':
			r.next()
			return nil
		default:
			return r.fault("has %q behind a value: that is run, not read", c)
		}
	}
}

// name takes a name, "" where there is none.
func (r *shellReader) name() string {
	begin := r.pos
	for c := r.peek(0); c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || r.pos > begin && c >= '0' && c <= '9'; c = r.peek(0) {
		r.pos++
	}
	return r.text[begin:r.pos]
}

// word reads the value of an assignment, in which nothing is split into fields.
func (r *shellReader) word() (string, error) {
	var b strings.Builder
	for tilde := true; ; {
		c := r.peek(0)
		var err error
		switch {
		case r.pos == len(r.text), c == ' ', c == '\t', c == '\n', c == ';':
			return b.String(), nil
		case c == '\'':
			err = r.single(&b)
		case c == '"':
			err = r.double(&b)
		case c == '\\':
			r.escape(&b)
		case c == '$':
			err = r.expand(&b)
		case c == '~' && tilde:
			err = r.fault("has a ~, whose meaning depends on who reads it")
		case strings.IndexByte("`&|<>()", c) >= 0:
			err = r.fault("has a %q that is not quoted: that is run, not read", c)
		case c == '\r' || c == 0:
			err = r.fault("has the character %q, which would be part of the value", c)
		default:
			b.WriteByte(r.next())
		}
		if err == nil && b.Len() > maxValue {
			err = r.fault("comes to a value of more than %d octets", maxValue)
		}
		if err != nil {
			return "", err
		}
		tilde = c == ':' // as in PATH=~/bin:~/sbin
	}
}

// single reads what stands in '...', as it is.
func (r *shellReader) single(b *strings.Builder) error {
	begin := r.line
	r.next()
	for r.pos < len(r.text) {
		c := r.next()
		switch c {
		case '\'':
			return nil
		case 0:
			return r.fault("has the character %q", c)
		}
		b.WriteByte(c)
	}
	r.line = begin
	return r.fault("has a quote ' that does not end")
}

// double reads what stands in "...", where $ and a few escapes count.
func (r *shellReader) double(b *strings.Builder) error {
	begin := r.line
	r.next()
	for r.pos < len(r.text) {
		switch c := r.peek(0); c {
		case '"':
			r.next()
			return nil
		case '`':
			return r.fault("has a %q: that is run, not read", c)
		case '$':
			if err := r.expand(b); err != nil {
				return err
			}
		case '\\':
			if n := r.peek(1); strings.IndexByte("$`\"\\\n", n) >= 0 && n != 0 {
				r.escape(b)
			} else {
				b.WriteByte(r.next())
			}
		case 0:
			return r.fault("has the character %q", c)
		default:
			b.WriteByte(r.next())
		}
		if b.Len() > maxValue {
			return r.fault("comes to a value of more than %d octets", maxValue)
		}
	}
	r.line = begin
	return r.fault("has a quote \" that does not end")
}

// escape takes a backslash and what it quotes; with the end of a line it is nothing.
func (r *shellReader) escape(b *strings.Builder) {
	r.next()
	if r.pos == len(r.text) {
		b.WriteByte('\\') // as every shell has it
		return
	}
	if c := r.next(); c != '\n' {
		b.WriteByte(c)
	}
}

// expand takes $NAME or ${NAME}. A name that is not set is empty: Courier starts
// with an empty environment.
func (r *shellReader) expand(b *strings.Builder) error {
	r.next()
	braces := r.peek(0) == '{'
	if braces {
		r.next()
	}
	name := r.name()
	switch {
	case braces && (name == "" || r.peek(0) != '}'):
		return r.fault("has a ${...} that is more than the name of an option")
	case braces:
		r.next()
	case name != "":
	case strings.IndexByte("(0123456789@*#?-$!'\"", r.peek(0)) >= 0 && r.pos < len(r.text):
		return r.fault("has a $%c, which only a shell can tell the value of", r.peek(0))
	default:
		b.WriteByte('$')
		return nil
	}
	value := r.into[name].Value
	if b.Len()+len(value) > maxValue {
		return r.fault("comes to a value of more than %d octets", maxValue)
	}
	b.WriteString(value)
	return nil
}
