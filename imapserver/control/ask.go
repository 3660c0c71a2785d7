package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// maxAnswer bounds an answer: some thousand bundles.
const maxAnswer = 16 << 20

// askTimeout bounds a question whose context has no deadline. A reload reads
// all users, which takes seconds where there are a hundred thousand.
const askTimeout = 60 * time.Second

// ErrNotRunning says that nobody serves the control socket.
var ErrNotRunning = errors.New("the daemon is not running")

// Ask asks the daemon behind the control socket at path. A request that the
// daemon refused is no error here: Status.Error says why, and the rest of the
// Status is true. The errors: ErrNotRunning; fs.ErrPermission, as only root
// and the daemon's own user may ask; others are the connection's.
func Ask(ctx context.Context, path string, r Request) (Status, error) {
	var s Status
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := dial(ctx, path, r)
	if err != nil {
		return s, fmt.Errorf("ask %s: %w", path, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if err := json.NewDecoder(io.LimitReader(c, maxAnswer)).Decode(&s); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the daemon gave no answer")
		}
		return s, fmt.Errorf("ask %s: %w", path, cause(ctx, err))
	}
	return s, nil
}

// dial connects, and sends the request.
func dial(ctx context.Context, path string, r Request) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	if d, ok := ctx.Deadline(); ok {
		c.SetDeadline(d)
	}
	if err := json.NewEncoder(c).Encode(r); err != nil {
		c.Close()
		return nil, cause(ctx, err)
	}
	return c, nil
}

// Session begins an IMAP session of a user with the daemon behind the control
// socket at path. The greeting, which tells that the user is logged in, is the
// first that is read of it. The errors are those of Ask, and what keeps the
// daemon from beginning one.
func Session(ctx context.Context, path, user string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := dial(ctx, path, Request{Verb: VerbSession, User: user})
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", path, err)
	}
	s := &session{Conn: c, r: bufio.NewReaderSize(c, 1<<20)}
	var status Status
	line, err := s.r.ReadSlice('\n') // the answer; the greeting is behind it
	if err == nil {
		err = json.Unmarshal(line, &status)
	}
	if err == nil && status.Error != "" {
		err = errors.New(status.Error)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("session of %q: %w", user, cause(ctx, err))
	}
	c.SetDeadline(time.Time{})
	return s, nil
}

// SessionFile is Session for another process: nothing of the greeting has been
// read of what it gives. The session has none of the capabilities in off.
func SessionFile(ctx context.Context, path, user string, off ...string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := dial(ctx, path, Request{Verb: VerbSession, User: user, Off: off})
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", path, err)
	}
	defer c.Close()
	var line []byte
	var status Status
	for one := []byte{0}; err == nil && !bytes.HasSuffix(line, []byte("\n")) && len(line) < maxAnswer; line = append(line, one...) {
		_, err = c.Read(one)
	}
	if err == nil {
		err = json.Unmarshal(line, &status)
	}
	if err == nil && status.Error != "" {
		err = errors.New(status.Error)
	}
	if err != nil {
		return nil, fmt.Errorf("session of %q: %w", user, cause(ctx, err))
	}
	c.SetDeadline(time.Time{})
	return c.(*net.UnixConn).File()
}

// session is a connection of which more has been read than the answer.
type session struct {
	net.Conn
	r *bufio.Reader
}

func (s *session) Read(p []byte) (int, error) { return s.r.Read(p) }

// cause prefers the reason why ctx ended to what that did to the connection.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
