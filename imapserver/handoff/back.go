package handoff

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// The way back: a session that gives its connection back to the login says so on
// the stream itself, so that nothing can come in between. It first ends what the
// front can write, which the front then keeps; waits until the front has read
// all that it has said; and sends one packet that begins with the token of Open,
// which no client knows. The front finds it at the start of what it reads.

// MaxBack bounds the octets that a client may have sent ahead.
const MaxBack = 4096

// backTimeout is how long the front may take to read what was said before.
const backTimeout = 5 * time.Minute

const (
	tokenLen = 16
	backHead = tokenLen + 2 // the length of the answer
)

// errAhead says that a client has sent more ahead than can be given back.
var errAhead = errors.New("too much was sent ahead")

// NewToken makes the token of an Open.
func NewToken() []byte {
	token := make([]byte, tokenLen)
	rand.Read(token)
	return token
}

// GiveBack gives a stream back to the front: the last answer to the client, and
// what was read of the client and not used. After it, the stream is of no more
// use, whether or not there is an error.
func GiveBack(c *net.UnixConn, token, answer, rest []byte) error {
	if len(token) != tokenLen {
		return errors.New("give back: there is no token")
	}
	if err := c.CloseRead(); err != nil {
		return fmt.Errorf("give back: %w", err)
	}
	buf := make([]byte, MaxBack)
	for n := 0; len(rest) <= MaxBack; rest = append(rest, buf[:n]...) {
		c.SetReadDeadline(time.Now().Add(backTimeout)) // it does not wait: the other side is shut
		if n, _ = c.Read(buf); n <= 0 {
			break
		}
	}
	if len(rest) > MaxBack {
		return fmt.Errorf("give back: %w", errAhead)
	}
	if err := awaitRead(c); err != nil {
		return fmt.Errorf("give back: %w", err)
	}
	b := binary.BigEndian.AppendUint16(bytes.Clone(token), uint16(len(answer)))
	_, err := c.Write(append(append(b, answer...), rest...))
	return err
}

// awaitRead waits until the other side has read all that was written.
func awaitRead(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for until := time.Now().Add(backTimeout); time.Now().Before(until); time.Sleep(time.Millisecond) {
		left := 0
		var fault error
		err := raw.Control(func(fd uintptr) { left, fault = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err = errors.Join(err, fault); err != nil || left == 0 {
			return err
		}
	}
	return errors.New("the client does not read")
}

// Back takes apart what GiveBack has sent; ok is false for anything else.
func Back(token, b []byte) (answer, rest []byte, ok bool) {
	if len(token) != tokenLen || len(b) < backHead || !bytes.HasPrefix(b, token) {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b[tokenLen:]))
	b = b[backHead:]
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
