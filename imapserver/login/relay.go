package login

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/wire"
)

// relay copies between a client and its worker until both are done.
type relay struct {
	user     string
	listener string
	source   netip.Prefix
	about    *about
	client   net.Conn      // *tls.Conn, or as accepted
	worker   *net.UnixConn // without TLS; nil where serve is not
	login    *pending      // until the worker has answered it
	over     atomic.Bool   // cut was called
	left     atomic.Bool   // leave was
	ended    atomic.Bool   // end was

	serve func(*handoff.Client) // of a session in this process, which takes the client itself
	ahead []byte                // what the client has sent to it already
	lent  atomic.Pointer[handoff.Client]

	// For the day when the worker gives the connection back.
	token    []byte
	phase    wire.Phase
	leaf     *x509.Certificate
	failures int    // logins that were refused before
	back     bool   // it has
	answer   []byte // and has this to say
	rest     []byte // octets of the client that are still to be read
	kept     []byte // by up: those that the worker did not take
}

// pending is a login that the worker has still to answer.
type pending struct {
	id, tag string
	hangs   func() // tells who can kill the worker
}

// cut ends the relay from another goroutine.
func (r *relay) cut() {
	r.over.Store(true)
	if r.worker == nil { // the session would set other deadlines
		r.client.Close()
		return
	}
	r.client.SetDeadline(time.Unix(1, 0))
	r.worker.SetDeadline(time.Unix(1, 0))
}

// farewell is how long a session that is ended has to say BYE, and its client to read
// what is left.
const farewell = 2 * time.Second

// end has the session take leave of its client, from another goroutine: to the session
// it is as if that had left, which it answers with BYE. What the client says from now on
// reaches it no more.
func (r *relay) end() {
	r.ended.Store(true)
	r.hush()
	time.AfterFunc(farewell, r.cut)
}

// leave ends what the client can say, from another goroutine: the session answers as if
// it had left, and a login that has the connection back as the server that stops.
func (r *relay) leave() {
	r.left.Store(true)
	r.client.SetReadDeadline(time.Unix(1, 0))
}

// begin takes the deadlines of the login off the client.
func (r *relay) begin() {
	r.client.SetDeadline(time.Time{})
	if r.left.Load() { // or else its deadline comes after this one
		r.leave()
	}
	if r.ended.Load() {
		r.hush()
	}
}

// hush ends what the client can say for good.
func (r *relay) hush() {
	if r.worker == nil {
		if c := r.lent.Load(); c != nil {
			c.End()
		}
		return
	}
	r.client.SetReadDeadline(time.Unix(1, 0))
	r.worker.SetWriteDeadline(time.Unix(1, 0)) // of what TLS has read already
}

// run copies. It ends when the worker has closed its end: after the client has
// left, the worker may still have something to finish. A client that takes
// nothing for l.Stall is cut off.
func (r *relay) run(l Limits, log *slog.Logger) {
	r.begin()
	var up sync.WaitGroup
	up.Go(r.up)
	if raw, err := r.worker.SyscallConn(); err == nil && r.answered(raw, l, log) {
		r.down(raw, l.Stall)
	}
	if r.back {
		r.comeBack(&up, l)
		return
	}
	// What up still has of the client nobody wants any more.
	r.client.Close()
	r.worker.Close()
	up.Wait()
}

// comeBack stops up, and leaves the client's connection to the login.
func (r *relay) comeBack(up *sync.WaitGroup, l Limits) {
	r.client.SetReadDeadline(time.Unix(1, 0))
	up.Wait()
	r.worker.Close()
	r.rest = append(r.rest, r.kept...)
	r.takeBack(l)
}

// takeBack answers the client for the session that has given it back.
func (r *relay) takeBack(l Limits) {
	r.client.SetReadDeadline(time.Time{})
	if r.over.Load() || r.ended.Load() || len(r.rest) > handoff.MaxBack || !r.writeClient(r.answer, l.Stall) {
		r.back = false
		r.client.Close()
	}
	r.answer = nil
}

// lend lends the client to a session of this process until that ends. For one
// that does not answer the login, we do.
func (r *relay) lend(l Limits, log *slog.Logger) {
	c := handoff.NewClient(r.client, r.ahead, l.Answer, func() {
		log.Error("login not answered", "user", r.user)
		r.unavailable(r.login, l)
		r.cut()
	})
	r.ahead = nil
	r.lent.Store(c)
	r.begin()
	r.serve(c)
	if r.answer, r.rest, r.back = c.Returned(); r.back {
		r.takeBack(l)
		return
	}
	c.Close()
}

// unavailable answers a login in place of the session.
func (r *relay) unavailable(login *pending, l Limits) {
	r.writeClient(fmt.Appendf(nil, "%s NO [UNAVAILABLE] Your mail cannot be opened now (%s).\r\n* BYE Try again later.\r\n", login.tag, login.id), l.Stall)
}

// idleRead is the buffer of an idle connection: a client that waits has sent
// no more than a short command before. bulk is that of a busy one.
const (
	idleRead = 512
	bulk     = 16 << 10
)

var bulks = sync.Pool{New: func() any { return new([bulk]byte) }}

// up copies from the client to the worker, and closes that direction when the
// client closes its.
func (r *relay) up() {
	defer r.worker.CloseWrite()
	var small [idleRead]byte
	for {
		n, err := r.client.Read(small[:])
		if n > 0 {
			if !r.toWorker(small[:n]) {
				return
			}
		}
		if err != nil {
			return
		}
		if n == len(small) && !r.upBulk() {
			return
		}
	}
}

// toWorker keeps what the worker does not take any more.
func (r *relay) toWorker(b []byte) bool {
	n, err := r.worker.Write(b)
	if err != nil {
		r.kept = append(r.kept, b[n:]...)
	}
	return err == nil
}

// upBulk copies for as long as a client sends more than an idle one would.
func (r *relay) upBulk() bool {
	buf := bulks.Get().(*[bulk]byte)
	defer bulks.Put(buf)
	for {
		n, err := r.client.Read(buf[:])
		if n > 0 {
			if !r.toWorker(buf[:n]) {
				return false
			}
		}
		if err != nil {
			return false
		}
		if n < idleRead {
			return true
		}
	}
}

// down copies from the worker to the client. It holds a buffer only while
// there is something to copy.
func (r *relay) down(raw syscallConn, stall time.Duration) {
	for {
		buf, n := r.readWorker(raw)
		if n > 0 {
			r.answer, r.rest, r.back = handoff.Back(r.token, buf[:n])
			r.answer, r.rest = bytes.Clone(r.answer), bytes.Clone(r.rest)
		}
		ok := n > 0 && !r.back && r.writeClient(buf[:n], stall)
		if buf != nil {
			bulks.Put(buf)
		}
		if !ok {
			return
		}
	}
}

func (r *relay) writeClient(b []byte, stall time.Duration) bool {
	r.client.SetWriteDeadline(time.Now().Add(stall))
	if r.over.Load() { // or else the deadline has undone that of cut
		return false
	}
	_, err := r.client.Write(b)
	return err == nil
}

// answered waits until the worker has something to say. Instead of one that
// hangs, or has died, it answers the login itself.
func (r *relay) answered(raw syscallConn, l Limits, log *slog.Logger) bool {
	login := r.login
	r.login = nil
	r.worker.SetReadDeadline(time.Now().Add(l.Answer))
	fault := r.await(raw)
	r.worker.SetReadDeadline(time.Time{})
	switch {
	case r.over.Load(): // as in writeClient
		return false
	case fault == nil:
		return true
	case errors.Is(fault, os.ErrDeadlineExceeded):
		login.hangs()
	}
	log.Error("worker has not answered a login", "user", r.user, "err", fault)
	r.unavailable(login, l)
	return false
}

// await waits for an octet of the worker, which it leaves where it is.
func (r *relay) await(raw syscallConn) error {
	var n int
	var fault error
	err := raw.Read(func(fd uintptr) bool {
		var b [1]byte
		for {
			n, _, fault = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
			if fault != unix.EINTR {
				return fault != unix.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return err
	case fault == nil && n == 0:
		return io.ErrUnexpectedEOF
	}
	return fault
}

// readWorker waits for octets of the worker and reads them into a buffer,
// which it takes only then. n is 0 at the end and below after an error.
func (r *relay) readWorker(raw syscallConn) (buf *[bulk]byte, n int) {
	n = -1
	err := raw.Read(func(fd uintptr) bool {
		buf = bulks.Get().(*[bulk]byte)
		for {
			var err error
			n, err = unix.Read(int(fd), buf[:])
			switch err {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				bulks.Put(buf)
				buf, n = nil, -1
				return false
			}
			return true
		}
	})
	if err != nil {
		n = -1
	}
	return buf, n
}

// syscallConn is the part of syscall.RawConn that is used here.
type syscallConn interface {
	Read(f func(fd uintptr) (done bool)) error
}
