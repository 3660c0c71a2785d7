package transfer

import (
	"bufio"
	"bytes"
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
		c.said = 0
	}
	c.said += uint64(len(line))
	c.tail = append(c.tail, line[max(0, len(line)-tailLength):]...)
	c.tail = c.tail[max(0, len(c.tail)-tailLength):]
	if c.inside = line[len(line)-1] != '\n'; !c.inside {
		message := false
		if c.literal, message = literalBehind(c.tail); c.literal > 0 {
			c.inside = true
		}
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
var listed = regexp.MustCompile(`^\* (?:STATUS|LIST \([^)]*\) (?:NIL|"(?:[^"\\]|\\.)*")) (\{\d{1,9}\+?\}\r?\n|"(?:[^"\\]|\\.)*"|[^ \r\n"]+)`)

// misspelt is the name of a mailbox that is told of, if it is not in modified UTF-7.
func misspelt(line []byte) (name string, bad bool) {
	m := listed.FindSubmatchIndex(line)
	if m == nil {
		return "", false
	}
	name = string(line[m[2]:m[3]])
	if quoted, ok := strings.CutPrefix(name, `"`); ok {
		name = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.TrimSuffix(quoted, `"`))
	} else if n, _ := literalBehind([]byte(name)); strings.HasSuffix(name, "\n") {
		name = string(line[m[3]:min(uint64(len(line)), uint64(m[3])+n)])
	}
	_, err := maildir.DecodeUTF7(name)
	return name, err != nil
}

// tailLength is how much of the end of a line tells of the literal behind it.
const tailLength = 64

// literalEnd matches the end of a line that a literal follows (RFC 9051 §4.3), and says whether
// that is a message.
var literalEnd = regexp.MustCompile(`(?i)(BODY\[\] ~?)?\{(\d{1,18})\+?\}\r*\n$`)

// literalBehind is the length of the literal that follows a line, and whether it is a message.
func literalBehind(line []byte) (n uint64, message bool) {
	m := literalEnd.FindSubmatch(line)
	if m == nil {
		return 0, false
	}
	n, _ = strconv.ParseUint(string(m[2]), 10, 63)
	return n, len(m[1]) > 0
}
