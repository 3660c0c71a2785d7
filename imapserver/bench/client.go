package bench

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Client is an IMAP client that costs as little as possible beside the server
// that is measured: it parts responses from each other and no more.
type Client struct {
	nc     net.Conn
	r      *bufio.Reader
	w      *bufio.Writer
	tag    int
	line   []byte // of readResponse
	keep   bool   // literals stay in the line
	caps   map[string]bool
	prefix string // of the personal namespace
}

// patience is what a client waits for any one answer.
const patience = 10 * time.Minute

// Dial connects from source, an address of loopback, and reads the greeting.
// With a configuration it begins with TLS.
func Dial(source, address string, secure *tls.Config) (*Client, error) {
	return dial(source, address, secure, 64<<10)
}

// dial is Dial with the size of the buffers, in octets.
func dial(source, address string, secure *tls.Config, size int) (*Client, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	nc, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		nc = tls.Client(nc, secure)
	}
	c := &Client{nc: nc, r: bufio.NewReaderSize(nc, size), w: bufio.NewWriterSize(nc, size), caps: map[string]bool{}}
	c.deadline()
	line, err := c.readResponse()
	if err == nil && bytes.Contains(line, []byte("Waiting for authentication")) { // Dovecot, when it is busy
		line, err = c.readResponse()
	}
	if err == nil && !bytes.HasPrefix(line, []byte("* OK")) {
		err = fmt.Errorf("greeting: %q", line)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) deadline() { c.nc.SetDeadline(time.Now().Add(patience)) }

// Close drops the connection.
func (c *Client) Close() error { return c.nc.Close() }

// readResponse gives one response, without its literals but for keep, until the
// next call.
func (c *Client) readResponse() ([]byte, error) {
	c.line = c.line[:0]
	for {
		part, err := c.r.ReadSlice('\n')
		c.line = append(c.line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.line = bytes.TrimRight(c.line, "\r\n")
		n := literalSize(c.line)
		if n < 0 {
			return c.line, nil
		}
		if at := len(c.line); c.keep {
			c.line = append(c.line, make([]byte, n)...)
			if _, err := io.ReadFull(c.r, c.line[at:]); err != nil {
				return nil, err
			}
			continue
		}
		for n > 0 {
			k, err := c.r.Discard(min(n, 1<<20))
			if n -= k; err != nil {
				return nil, err
			}
		}
	}
}

// literalSize is what the end of a line announces, or -1.
func literalSize(line []byte) int {
	open := bytes.LastIndexByte(line, '{')
	if open < 0 || line[len(line)-1] != '}' {
		return -1
	}
	n, err := strconv.Atoi(string(line[open+1 : len(line)-1]))
	if err != nil {
		return -1
	}
	return n
}

// send writes a command and gives its tag.
func (c *Client) send(command string) (string, error) {
	c.deadline()
	c.tag++
	tag := "b" + strconv.Itoa(c.tag)
	c.w.WriteString(tag + " " + command + "\r\n")
	return tag, c.w.Flush()
}

// wait reads up to the answer to tag; each sees the responses before it.
func (c *Client) wait(tag, command string, each func(line []byte)) error {
	for {
		line, err := c.readResponse()
		if err != nil {
			return fmt.Errorf("%.60s: %w", command, err)
		}
		if rest, ok := bytes.CutPrefix(line, []byte(tag+" ")); ok {
			if bytes.HasPrefix(rest, []byte("OK")) {
				return nil
			}
			return fmt.Errorf("%.60s: %s", command, rest)
		}
		if each != nil {
			each(line)
		}
	}
}

// Exec sends a command and waits for its end.
func (c *Client) Exec(command string, each func(line []byte)) error {
	tag, err := c.send(command)
	if err != nil {
		return err
	}
	return c.wait(tag, command, each)
}

// Login logs in, and asks for the capabilities and the namespace.
func (c *Client) Login(user, password string) error {
	if err := c.Exec("LOGIN "+user+" "+password, nil); err != nil {
		return err
	}
	err := c.Exec("CAPABILITY", func(line []byte) {
		for _, word := range strings.Fields(string(line)) {
			c.caps[word] = true
		}
	})
	if err != nil {
		return err
	}
	return c.Exec("NAMESPACE", func(line []byte) {
		if f := strings.SplitN(string(line), `"`, 3); len(f) == 3 {
			c.prefix = f[1]
		}
	})
}

// Has tells whether the server has a capability.
func (c *Client) Has(name string) bool { return c.caps[name] }

// Box is a mailbox as the server names it.
func (c *Client) Box(name string) string {
	if name == "INBOX" {
		return name
	}
	return `"` + c.prefix + name + `"`
}

// Select gives the number of messages.
func (c *Client) Select(name string) (int, error) {
	n := -1
	err := c.Exec("SELECT "+c.Box(name), func(line []byte) {
		if v, ok := exists(line); ok {
			n = v
		}
	})
	if err == nil && n < 0 {
		err = errors.New("SELECT: no EXISTS")
	}
	return n, err
}

func exists(line []byte) (int, bool) {
	number, ok := bytes.CutSuffix(bytes.TrimPrefix(line, []byte("* ")), []byte(" EXISTS"))
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(string(number))
	return n, err == nil
}

// Append stores a message in a synchronizing literal.
func (c *Client) Append(name string, message []byte) error {
	command := fmt.Sprintf("APPEND %s {%d}", c.Box(name), len(message))
	tag, err := c.send(command)
	if err != nil {
		return err
	}
	if err := c.proceed(tag, command); err != nil {
		return err
	}
	c.w.Write(message)
	c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	return c.wait(tag, command, nil)
}

// proceed waits for a continuation request.
func (c *Client) proceed(tag, command string) error {
	for {
		line, err := c.readResponse()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", command, err)
		case bytes.HasPrefix(line, []byte("+")):
			return nil
		case bytes.HasPrefix(line, []byte(tag)):
			return fmt.Errorf("%s: %s", command, line)
		}
	}
}

// Idle enters IDLE.
func (c *Client) Idle() error {
	tag, err := c.send("IDLE")
	if err != nil {
		return err
	}
	return c.proceed(tag, "IDLE")
}

// AwaitExists gives when an idling client was told of a message.
func (c *Client) AwaitExists() (time.Time, error) {
	for {
		line, err := c.readResponse()
		if err != nil {
			return time.Time{}, err
		}
		if _, ok := exists(line); ok {
			return time.Now(), nil
		}
	}
}

// Done leaves IDLE.
func (c *Client) Done() error {
	if _, err := io.WriteString(c.nc, "DONE\r\n"); err != nil {
		return err
	}
	return c.wait("b"+strconv.Itoa(c.tag), "IDLE", nil)
}
