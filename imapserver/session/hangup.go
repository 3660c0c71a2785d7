package session

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookEvery is how often a long search looks whether anyone still waits for it.
const lookEvery = 50 * time.Millisecond

var errHungUp = errors.New("client hung up")

// alert is the most octets of the record by which a client ends TLS, which are still there
// to be read when it has gone (RFC 5246 §7.2.1, RFC 8446 §6.1). Hardly a command fits in them.
const alert = 31

// hungUp says that the client has closed the connection, or that the login has ended the
// session, between two responses. It reads nothing: it looks at what is there to be read,
// which for a closed one is the end, or what ends TLS. Of other connections that are no
// sockets it knows nothing.
func (c *conn) hungUp() bool {
	if e, ok := c.Conn.(interface{ Ended() bool }); ok && e.Ended() {
		return true
	}
	socket, left := c.Conn, 0
	for {
		if _, ok := socket.(*tls.Conn); ok {
			left = alert
		}
		inner, ok := socket.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		socket = inner.NetConn()
	}
	sc, ok := socket.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		var b [alert + 1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = errors.Is(err, syscall.ECONNRESET) || err == nil && n <= left && leftBy(int(fd))
	})
	return closed || err != nil
}

// leftBy says that the other side of a socket writes no more.
func leftBy(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}
