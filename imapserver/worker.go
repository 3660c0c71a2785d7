package imapserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"mailstead/imapserver/confine"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

// channel opens the way to spawn of a process that it has started.
func channel() (*handoff.Conn, error) {
	name()
	if err := dropped(); err != nil {
		return nil, fmt.Errorf("this is for spawn to start: %w", err)
	}
	// It is spawn that is told to stop, and tells us in good order.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return handoff.NewConn(os.NewFile(spawn.Channel, "spawn"))
}

// name gives the process the program's name in ps, top and pgrep, where it
// would be "exe": it was started as spawn.Program. It is no worse without.
func name() {
	os.WriteFile("/proc/self/comm", []byte("mailstead-imapd"), 0)
}

// RunWorker is the mail side of one uid, which is below roots: it serves the
// sessions that spawn sends until it is told to stop, or has nothing to do for a
// while.
func RunWorker(ctx context.Context, roots []string, o Options) error {
	c, err := channel()
	if err != nil {
		return err
	}
	defer c.Close()
	return runWorker(ctx, c, newMail(o.log()), confined(o.log(), roots, confine.OfWorker...))
}

// confined takes from a process what it does not need: files but those below roots and,
// to read, below readable, and system calls. What the kernel has not, spawn has said in the log: the uid and
// the sandbox of the unit hold without it.
func confined(log *slog.Logger, roots []string, calls ...uint32) confine.Roots {
	to, err := confine.Files(roots)
	if err != nil && !errors.Is(err, confine.ErrNoLandlock) {
		log.Error("process may open all files of its uid", "uid", os.Getuid(), "err", err)
	}
	if err := confine.Calls(calls...); err != nil {
		log.Error("process may use all system calls of its unit", "uid", os.Getuid(), "err", err)
	}
	return to
}

func runWorker(ctx context.Context, c *handoff.Conn, m *mail, to confine.Roots) error {
	ctx, stop := context.WithCancel(ctx)
	m.quiet = func(sessions uint64) {
		// Without an answer there is no spawn any more, which Receive will see.
		c.Send(&handoff.Idle{Sessions: sessions})
	}
	var fault error
	for fault == nil {
		var received handoff.Message
		if received, fault = c.Receive(); fault != nil {
			break
		}
		switch received := received.(type) {
		case *handoff.Session:
			var roots []string
			if roots, fault = m.meet(received); fault != nil {
				break
			}
			if to.Fit(roots, received.Maildir) {
				m.start(ctx, received)
			} else {
				c.Close() // the next session gets another worker
				m.turnAway(received)
				fault = io.EOF
			}
		case *handoff.Look:
			m.look(received)
		case *handoff.Stop:
			fault = io.EOF
		default:
			fault = fmt.Errorf("unexpected %T", received)
		}
	}
	stop()
	m.close()
	m.reports.flush()
	if errors.Is(fault, io.EOF) {
		return nil
	}
	return fault
}

// look says what sessions do to whoever asks.
func (m *mail) look(l *handoff.Look) {
	if l.Trace {
		m.trace(l.User, l.Tracing, l.Bodies, l.Answer)
		return
	}
	c, err := handoff.NewConn(l.Answer)
	if err != nil {
		return
	}
	if l.Follow {
		m.reports.listen(tellOver(c))
		return
	}
	go func() {
		defer c.Close()
		for _, s := range m.live.doing(l.User, l.ID) {
			data, err := json.Marshal(s)
			if err == nil {
				err = c.Send(&handoff.Doing{Session: data})
			}
			if err != nil {
				return // nobody wants to know any more
			}
		}
	}()
}
