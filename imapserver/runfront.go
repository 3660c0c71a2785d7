package imapserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/handoff"
)

// RunFront is login and auth: it serves by the settings that the supervisor
// sends, until it is told to stop or the supervisor is gone.
func RunFront(ctx context.Context, o Options) error {
	c, err := channel()
	if err != nil {
		return err
	}
	defer c.Close()
	return runFront(ctx, c, o)
}

// link is the front's end of the channel to the supervisor: the way to workers
// (handoff.Opener) and to helpers (auth.HelperSource).
type link struct {
	*handoff.Conn
	answers calls
	auth    *auth.Auth
}

func runFront(ctx context.Context, c *handoff.Conn, o Options) error {
	l := &link{Conn: c}
	p := &frontRole{link: l, front: newFront(o, l, nil, l)}
	l.auth = p.front.auth
	var fault error
	for fault == nil {
		var m handoff.Message
		if m, fault = c.Receive(); fault == nil {
			fault = p.take(ctx, m)
		}
	}
	l.answers.close()
	if errors.Is(fault, errStop) {
		fault = nil
		stop, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		p.front.close(stop)
	}
	p.tasks.Wait()
	if errors.Is(fault, io.EOF) {
		return errors.New("the supervisor is gone")
	}
	return fault
}

var errStop = errors.New("told to stop")

// frontRole is what a front process does beside serving.
type frontRole struct {
	link  *link
	front *front
	tasks sync.WaitGroup
}

func (p *frontRole) take(ctx context.Context, m handoff.Message) error {
	switch m := m.(type) {
	case *handoff.Settings:
		return p.link.Send(&handoff.Ready{Serial: m.Serial, Error: text(p.configure(m))})
	case *handoff.Query:
		p.tasks.Go(func() { p.state(ctx, m) })
	case *handoff.Opened:
		p.link.answers.answer(m.Serial, m)
	case *handoff.Helper:
		if !p.link.answers.answer(m.Serial, m) {
			p.link.discard(m)
		}
	case *handoff.Stop:
		return errStop
	default:
		return fmt.Errorf("unexpected %T", m)
	}
	return nil
}

// configure takes settings: the first with the sockets, the others without.
func (p *frontRole) configure(m *handoff.Settings) error {
	s, err := decodeSettings(m.Data)
	if err != nil {
		return err
	}
	if len(m.Sockets) == 0 {
		return p.front.reload(s)
	}
	if err := p.front.apply(s); err != nil {
		return err
	}
	l, faults := adopt(s.Config, m.Listeners, m.Sockets)
	if len(l) == 0 {
		return errors.Join(faults...)
	}
	p.front.start(l) // the supervisor has said which are missing
	return nil
}

func (p *frontRole) state(ctx context.Context, q *handoff.Query) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	answer := &handoff.State{Serial: q.Serial, Sessions: p.front.login.SessionsOn()}
	if q.SelfTest {
		answer.Error = text(p.front.login.SelfTest(ctx))
	}
	data, err := json.Marshal(bundleStatus(p.front.login.Bundles()))
	if err != nil {
		answer.Error = err.Error()
	}
	answer.Data = data
	p.link.Send(answer) // or there is no supervisor, which Receive will see
}

// Open is handoff.Opener's.
func (l *link) Open(ctx context.Context, o *handoff.Open) (hangs func(), err error) {
	defer o.Stream.Close()
	if u, ok := l.auth.User(o.User); ok && u.Directory != "" {
		if o.Row, err = json.Marshal(u); err != nil {
			return nil, err
		}
	}
	m, err := l.answers.call(ctx, func(serial uint64) error {
		o.Serial = serial
		return l.Send(o)
	})
	if err != nil {
		return nil, err
	}
	opened, ok := m.(*handoff.Opened)
	if !ok {
		return nil, errors.New("the supervisor gave another answer than asked for")
	}
	if opened.Error != "" {
		return nil, errors.New(opened.Error)
	}
	return func() { l.Send(&handoff.Hangs{Worker: opened.Worker}) }, nil
}

// Start is auth.HelperSource's.
func (l *link) Start(ctx context.Context) (*auth.Helper, error) {
	m, err := l.answers.call(ctx, func(serial uint64) error {
		return l.Send(&handoff.NeedHelper{Serial: serial})
	})
	if err != nil {
		return nil, err
	}
	h, ok := m.(*handoff.Helper)
	if !ok {
		return nil, errors.New("the supervisor gave another answer than asked for")
	}
	if h.Error != "" {
		return nil, errors.New(h.Error)
	}
	pipe, err := handoff.Stream(h.Pipe)
	if err != nil {
		return nil, err
	}
	return &auth.Helper{Pipe: pipe, Kill: func() { l.Send(&handoff.EndHelper{ID: h.ID}) }}, nil
}

// discard ends a helper that came too late for whoever asked.
func (l *link) discard(h *handoff.Helper) {
	if h.Pipe != nil {
		h.Pipe.Close()
		l.Send(&handoff.EndHelper{ID: h.ID})
	}
}
