package login

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// prompt is a TCP connection that acknowledges at once what it has read. A
// client that sends the literal of an APPEND and the CRLF behind it in two
// segments, with Nagle's algorithm on, waits for the first acknowledgement; the
// kernel's own is 40 ms late, as we have nothing to answer in between
// (RFC 1122 §4.2.3.2).
type prompt struct {
	*net.TCPConn
	raw syscall.RawConn
}

func newPrompt(c *net.TCPConn) net.Conn {
	raw, err := c.SyscallConn()
	if err != nil {
		return c
	}
	return prompt{c, raw}
}

// Read is that of net.Conn.
func (p prompt) Read(b []byte) (int, error) {
	n, err := p.TCPConn.Read(b)
	if n > 0 {
		p.raw.Control(acknowledge)
	}
	return n, err
}

// acknowledge sends what acknowledgement is due. The option does not last.
func acknowledge(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
