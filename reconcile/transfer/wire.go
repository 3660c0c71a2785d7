package transfer

import (
	"bufio"
	"bytes"
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
	inside  bool   // what comes is more of a line
	literal uint64 // octets of one that are to come
	silence time.Duration

	mu    sync.Mutex
	last  []byte // the tag of the last command
	owes  bool   // the server the answer to that
	fault error
	names []string // of mailboxes that were left out
}

func newWire(nc net.Conn, greeting string, silence time.Duration) *wire {
	c := &wire{Conn: nc, line: []byte(greeting), silence: silence, owes: true}
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
	return c.names
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

func (c *wire) Read(p []byte) (int, error) {
	if len(c.line) == 0 && c.literal > 0 {
		n, err := c.r.Read(p[:min(uint64(len(p)), c.literal)])
		c.literal -= uint64(n)
		return n, err
	}
	for len(c.line) == 0 {
		line, err := c.r.ReadSlice('\n')
		if len(line) == 0 {
			return 0, err
		}
		more := c.inside
		c.inside = line[len(line)-1] != '\n'
		if c.literal = literalBehind(line); c.literal > 0 {
			c.inside = true
		}
		if c.line = line; !more {
			c.line = c.begin(line)
		}
	}
	n := copy(p, c.line)
	c.line = c.line[n:]
	return n, nil
}

// begin looks at the line with which a response begins, or at its start. Nothing is
// left of one that the client shall not see.
func (c *wire) begin(line []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if line[0] != '*' && line[0] != '+' && bytes.HasPrefix(line, c.last) {
		c.owes = false
	}
	if name, bad := misspelt(line); bad && !c.inside {
		if !slices.Contains(c.names, name) {
			c.names = append(c.names, name)
		}
		return nil
	}
	if !bytes.HasPrefix(line, []byte("* CAPABILITY ")) && !bytes.Contains(line, []byte(" [CAPABILITY ")) {
		return line
	}
	return bytes.ReplaceAll(line, []byte("IMAP4rev2"), []byte("X-IMAP4R2"))
}

// commandTag matches the start of a command of go-imap's client.
var commandTag = regexp.MustCompile(`^T[0-9]+ `)

// listed matches a response to LIST, or STATUS behind it, up to the name.
var listed = regexp.MustCompile(`^\* (?:STATUS|LIST \([^)]*\) (?:NIL|"(?:[^"\\]|\\.)*")) ("(?:[^"\\]|\\.)*"|[^ \r\n"]+)`)

// misspelt is the name of a mailbox that is told of, if it is not in modified UTF-7.
func misspelt(line []byte) (name string, bad bool) {
	m := listed.FindSubmatch(line)
	if m == nil {
		return "", false
	}
	name = string(m[1])
	if quoted, ok := strings.CutPrefix(name, `"`); ok {
		name = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.TrimSuffix(quoted, `"`))
	}
	_, err := maildir.DecodeUTF7(name)
	return name, err != nil
}

// literalBehind is the length of the literal that follows a line (RFC 9051 §4.3).
func literalBehind(line []byte) uint64 {
	text, ok := strings.CutSuffix(strings.TrimRight(string(line[max(0, len(line)-30):]), "\r\n"), "}")
	i := strings.LastIndexByte(text, '{')
	if !ok || i < 0 {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSuffix(text[i+1:], "+"), 10, 63)
	return n
}
