package session

import (
	"io"
	"sync"
	"sync/atomic"

	"mailstead/imapserver/transcript"
)

// Tap is where somebody may listen to a session. The zero value is ready for use; where
// nobody listens, it costs the look at a pointer for each piece that is read or written,
// and a lock for each command.
type Tap struct {
	to    atomic.Pointer[transcript.Transcript]
	fresh bool // what is read next begins a command; whoever reads for the session has it

	mu    sync.Mutex
	next  *transcript.Transcript // who waits to listen
	hears bool                   // a command is read or carried out
	says  bool                   // something is told that no command has asked for
}

// Listen has to be told what is said, in place of whoever was, from where neither side is
// in the middle of something: of a message that is under way nobody could tell that it is one.
func (t *Tap) Listen(to *transcript.Transcript) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = to
	t.change()
}

// Drop ends what Listen began, unless somebody else has come.
func (t *Tap) Drop(to *transcript.Transcript) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == to {
		t.next = nil
	}
	t.to.CompareAndSwap(to, nil)
}

// change lets in who waits, if it is time. mu is held.
func (t *Tap) change() {
	if t.next != nil && !t.hears && !t.says {
		t.to.Store(t.next)
		t.next = nil
	}
}

// note takes note of what the session does, by one of the flags.
func (t *Tap) note(flag *bool, is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*flag = is
	t.change()
}

// tapped is a connection, or what is compressed over it, with a tap.
type tapped struct {
	io.Reader
	io.Writer
	tap *Tap
	off *bool // the tap is further up; nil: it is here
}

// Read is io.Reader's. What was said before has been sent by then.
func (t tapped) Read(p []byte) (int, error) {
	if !t.here() {
		return t.Reader.Read(p)
	}
	if t.tap.fresh {
		t.tap.note(&t.tap.hears, false)
	}
	n, err := t.Reader.Read(p)
	if n == 0 {
		return n, err
	}
	if t.tap.fresh {
		t.tap.fresh = false
		t.tap.note(&t.tap.hears, true)
	}
	if to := t.tap.to.Load(); to != nil {
		to.Client(p[:n])
	}
	return n, err
}

// Write is io.Writer's.
func (t tapped) Write(p []byte) (int, error) {
	if t.here() {
		if to := t.tap.to.Load(); to != nil {
			to.Server(p)
		}
	}
	return t.Writer.Write(p)
}

func (t tapped) here() bool { return t.tap != nil && (t.off == nil || !*t.off) }

// between says that the session waits for the client, which may go on with the rest of
// something.
func (s *session) between() {
	if s.Tap != nil {
		s.Tap.fresh = s.r.Between()
	}
}

// telling says that the session tells what no command has asked for, or has told it all.
func (s *session) telling(is bool) {
	if s.Tap != nil {
		s.Tap.note(&s.Tap.says, is)
	}
}

// line is what the session reads and writes.
func (s *session) line() io.ReadWriter {
	if s.Tap == nil {
		return s.conn
	}
	return tapped{s.conn, s.conn, s.Tap, &s.compressed}
}

// above puts the tap above what compresses.
func (s *session) above(t tapped) io.ReadWriter {
	t.tap = s.Tap
	return t
}
