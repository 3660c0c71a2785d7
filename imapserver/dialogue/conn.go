package dialogue

import (
	"bufio"
	"compress/flate"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// patience is how long a response may take. Dovecot takes its time to tell
// changes to a client in IDLE.
const patience = 10 * time.Second

// conn is a client's connection.
type conn struct {
	nc   net.Conn
	br   *bufio.Reader
	log  *transcript
	name string
}

// transcript is what has been said on all connections, for whoever reads a
// failure.
type transcript struct{ lines []string }

func (t *transcript) add(who, text string) {
	const most = 2000
	if len(text) > most {
		text = text[:most] + fmt.Sprintf("... (%d octets)", len(text))
	}
	t.lines = append(t.lines, fmt.Sprintf("%s %q", who, text))
}

func (t *transcript) String() string {
	const last = 40
	return "\t" + strings.Join(t.lines[max(0, len(t.lines)-last):], "\n\t")
}

func newConn(nc net.Conn, name string, log *transcript) *conn {
	return &conn{nc: nc, br: bufio.NewReader(nc), log: log, name: name}
}

func (c *conn) send(octets string) error {
	c.log.add("C"+c.name, octets)
	if err := c.nc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(c.nc, octets)
	return err
}

// receive reads a response, with its literals in it.
func (c *conn) receive() (string, error) {
	if err := c.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		line, err := c.br.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			c.log.add("S"+c.name, b.String())
			return "", fmt.Errorf("no response: %w", err)
		}
		n := literalSize(line)
		if n < 0 {
			break
		}
		if _, err := io.CopyN(&b, c.br, int64(n)); err != nil {
			return "", fmt.Errorf("literal of %d octets: %w", n, err)
		}
	}
	c.log.add("S"+c.name, b.String())
	line, ok := strings.CutSuffix(b.String(), "\r\n")
	if !ok {
		return "", errors.New("response without CRLF")
	}
	return line, nil
}

// literalSize is the size of the literal that a line announces, or -1.
func literalSize(line string) int {
	line, ok := strings.CutSuffix(line, "}\r\n")
	i := strings.LastIndexByte(line, '{')
	if !ok || i < 0 {
		return -1
	}
	n, err := strconv.Atoi(line[i+1:])
	if err != nil {
		return -1
	}
	return n
}

// startTLS does the handshake. Nothing may have come in the clear behind the
// answer to STARTTLS.
func (c *conn) startTLS(conf *tls.Config) error {
	if n := c.br.Buffered(); n > 0 {
		return fmt.Errorf("%d octets came in the clear before the handshake", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t := tls.Client(c.nc, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.nc, c.br = t, bufio.NewReader(t)
	return nil
}

// deflate has both directions compressed (RFC 4978).
func (c *conn) deflate() error {
	w, err := flate.NewWriter(c.nc, flate.DefaultCompression)
	if err != nil {
		return err
	}
	// Of the standard library's reader, each flush gives all that was said before.
	c.nc = &deflated{c.nc, w}
	c.br = bufio.NewReader(flate.NewReader(c.br))
	return nil
}

// deflated compresses what is written.
type deflated struct {
	net.Conn
	w *flate.Writer
}

func (d *deflated) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err == nil {
		err = d.w.Flush()
	}
	return n, err
}

// expectEOF waits until the server has closed the connection.
func (c *conn) expectEOF() error {
	if err := c.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	b, err := io.ReadAll(c.br)
	if len(b) > 0 {
		return fmt.Errorf("more came before the end: %q", b)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the connection is still open")
	}
	return nil // closed, or reset
}
