package bench_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// errRefused says that the server has answered NO or BAD.
var errRefused = errors.New("refused")

// errCut says that an answer came when the server was being cut off already. With
// the power, it would have reached no one; and a file system that is being shut
// down may tell an fsync under way that all is well (XFS, seen).
var errCut = errors.New("cut off")

// plainClient speaks IMAP one command at a time and remembers nothing.
type plainClient struct {
	nc     net.Conn
	r      *bufio.Reader
	n      int
	within time.Duration // of each command
	cut    *atomic.Bool  // the server is being cut off; may be nil
}

func dialPlain(address string, within time.Duration) (*plainClient, error) {
	return dialAs(user(1), address, within)
}

func dialAs(user, address string, within time.Duration) (*plainClient, error) {
	nc, err := net.DialTimeout("tcp", address, within)
	if err != nil {
		return nil, err
	}
	c := &plainClient{nc: nc, r: bufio.NewReader(nc), within: within}
	nc.SetDeadline(time.Now().Add(within))
	if _, err := c.line(); err != nil {
		nc.Close()
		return nil, err
	}
	if _, _, err := c.command("LOGIN %s %s", user, password); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// line reads a line with its literals.
func (c *plainClient) line() (string, error) {
	var b strings.Builder
	for {
		s, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(s)
		i := strings.LastIndexByte(s, '{')
		var n int64
		if i < 0 || !strings.HasSuffix(s, "}\r\n") {
			return b.String(), nil
		}
		if _, err := fmt.Sscanf(s[i:], "{%d}", &n); err != nil {
			return b.String(), nil
		}
		if _, err := io.CopyN(&b, c.r, n); err != nil {
			return "", err
		}
	}
}

// command gives the untagged lines and the tagged one.
func (c *plainClient) command(format string, args ...any) (lines []string, tagged string, err error) {
	c.n++
	tag := fmt.Sprintf("t%d", c.n)
	c.nc.SetDeadline(time.Now().Add(c.within))
	if _, err := fmt.Fprintf(c.nc, "%s %s\r\n", tag, fmt.Sprintf(format, args...)); err != nil {
		return nil, "", err
	}
	return c.answer(tag)
}

func (c *plainClient) answer(tag string) (lines []string, tagged string, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return nil, "", err
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			if c.cut != nil && c.cut.Load() {
				return nil, "", errCut
			}
			if !strings.HasPrefix(rest, "OK") {
				err = fmt.Errorf("%w: %s", errRefused, rest)
			}
			return lines, rest, err
		}
		lines = append(lines, line)
	}
}

// append sends a message and gives its UID.
func (c *plainClient) append(box, flags, message string) (validity, uid uint32, err error) {
	c.n++
	tag := fmt.Sprintf("t%d", c.n)
	c.nc.SetDeadline(time.Now().Add(c.within))
	if _, err := fmt.Fprintf(c.nc, "%s APPEND %s (%s) {%d}\r\n", tag, box, flags, len(message)); err != nil {
		return 0, 0, err
	}
	line, err := c.line()
	if err != nil {
		return 0, 0, err
	}
	if !strings.HasPrefix(line, "+") {
		return 0, 0, fmt.Errorf("%w: %s", errRefused, line)
	}
	if _, err := io.WriteString(c.nc, message+"\r\n"); err != nil {
		return 0, 0, err
	}
	_, tagged, err := c.answer(tag)
	if err != nil {
		return 0, 0, err
	}
	_, code, _ := strings.Cut(tagged, "[APPENDUID ")
	fmt.Sscanf(code, "%d %d", &validity, &uid)
	return validity, uid, nil
}

// number gives the number behind a word, as in "[UIDNEXT 7]"; 0 where there is
// none.
func number(lines []string, word string) (n uint64) {
	for _, line := range lines {
		if _, rest, ok := strings.Cut(line, word+" "); ok {
			if _, err := fmt.Sscan(strings.TrimRight(strings.Fields(rest)[0], "])\r\n"), &n); err == nil {
				return n
			}
		}
	}
	return 0
}
