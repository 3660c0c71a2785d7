package login

import (
	"bytes"
	"io"
	"slices"

	"mailstead/imapserver/transcript"
)

// Watch is somebody who wants to see what those say who log in, or try to, as User.
type Watch struct {
	User string
	Tell func(session string, line transcript.Line) // must not wait
}

// Watch has w see the connections that are accepted from now on; stop ends that.
func (s *Server) Watch(w *Watch) (stop func()) {
	s.change(func(all []*Watch) []*Watch { return append(all, w) })
	return func() {
		s.change(func(all []*Watch) []*Watch {
			return slices.DeleteFunc(all, func(o *Watch) bool { return o == w })
		})
	}
}

func (s *Server) change(f func([]*Watch) []*Watch) {
	for {
		old := s.watches.Load()
		var all []*Watch
		if old != nil {
			all = slices.Clone(*old)
		}
		all = f(all)
		now := &all
		if len(all) == 0 {
			now = nil
		}
		if s.watches.CompareAndSwap(old, now) {
			return
		}
	}
}

// maxRecording is how many lines are kept of a connection while it is not known whether
// anybody wants to see them.
const maxRecording = 200

// recording is what a connection has said while somebody watches. The connection's
// goroutine alone has it.
type recording struct {
	*transcript.Transcript
	lines []transcript.Line
}

// record begins one where somebody watches.
func (c *conn) record() {
	if c.server.watches.Load() == nil {
		return
	}
	r := &recording{}
	r.Transcript = transcript.New(false, func(l transcript.Line) {
		if len(r.lines) < maxRecording {
			r.lines = append(r.lines, l)
		}
	})
	c.recording = r
}

// tell shows what has been recorded, once it is known as whom the client tries to log
// in, to those who wanted to see that. What the client has sent ahead waits: it is of
// the next attempt, or of a session, which tells it itself.
func (c *conn) tell() {
	r, watches := c.recording, c.server.watches.Load()
	if r == nil || watches == nil || c.attempt == "" {
		return
	}
	c.w.Flush()
	known := len(r.lines)
	for n := bytes.Count(c.r.Buffered(), []byte("\n")); n > 0 && known > 0 && !r.lines[known-1].Server; n-- {
		known--
	}
	for _, w := range *watches {
		if w.User != c.attempt {
			continue
		}
		for _, l := range r.lines[:known] {
			w.Tell(c.id, l)
		}
	}
	r.lines = slices.Clone(r.lines[known:])
}

// heard is the connection, with the recording along.
type heard struct {
	io.ReadWriter
	*recording
}

// Read is io.Reader's.
func (h heard) Read(p []byte) (int, error) {
	n, err := h.ReadWriter.Read(p)
	h.Client(p[:n])
	return n, err
}

// Write is io.Writer's.
func (h heard) Write(p []byte) (int, error) {
	h.Server(p)
	return h.ReadWriter.Write(p)
}

// line is what the connection reads and writes.
func (c *conn) line() io.ReadWriter {
	if c.recording == nil {
		return c.nc
	}
	return heard{c.nc, c.recording}
}
