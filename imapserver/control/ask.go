package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// maxAnswer bounds an answer: some thousand bundles, or 100,000 sessions of which each may
// have said a long name.
const maxAnswer = 64 << 20

// askTimeout is how long an answer may take. A reload reads all users, which takes seconds
// where there are a hundred thousand, and a session begins with reading mail.
const askTimeout = 60 * time.Second

// fromMemory is how long it may take where the daemon knows it by itself, but for the logins:
// it asks them, for 10 s, or twice.
var fromMemory = map[string]time.Duration{
	VerbStatus: 12 * time.Second, VerbTrace: 12 * time.Second,
	VerbSessions: 25 * time.Second, VerbEndSession: 25 * time.Second, VerbMetrics: 25 * time.Second,
}

// patience is how long an answer to a request may take.
func patience(r Request) time.Duration { return cmp.Or(fromMemory[r.Verb], askTimeout) }

// ErrNotRunning says that nobody serves the control socket.
var ErrNotRunning = errors.New("the daemon is not running")

// Ask asks the daemon behind the control socket at path. A request that the
// daemon refused is no error here: Status.Error says why, and the rest of the
// Status is true. The errors: ErrNotRunning; fs.ErrPermission, as only root
// and the daemon's own user may ask; one that says which process does not answer in time;
// others are the connection's.
func Ask(ctx context.Context, path string, r Request) (Status, error) {
	return ask(ctx, path, r, patience(r))
}

func ask(ctx context.Context, path string, r Request, patience time.Duration) (s Status, err error) {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := dial(within, path, r)
	if err != nil {
		return s, silent(ctx, fmt.Errorf("ask %s: %w", path, err), c, patience)
	}
	defer c.Close()
	defer context.AfterFunc(within, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if err := json.NewDecoder(io.LimitReader(c, maxAnswer)).Decode(&s); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the daemon gave no answer")
		}
		return s, silent(ctx, fmt.Errorf("ask %s: %w", path, cause(within, err)), c, patience)
	}
	return s, nil
}

// silent says of a daemon that hangs what only looks like a connection that fails. The
// context is that of who asks: once it has ended, nobody waits for the daemon any more.
func silent(ctx context.Context, err error, c net.Conn, patience time.Duration) error {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if who, perr := peer(c); perr == nil {
		return fmt.Errorf("the daemon does not answer within %g s (process %d)", patience.Seconds(), who.Pid)
	}
	return fmt.Errorf("the daemon does not answer within %g s", patience.Seconds())
}

// Serves tells whether somebody serves the control socket at path, be it to whoever
// asks or not.
func Serves(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return !notRunning(err)
}

func notRunning(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}

// dial connects, and sends the request.
func dial(ctx context.Context, path string, r any) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if notRunning(err) {
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
func Session(ctx context.Context, path, user string) (*net.UnixConn, error) {
	return begin(ctx, path, Request{Verb: VerbSession, User: user}, fmt.Sprintf("session of %q", user))
}

// Visit is a client of a listener of the daemon behind the control socket at path, as
// if it had connected. The errors are those of Session.
func Visit(ctx context.Context, path, listener string) (*net.UnixConn, error) {
	return begin(ctx, path, Request{Verb: VerbVisit, Listener: listener}, fmt.Sprintf("visit to listener %q", listener))
}

// begin has the connection be what r asks for.
func begin(ctx context.Context, path string, r Request, what string) (*net.UnixConn, error) {
	within, cancel := context.WithTimeout(ctx, patience(r))
	defer cancel()
	c, err := dial(within, path, r)
	if err != nil {
		return nil, silent(ctx, fmt.Errorf("ask %s: %w", path, err), c, patience(r))
	}
	if err := begun(c); err != nil {
		defer c.Close()
		return nil, silent(ctx, fmt.Errorf("%s: %w", what, cause(within, err)), c, patience(r))
	}
	c.SetDeadline(time.Time{})
	return c.(*net.UnixConn), nil
}

// TraceLine is a line of what a connection says.
type TraceLine struct {
	At      time.Time `json:"at"`
	Session string    `json:"session"`
	Server  bool      `json:"server,omitempty"` // it is what the server says
	Text    string    `json:"text"`             // without its end; passwords are masked
	Lost    int64     `json:"lost,omitempty"`   // lines before it that there was no time to send
}

// settle is for how long a line of a trace waits for those that were said before it:
// a login and a worker each send what they hear.
const settle = 200 * time.Millisecond

// Trace has tell be called with what the connections of a user say, in the order in
// which it was said, until ctx ends, which is no error. The errors are those of Session.
func Trace(ctx context.Context, path string, r Request, tell func(TraceLine) error) error {
	r.Verb = VerbTrace
	begin, cancel := context.WithTimeout(ctx, patience(r))
	defer cancel()
	c, err := dial(begin, path, r)
	if err != nil {
		return silent(ctx, fmt.Errorf("ask %s: %w", path, err), c, patience(r))
	}
	defer c.Close()
	if err := begun(c); err != nil {
		return silent(ctx, fmt.Errorf("trace %q: %w", r.User, cause(begin, err)), c, patience(r))
	}
	c.SetDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { c.Close() })()
	err, ended := inOrder(c, tell)
	if ended != nil && ctx.Err() == nil {
		return fmt.Errorf("trace %q: the daemon has ended it: %w", r.User, ended)
	}
	return err
}

// inOrder tells the lines that are read, by their time, until one cannot be told or
// the reader ends, which is the second error.
func inOrder(r io.Reader, tell func(TraceLine) error) (err, ended error) {
	type arrived struct {
		TraceLine
		at time.Time
	}
	lines, stop, end := make(chan arrived), make(chan struct{}), make(chan error, 1)
	defer close(stop)
	go func() {
		for from := json.NewDecoder(r); ; {
			var l arrived
			if err := from.Decode(&l.TraceLine); err != nil {
				end <- err
				return
			}
			l.at = time.Now()
			select {
			case lines <- l:
			case <-stop:
				return
			}
		}
	}()
	var held []arrived
	tellBefore := func(now time.Time) error {
		for len(held) > 0 && !held[0].at.Add(settle).After(now) {
			if err := tell(held[0].TraceLine); err != nil {
				return err
			}
			held = held[1:]
		}
		return nil
	}
	for {
		var due <-chan time.Time
		if len(held) > 0 {
			due = time.After(time.Until(held[0].at.Add(settle)))
		}
		select {
		case l := <-lines:
			i := len(held)
			for i > 0 && held[i-1].At.After(l.At) {
				i--
			}
			held = slices.Insert(held, i, l)
		case now := <-due:
			if err := tellBefore(now); err != nil {
				return err, nil
			}
		case ended := <-end:
			return tellBefore(time.Now().Add(2 * settle)), ended
		}
	}
}

// begun reads the answer, octet by octet: the greeting behind it is for whoever
// the session is given to.
func begun(c net.Conn) error {
	var line []byte
	for one := []byte{0}; !bytes.HasSuffix(line, []byte("\n")); line = append(line, one...) {
		if _, err := c.Read(one); err != nil {
			return err
		}
		if len(line) == maxAnswer {
			return errors.New("the daemon's answer has no end")
		}
	}
	var status Status
	if err := json.Unmarshal(line, &status); err != nil {
		return err
	}
	if status.Error != "" {
		return errors.New(status.Error)
	}
	return nil
}

// cause prefers the reason why ctx ended to what that did to the connection.
func cause(ctx context.Context, err error) error {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		<-ctx.Done() // which comes with the deadline of the connection, or a moment later
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
