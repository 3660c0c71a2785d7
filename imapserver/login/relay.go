package login

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// relay copies between a client and its worker until both are done.
type relay struct {
	user   string
	source netip.Prefix
	client net.Conn      // *tls.Conn, or as accepted
	worker *net.UnixConn // without TLS
	over   atomic.Bool   // cut was called
}

// cut ends the relay from another goroutine.
func (r *relay) cut() {
	r.over.Store(true)
	r.client.SetDeadline(time.Unix(1, 0))
	r.worker.SetDeadline(time.Unix(1, 0))
}

// run copies. It ends when the worker has closed its end: after the client has
// left, the worker may still have something to finish. A client that takes
// nothing for stall is cut off.
func (r *relay) run(stall time.Duration) {
	r.client.SetDeadline(time.Time{})
	var up sync.WaitGroup
	up.Go(r.up)
	r.down(stall)
	// What up still has of the client nobody wants any more.
	r.client.Close()
	r.worker.Close()
	up.Wait()
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
			if _, err := r.worker.Write(small[:n]); err != nil {
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

// upBulk copies for as long as a client sends more than an idle one would.
func (r *relay) upBulk() bool {
	buf := bulks.Get().(*[bulk]byte)
	defer bulks.Put(buf)
	for {
		n, err := r.client.Read(buf[:])
		if n > 0 {
			if _, err := r.worker.Write(buf[:n]); err != nil {
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
func (r *relay) down(stall time.Duration) {
	raw, err := r.worker.SyscallConn()
	if err != nil {
		return
	}
	for {
		buf, n := r.readWorker(raw)
		if n > 0 {
			r.client.SetWriteDeadline(time.Now().Add(stall))
			if r.over.Load() { // or else the deadline has undone that of cut
				return
			}
			_, err = r.client.Write(buf[:n])
		}
		if buf != nil {
			bulks.Put(buf)
		}
		if n <= 0 || err != nil {
			return
		}
	}
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
