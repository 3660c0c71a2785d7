package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailstead/imapserver/maildir"
)

// wire is a connection to a server as go-imap's client can bear it. That offers no
// IMAP4rev2: the client spells names by it wherever it is offered, "&" in a way of its
// own, and gives up at a name that has one. It lists no mailbox whose name the client
// cannot read, for which it would give up everything. And it is lost when the server
// owes an answer and says nothing for a while, however long an answer takes: the client
// waits for the first word forever, and five minutes for the last one of a message.
type wire struct {
	net.Conn
	r       *bufio.Reader
	line    []byte // that is being read
	inside  bool   // what comes is more of a response
	shape   shape  // of that
	said    uint64 // octets of it until now, without messages
	tail    []byte // the end of its last line, as far as that has come
	literal uint64 // octets of one that are to come
	ended   error  // of Read
	silence time.Duration

	mu    sync.Mutex
	last  []byte // the tag of the last command
	owes  bool   // the server the answer to that
	fault error
	names map[string]bool // of mailboxes that were left out
	kept  int             // what they take, of maxNames
}

// What a server may say at once: go-imap's client holds all of it that is no message.
const (
	maxResponse = 1 << 20  // octets of a response, those of messages aside: thousands of keywords
	maxString   = 64 << 10 // of a literal that is no message: a name, at the most
)

func newWire(nc net.Conn, greeting string, silence time.Duration) *wire {
	c := &wire{Conn: nc, line: []byte(greeting), silence: silence, owes: true, names: map[string]bool{}}
	c.r = bufio.NewReaderSize(received{c}, 64<<10)
	return c
}

// lost is what has ended the connection; nil while there is one.
func (c *wire) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// misspelt are the names that were left out.
func (c *wire) misspelt() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.names))
}

// SetReadDeadline is the client's, and does nothing.
func (c *wire) SetReadDeadline(time.Time) error { return nil }

// Write sends a command, or a part of one.
func (c *wire) Write(p []byte) (int, error) {
	c.mu.Lock()
	if tag := commandTag.Find(p); tag != nil {
		c.last = bytes.Clone(tag)
	}
	c.owes = true
	c.Conn.SetReadDeadline(time.Now().Add(c.silence)) // also of who waits already
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// received reads what the server sends.
type received struct{ *wire }

func (c received) Read(p []byte) (int, error) {
	c.mu.Lock()
	var until time.Time
	if c.owes {
		until = time.Now().Add(c.silence)
	}
	c.Conn.SetReadDeadline(until)
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	if err != nil {
		c.mu.Lock()
		c.fault = err
		c.mu.Unlock()
	}
	return n, err
}

// Read gives nothing more once it has failed.
func (c *wire) Read(p []byte) (int, error) {
	if c.ended != nil {
		return 0, c.ended
	}
	n, err := c.read(p)
	c.ended = err
	return n, err
}

func (c *wire) read(p []byte) (int, error) {
	if len(c.line) == 0 && c.literal > 0 {
		n, err := c.r.Read(p[:min(uint64(len(p)), c.literal)])
		c.literal -= uint64(n)
		return n, err
	}
	for len(c.line) == 0 {
		first := !c.inside
		line, err := c.piece()
		if err == nil && first && named.Match(line) {
			line, err = c.whole(line)
		}
		if err == nil && first {
			line, err = c.begin(line)
		}
		if err != nil {
			return 0, err
		}
		c.line = line
	}
	n := copy(p, c.line)
	c.line = c.line[n:]
	return n, nil
}

// piece reads a line of a response, or a part of one.
func (c *wire) piece() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if len(line) == 0 {
		return nil, err
	}
	if !c.inside {
		c.said, c.shape = 0, shapeOf(line)
	}
	c.shape.read(line)
	c.said += uint64(len(line))
	c.tail = append(c.tail, line[max(0, len(line)-tailLength):]...)
	c.tail = c.tail[max(0, len(c.tail)-tailLength):]
	if c.inside = line[len(line)-1] != '\n'; !c.inside {
		if c.shape.open() {
			return nil, c.end(errors.New("the server breaks off a string or a code at the end of a line"))
		}
		message := false
		if !c.shape.text {
			var err error
			if c.literal, message, c.inside, err = literalBehind(c.tail); err != nil {
				return nil, c.end(err)
			}
		}
		message = message && c.shape.takesMessage()
		if !message {
			c.said += c.literal
		}
		if !message && c.literal > maxString {
			return nil, c.end(fmt.Errorf("the server sends a string of %d octets", c.literal))
		}
		c.tail = c.tail[:0]
	}
	if c.said > maxResponse {
		return nil, c.end(fmt.Errorf("the server sends a response of more than %d octets", maxResponse))
	}
	return line, nil
}

// end loses the connection.
func (c *wire) end(fault error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = fault
	return fault
}

// whole reads what is left of a response that names a mailbox: the name may be a literal.
func (c *wire) whole(line []byte) ([]byte, error) {
	all := bytes.Clone(line)
	for c.inside {
		at := len(all)
		all = append(all, make([]byte, c.literal)...)
		if _, err := io.ReadFull(c.r, all[at:]); err != nil {
			return nil, err
		}
		c.literal = 0
		line, err := c.piece()
		if err != nil {
			return nil, err
		}
		all = append(all, line...)
	}
	return all, nil
}

// begin looks at the line with which a response begins, at its start, or at all of one that
// names a mailbox. Nothing is left of one that the client shall not see.
func (c *wire) begin(line []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if line[0] != '*' && line[0] != '+' && bytes.HasPrefix(line, c.last) {
		c.owes = false
	}
	if name, bad := misspelt(line); bad {
		if !c.names[name] {
			c.names[name] = true
			c.kept += len(name) + nameCost
		}
		if c.kept > maxNames {
			c.fault = errNames
		}
		return nil, c.fault
	}
	if !bytes.HasPrefix(line, []byte("* CAPABILITY ")) && !bytes.Contains(line, []byte(" [CAPABILITY ")) {
		return line, nil
	}
	return bytes.ReplaceAll(line, []byte("IMAP4rev2"), []byte("X-IMAP4R2")), nil
}

// commandTag matches the start of a command of go-imap's client.
var commandTag = regexp.MustCompile(`^T[0-9]+ `)

// named matches the start of a response to LIST, or STATUS behind it.
var named = regexp.MustCompile(`^\* (?:STATUS|LIST) `)

// listed matches one up to the name.
var listed = regexp.MustCompile(`^\* (?:STATUS|LIST \([^)]*\) (?:NIL|"(?:[^"\\]|\\.)*")) (\{\d{1,18}\+?\} ?\r*\n|"(?:[^"\\]|\\.)*"|[^ \r\n"]+)`)

// misspelt is the name of a mailbox that is told of, if it is not in modified UTF-7.
func misspelt(line []byte) (name string, bad bool) {
	m := listed.FindSubmatchIndex(line)
	if m == nil {
		return "", false
	}
	name = string(line[m[2]:m[3]])
	if quoted, ok := strings.CutPrefix(name, `"`); ok {
		name = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.TrimSuffix(quoted, `"`))
	} else if n, _, literal, _ := literalBehind([]byte(name)); literal {
		name = string(line[m[3]:min(uint64(len(line)), uint64(m[3])+n)])
	}
	_, err := maildir.DecodeUTF7(name)
	return name, err != nil
}

// tailLength is how much of the end of a line tells of the literal behind it.
const tailLength = 64

// literalEnd matches the end of a line that a literal follows (RFC 9051 §4.3), with all that
// go-imap's client takes for one, such as a blank before the line end, and says whether that is
// a message. Without "{" it is a number that is longer than the tail, or none.
var literalEnd = regexp.MustCompile(`(?i)(BODY\[\] ~?)?(\{|^)(\d+)\+?\} ?\r*\n$`)

// maxDigits is how many a length may have, which is then one that can be counted.
const maxDigits = 18

// shape is what is known of a response. Without it a server could have us take for a message
// what the client reads into memory, or the other way round.
type shape struct {
	text    bool // a status: what it ends in is no literal
	code    bool // one whose response code has no end
	fetch   bool
	quoted  bool
	escaped bool
	parens  int
}

// statusLine matches the start of a response that ends in text, up to a response code
// (RFC 9051 §7.1), and fetched that of one with messages.
var (
	statusLine = regexp.MustCompile(`^(?i:\* (?:OK|NO|BAD|BYE|PREAUTH)\b|\+|[^*+ ]+ (?:OK|NO|BAD)\b)(?: (\[[^\]]*)?)?`)
	fetched    = regexp.MustCompile(`^(?i:\* \d+ FETCH) `)
)

// shapeOf begins with the first octets of a response.
func shapeOf(line []byte) shape {
	m := statusLine.FindSubmatchIndex(line)
	if m == nil {
		return shape{fetch: fetched.Match(line)}
	}
	return shape{text: true, code: m[2] >= 0 && m[3] >= len(bytes.TrimRight(line, "\r\n"))}
}

// read goes on with more of it, literals aside.
func (s *shape) read(line []byte) {
	if s.text {
		return
	}
	for _, c := range line {
		switch {
		case s.escaped:
			s.escaped = false
		case s.quoted:
			s.escaped, s.quoted = c == '\\', c != '"'
		case c == '"':
			s.quoted = true
		case c == '(':
			s.parens++
		case c == ')':
			s.parens--
		}
	}
}

// open tells whether something has not come to an end that may not go on in another line
// (RFC 9051 §4.3): the client would read on.
func (s *shape) open() bool { return s.quoted || s.code }

// takesMessage tells whether an item of FETCH may come, and not what stands in one.
func (s *shape) takesMessage() bool { return s.fetch && s.parens == 1 }

// literalBehind is the length of the literal that follows a line, whether it is a message, and
// whether there is one: it may be empty, and the response goes on behind it.
func literalBehind(tail []byte) (n uint64, message, there bool, err error) {
	m := literalEnd.FindSubmatch(tail)
	if m == nil {
		return 0, false, false, nil
	}
	if len(m[2]) == 0 || len(m[3]) > maxDigits {
		return 0, false, false, fmt.Errorf("the server sends a string whose length has more than %d digits", maxDigits)
	}
	n, err = strconv.ParseUint(string(m[3]), 10, 63)
	return n, len(m[1]) > 0, true, err
}
