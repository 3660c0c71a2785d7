package handoff

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Host is an Opener for sessions in the login's own process. Where there are no
// uids to keep apart, a session speaks to the client itself: nothing is copied
// from one connection to another, and nobody has to wait in between.
type Host interface {
	// Begin gives what serves a session of o, which has no Stream, until its
	// end. The Client is then closed or given back.
	Begin(o *Open) (serve func(c *Client), err error)
}

// Client is a client's connection while a session has it, to read and write as
// octets without TLS. The session may give it back to the login.
type Client struct {
	net.Conn
	ahead  []byte       // what the client had sent before the session began
	late   *time.Timer  // until the session has said something
	ended  atomic.Bool  // End was called
	state  atomic.Int32 // of the answer to the login
	back   atomic.Bool  // it was given back, with these:
	answer []byte
	rest   []byte
}

const (
	unanswered = iota
	answered
	gaveUp
)

// NewClient lends a connection on which the client has sent something ahead.
// Has the session not answered after patience, late is called, which may write
// to conn: the session no longer can.
func NewClient(conn net.Conn, ahead []byte, patience time.Duration, late func()) *Client {
	c := &Client{Conn: conn, ahead: bytes.Clone(ahead)}
	c.late = time.AfterFunc(patience, func() {
		if c.state.CompareAndSwap(unanswered, gaveUp) {
			late()
		}
	})
	return c
}

// ErrEnded is what a session reads whose end was asked for: to it, the client has left.
var ErrEnded = fmt.Errorf("the session was ended: %w", io.EOF)

// End has the session read nothing more, from another goroutine.
func (c *Client) End() {
	c.ended.Store(true)
	c.Conn.SetReadDeadline(time.Unix(1, 0)) // or the session sets another one, and then reads
}

// Ended says that End was called.
func (c *Client) Ended() bool { return c.ended.Load() }

// NetConn gives the connection beneath, to look at and not to use.
func (c *Client) NetConn() net.Conn { return c.Conn }

// Read is net.Conn's.
func (c *Client) Read(p []byte) (int, error) {
	if c.ended.Load() {
		return 0, ErrEnded
	}
	if len(c.ahead) == 0 {
		n, err := c.Conn.Read(p)
		if err != nil && c.ended.Load() {
			err = ErrEnded
		}
		return n, err
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// Write is net.Conn's.
func (c *Client) Write(p []byte) (int, error) {
	if c.state.Load() != answered {
		if !c.state.CompareAndSwap(unanswered, answered) && c.state.Load() == gaveUp {
			return 0, net.ErrClosed
		}
		c.late.Stop()
	}
	return c.Conn.Write(p)
}

// Close closes the connection, unless it was given back.
func (c *Client) Close() error {
	c.late.Stop()
	if c.back.Load() {
		return nil
	}
	return c.Conn.Close()
}

// GiveBack gives the connection back to the login, with the last answer to the
// client, and what was read of the client and not used. The session that calls it
// reads and writes no more.
func (c *Client) GiveBack(answer, rest []byte) error {
	rest = append(bytes.Clone(rest), c.ahead...)
	if len(rest) > MaxBack {
		return errAhead
	}
	c.answer, c.rest = bytes.Clone(answer), rest
	c.back.Store(true)
	return nil
}

// Returned gives what GiveBack was told, once the session has ended.
func (c *Client) Returned() (answer, rest []byte, ok bool) { return c.answer, c.rest, c.back.Load() }
