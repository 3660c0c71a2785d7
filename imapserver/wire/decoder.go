package wire

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// decoder reads the tokens of one command. There are two families of methods:
// take and peek try, and report whether they found what they looked for; expect
// records an error where they did not. The first error sticks: after it nothing
// more is read and every method gives its zero value, so a parse function need
// look at d.err only where it loops.
type decoder struct {
	r        *Reader
	err      error
	name     string // the command's, for messages
	uses     []imap.Cap
	bySeq    bool  // it speaks of messages by sequence number
	line     int64 // octets read of the command's lines
	total    int64 // and of its literals
	dropped  int64 // octets of literals that were refused
	literals int
	texts    int // keys that look at all text
	depth    int
	ended    bool // the client awaits the answer: nothing is left to skip
}

// fail records a syntax error.
func (d *decoder) fail(text string) {
	if d.name != "" {
		text = d.name + ": " + text
	}
	d.stop(bad(text))
}

// refuse records an error of the given type and code.
func (d *decoder) refuse(typ imap.StatusResponseType, code imap.ResponseCode, text string) {
	d.stop(&imap.Error{Type: typ, Code: code, Text: text})
}

// use notes that the command makes use of a capability.
func (d *decoder) use(c imap.Cap) {
	if c != "" && !slices.Contains(d.uses, c) {
		d.uses = append(d.uses, c)
	}
}

func (d *decoder) stop(err error) {
	if d.err == nil {
		d.err = err
	}
}

// peek gives the next octet without taking it. It must not be called after the
// end of the command, where it would wait for the next.
func (d *decoder) peek() (byte, bool) {
	if d.err != nil {
		return 0, false
	}
	b, err := d.r.br.Peek(1)
	if err != nil {
		d.err = midCommand(err)
		return 0, false
	}
	return b[0], true
}

// skip takes the octet that peek has given.
func (d *decoder) skip() {
	d.r.br.ReadByte()
	d.line++
	d.total++
	if d.line > d.r.limits.Line || d.total > d.r.limits.Command {
		d.refuse(imap.StatusResponseTypeBad, imap.ResponseCodeTooBig, "command too long")
	}
}

// take takes the octet c if it comes next.
func (d *decoder) take(c byte) bool {
	if b, ok := d.peek(); !ok || b != c {
		return false
	}
	d.skip()
	return true
}

func (d *decoder) expect(c byte, what string) {
	if !d.take(c) {
		d.fail(what + " expected")
	}
}

func (d *decoder) expectSP() { d.expect(' ', "space") }

// expectCRLF reads the end of a command. A bare LF will do: people type it.
func (d *decoder) expectCRLF() {
	d.take('\r')
	if d.take('\n') { // also where it is the octet too many
		d.ended = true
	} else {
		d.fail("end of the command expected")
	}
}

// class is a set of octet classes.
type class uint8

const (
	atomChar    class = 1 << iota // ATOM-CHAR
	astringChar                   // ASTRING-CHAR
	listChar                      // list-char
	tagChar                       // of a tag
	fetchChar                     // of the name of a FETCH item
)

var classes = func() (t [256]class) {
	for c := 0x21; c < 0x7f; c++ {
		switch c {
		case '(', ')', '{', '"', '\\':
		case '%', '*':
			t[c] = listChar
		case ']':
			t[c] = astringChar | listChar | tagChar
		case '+':
			t[c] = atomChar | astringChar | listChar | fetchChar
		case '[':
			t[c] = atomChar | astringChar | listChar | tagChar
		default:
			t[c] = atomChar | astringChar | listChar | tagChar | fetchChar
		}
	}
	return t
}()

// run takes octets of a class.
func (d *decoder) run(c class) string {
	var buf [64]byte
	b := buf[:0]
	for {
		next, ok := d.peek()
		if !ok || classes[next]&c == 0 {
			return string(b)
		}
		d.skip()
		b = append(b, next)
	}
}

func (d *decoder) expectAtom(what string) string {
	s := d.run(atomChar)
	if s == "" {
		d.fail(what + " expected")
	}
	return s
}

// expectWord reads an atom whose case means nothing, and gives it in capitals.
func (d *decoder) expectWord(what string) string {
	return strings.ToUpper(d.expectAtom(what))
}

// takeWord takes an atom if one comes next.
func (d *decoder) takeWord() string { return strings.ToUpper(d.run(atomChar)) }

// maxTag bounds what is echoed of a client's own octets.
const maxTag = 255

func (d *decoder) expectTag() string {
	tag := d.run(tagChar)
	if tag == "" || len(tag) > maxTag {
		d.fail("tag expected")
		return ""
	}
	return tag
}

// expectCommand reads a command's name and finds its row.
func (d *decoder) expectCommand(state State) *CommandRow {
	name := d.expectWord("command")
	if name == "UID" {
		d.expectSP()
		name = "UID " + d.expectWord("command")
	}
	if d.err != nil {
		return nil
	}
	row := findCommand(name)
	switch {
	case row == nil:
		d.fail("unknown command")
		return nil
	case row.States&state == 0:
		d.fail(row.Name + " is not possible now")
		return nil
	}
	d.name = row.Name
	d.use(row.Cap)
	return row
}

// list reads "(" item *(SP item) ")"; an empty list is for the caller to judge.
func (d *decoder) list(item func()) {
	d.expect('(', "list")
	d.enter()
	if !d.take(')') {
		for n := 1; d.err == nil; n++ {
			if n > d.r.limits.Items {
				d.fail("list too long")
			}
			item()
			if d.take(')') {
				break
			}
			d.expectSP()
		}
	}
	d.leave()
}

// enter and leave count how deep lists and search keys are inside each other.
func (d *decoder) enter() {
	d.depth++
	if d.depth > d.r.limits.Nesting {
		d.fail("nested too deeply")
	}
}

func (d *decoder) leave() { d.depth-- }
