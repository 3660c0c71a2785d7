package session

import (
	"io"
	"sync/atomic"

	"mailstead/imapserver/transcript"
)

// Tap is where somebody may listen to a session. The zero value is ready for use; where
// nobody listens, it costs the look at a pointer for each piece that is read or written.
type Tap struct {
	to atomic.Pointer[transcript.Transcript]
}

// Listen has t be told what is said from now on, in place of whoever was. The session
// should not be in the middle of a line; nil listens no more.
func (t *Tap) Listen(to *transcript.Transcript) { t.to.Store(to) }

// Drop ends what Listen began, unless somebody else has come.
func (t *Tap) Drop(to *transcript.Transcript) { t.to.CompareAndSwap(to, nil) }

// tapped is a connection, or what is compressed over it, with a tap.
type tapped struct {
	io.Reader
	io.Writer
	tap *Tap
	off *bool // the tap is further up; nil: it is here
}

// Read is io.Reader's.
func (t tapped) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if to := t.listens(); to != nil && n > 0 {
		to.Client(p[:n])
	}
	return n, err
}

// Write is io.Writer's.
func (t tapped) Write(p []byte) (int, error) {
	if to := t.listens(); to != nil {
		to.Server(p)
	}
	return t.Writer.Write(p)
}

func (t tapped) listens() *transcript.Transcript {
	if t.tap == nil || t.off != nil && *t.off {
		return nil
	}
	return t.tap.to.Load()
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
