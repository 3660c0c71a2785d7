package session

import (
	"errors"
	"syscall"
	"time"
)

// lookEvery is how often a long search looks whether anyone still waits for it.
const lookEvery = 50 * time.Millisecond

var errHungUp = errors.New("client hung up")

// hungUp says that the client has closed the connection, or that the login has ended the
// session, between two responses. It reads nothing: it looks at what is there to be read,
// which for a closed one is the end. Of other connections that are no sockets it knows
// nothing.
func (c *conn) hungUp() bool {
	if e, ok := c.Conn.(interface{ Ended() bool }); ok {
		return e.Ended()
	}
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil || errors.Is(err, syscall.ECONNRESET)
	})
	return closed || err != nil
}
