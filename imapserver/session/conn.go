package session

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// autologout is how long a client may be silent (RFC 9051 §5.4: at least
	// half an hour).
	autologout = 30 * time.Minute
	// stall is how long a client may take to accept a piece of output.
	stall = 5 * time.Minute
	// farewell is how long one that is being disconnected may.
	farewell = 5 * time.Second
	// piece is how much output must go out within stall.
	piece = 64 << 10
)

var (
	errStopped = errors.New("server is stopping")
	errBroken  = fmt.Errorf("%w: %w", errStopped, ErrBroken)
	errIdle    = errors.New("idle for too long")
	errStall   = errors.New("client does not read")
)

// ErrBroken, as the cause of the context of a session, says that the account cannot be
// relied on any more, and is opened anew once its sessions have ended.
var ErrBroken = errors.New("the account is opened anew, after a fault")

// conn is a connection with the session's deadlines.
type conn struct {
	net.Conn
	mu      sync.Mutex // orders interrupt with the deadlines of Read
	stopped error      // why reading fails from now on; nil: it does not
	leaving bool       // the session's goroutine alone has it
	in, out atomic.Int64
}

func newConn(nc net.Conn) *conn { return &conn{Conn: nc} }

// interrupt makes reading fail, now and from now on: with an error that is errStopped.
func (c *conn) interrupt(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = why
	c.SetReadDeadline(time.Unix(1, 0))
}

// expect sets the deadline of a read.
func (c *conn) expect() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped != nil {
		return c.stopped
	}
	return c.SetReadDeadline(time.Now().Add(autologout))
}

// Read reads what the client sends within autologout.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.expect(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.stopped != nil {
			return n, c.stopped
		}
		return n, errIdle
	}
	return n, err
}

// Write writes piece by piece, so that a slow client may take its time for a
// large message and one that has stopped reading may not.
func (c *conn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		limit := stall
		if c.leaving {
			limit = farewell
		}
		c.SetWriteDeadline(time.Now().Add(limit))
		n, err := c.Conn.Write(p[done:min(len(p), done+piece)])
		done += n
		c.out.Add(int64(n))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errStall
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// lastWord shortens the deadline of what is written from now on.
func (c *conn) lastWord() { c.leaving = true }

// octets is how much was read and written.
func (c *conn) octets() (in, out int64) { return c.in.Load(), c.out.Load() }
