// Package session is a connection after login: it reads commands (wire),
// executes them on the user's mail (store) and writes the responses. A worker
// calls Serve, once for each connection; one goroutine owns a session, and
// one file holds one command. It must not import login, auth or config.
package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// Params is what a session is told of its user and its connection.
type Params struct {
	Account   *store.Account
	User      string
	Others    *store.Neighbours // the way to what other users share; nil: nothing is shared
	Namespace string            // prefix of the personal namespace: "" or "INBOX."
	Log       *slog.Logger      // its attributes name the connection
	Limits    *wire.Limits      // nil: wire.PostAuth
	Without   []imap.Cap        // capabilities that are switched off for this user
	Server    map[string]string // annotations of the server that everybody sees, by entry (RFC 5464 §6.2)
	// Discard says that messages of the user that are expunged go into the trash.
	Discard bool
	// Outbox is where messages are put to be sent; nil: nowhere.
	Outbox *Outbox
	// AnyName says that a mailbox may be made under a name that clients may not give one:
	// who has deleted one of before wants it back as it was called.
	AnyName bool
	// MaySetQuota says that SETQUOTA is not refused.
	MaySetQuota bool

	// Tag, if not "", is that of the LOGIN or AUTHENTICATE that has succeeded:
	// Serve answers it first.
	Tag string

	// Back gives the connection back to the login: with the last answer to the
	// client, and what was read of it and not used. nil: it cannot be.
	Back func(answer, rest []byte) error

	// Removed is told of messages that the session removes or moves out of a mailbox
	// (with none: of a mailbox that is gone or renamed), by which command. It may be nil.
	Removed func(command string, from Mailbox, removed []store.Removal)

	// Done is told of each command that was executed, and how long that took. It may be
	// nil.
	Done func(command string, took time.Duration)

	// Tap, if it is not nil, is where somebody may listen.
	Tap *Tap

	// Monitor, if it is not nil, is told what the session does.
	Monitor *Monitor

	pace  time.Duration // progressEvery, where a test wants another
	grace time.Duration // grace, as well
}

// Mailbox is a mailbox and whose it is.
type Mailbox struct{ Owner, Name string }

// grace is how long a command may go on after the server was told to stop.
const grace = 20 * time.Second

// parting is how long one that was then broken off has to say so, and the session BYE.
const parting = 2 * time.Second

// ErrFault is of a session that a fault of ours has ended.
var ErrFault = errors.New("a fault of ours")

// session is the state of one connection: what the client has enabled, which
// mailbox it has selected.
type session struct {
	Params
	names      namespace
	conn       *conn
	r          *wire.Reader
	w          *wire.Writer
	selected   *selection    // nil: no mailbox
	notify     *notification // nil: NOTIFY was not given
	byUID      bool          // the running command is the UID form of another
	need       need          // the rights that it needs
	borrowed   []func()      // what gives back other users' accounts that it has opened
	compressed bool          // COMPRESS is active
	enabled    []imap.Cap    // by ENABLE or by what implies it
	bad        int           // commands in a row that were answered BAD
	commands   int
	command    string // in progress
}

// Serve runs a session until the client leaves or the connection fails. When
// ctx ends, the running command is finished and BYE sent. Serve closes conn and
// what it has opened of the account, not the account. It logs the session's end;
// the error says why it ended other than by LOGOUT or by ctx.
func Serve(ctx context.Context, nc net.Conn, p Params) (err error) {
	if p.Limits == nil {
		p.Limits = &wire.PostAuth
	}
	if p.Back == nil {
		p.Without = append(slices.Clip(p.Without), imap.CapUnauthenticate)
	}
	c := newConn(nc)
	s := &session{Params: p, names: namespace(p.Namespace), conn: c}
	s.w = wire.NewWriter(s.line())
	s.r = wire.NewReader(s.line(), s.w, p.Limits)
	if p.Monitor != nil {
		p.Monitor.begin(c)
	}

	// A command does not end with ctx but, if it takes too long, some time after.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		why := errStopped
		if errors.Is(context.Cause(ctx), ErrBroken) {
			why = errBroken
		}
		c.interrupt(why)
		late := time.AfterFunc(cmp.Or(p.grace, grace), cancel)
		context.AfterFunc(work, func() { late.Stop(); time.AfterFunc(parting, func() { c.Close() }) })
	})
	defer stop()
	defer c.Close()
	defer s.deselect()
	defer s.endNotify()
	defer func() { err = s.end(err, recover()) }()
	return s.run(work)
}

// run is the session's loop. It gives the reason of its end.
func (s *session) run(ctx context.Context) error {
	if s.Tag != "" {
		caps := wire.AppendCapabilities([]byte("CAPABILITY "), wire.PhaseAuth, s.Without...)
		s.w.Status(s.Tag, imap.StatusResponseTypeOK, imap.ResponseCode(caps), "logged in")
	}
	for {
		s.between()
		if err := s.await(ctx); err != nil {
			return err
		}
		req, err := s.r.ReadCommand(s.state())
		var refused *imap.Error
		switch {
		case errors.As(err, &refused):
			s.leave(req, refused)
			s.w.Error(req.Tag, refused)
			err = s.countBad(refused)
		case err == nil:
			s.commands++
			s.command = req.Row.Name
			s.note(s.command)
			begun := time.Now()
			err = s.execute(ctx, req)
			if s.Done != nil {
				s.Done(s.command, time.Since(begun))
			}
			s.note("")
		}
		if err == nil {
			err = s.w.Err()
		}
		if err != nil {
			return err
		}
	}
}

// errBad ends a connection that makes no sense.
var errBad = &wire.ByeError{Text: "too many bad commands"}

func (s *session) countBad(e *imap.Error) error {
	if e.Type != imap.StatusResponseTypeBad {
		return nil
	}
	if s.bad++; s.bad >= s.Limits.Bad {
		return errBad
	}
	return nil
}

// end takes leave of the client and logs why. The reason is an error of run,
// or what a panic left.
func (s *session) end(reason error, panicked any) error {
	if panicked != nil {
		id := errorID()
		s.Log.Error("session panicked", "id", id, "panic", panicked, "stack", string(debug.Stack()))
		reason = fmt.Errorf("%w: %w", ErrFault, &wire.ByeError{Text: "internal error " + id})
	}
	var bye *wire.ByeError
	switch {
	case errors.As(reason, &bye):
		s.w.Status("*", imap.StatusResponseTypeBye, "", bye.Text)
	case errors.Is(reason, ErrBroken):
		s.w.Status("*", imap.StatusResponseTypeBye, imap.ResponseCodeUnavailable, "the mailboxes have to be opened anew, try again soon")
	case errors.Is(reason, errStopped):
		s.w.Status("*", imap.StatusResponseTypeBye, imap.ResponseCodeUnavailable, "server is stopping, try again soon")
	case errors.Is(reason, io.EOF), errors.Is(reason, io.ErrUnexpectedEOF), errors.Is(reason, errHungUp): // of the login, which stops or ends the session, or of a client that still listens
		s.w.Status("*", imap.StatusResponseTypeBye, "", "connection closed")
	case errors.Is(reason, errIdle):
		s.w.Status("*", imap.StatusResponseTypeBye, "", "no command for too long")
	}
	if errors.Is(reason, errUnauthenticated) {
		s.w = wire.NewWriter(io.Discard) // the login has the connection
	} else if !errors.Is(reason, errLogout) {
		s.conn.lastWord()
	}
	s.w.Flush()
	in, out := s.conn.octets()
	s.Log.Info("disconnect", "user", s.User, "reason", describe(reason), "commands", s.commands, "in", in, "out", out)
	if errors.Is(reason, errLogout) || errors.Is(reason, errStopped) || errors.Is(reason, errUnauthenticated) {
		return nil
	}
	return reason
}

// describe says in the log why a session ended.
func describe(reason error) string {
	switch {
	case errors.Is(reason, io.EOF):
		return "client closed the connection"
	case errors.Is(reason, io.ErrUnexpectedEOF):
		return "client closed the connection in the middle of a command"
	case errors.Is(reason, ErrBroken):
		return ErrBroken.Error()
	}
	return reason.Error()
}

// errLogout ends run after LOGOUT.
var errLogout = errors.New("logged out")

func (s *session) state() wire.State {
	if s.selected != nil {
		return wire.Selected
	}
	return wire.Authenticated
}

// off says that a capability is switched off for this user, or is none of the
// server's.
func (s *session) off(c imap.Cap) bool {
	return slices.Contains(s.Without, c) || !wire.Advertised(c)
}
