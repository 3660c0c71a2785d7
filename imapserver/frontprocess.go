package imapserver

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

// errNoFront says that there is no front at this moment.
var errNoFront = errors.New("the front does not run")

// frontProcess is the supervisor's end of a front.
type frontProcess struct {
	*spawn.Process
	log     *slog.Logger
	open    func(*handoff.Open) (worker uint64, err error)
	hangs   func(worker uint64)
	helpers *helpers
	answers calls
	gone    chan error // its exit, once
}

// newFrontProcess serves the front p for s.
func newFrontProcess(p *spawn.Process, s *Supervisor) *frontProcess {
	f := &frontProcess{Process: p, log: s.log, open: s.open, hangs: s.workers.Kill, helpers: s.helpers, gone: make(chan error, 1)}
	go f.listen()
	return f
}

// maxTasks bounds what a front may have the supervisor do at once.
const maxTasks = 256

// tasks run aside, maxTasks at most.
type tasks struct {
	sync.WaitGroup
	slots chan struct{}
}

func (t *tasks) run(f func()) {
	t.slots <- struct{}{}
	t.Go(func() {
		defer func() { <-t.slots }()
		f()
	})
}

// listen serves the front until it is gone.
func (f *frontProcess) listen() {
	tasks := &tasks{slots: make(chan struct{}, maxTasks)}
	for {
		m, err := f.Receive()
		if err != nil {
			break
		}
		if err := f.take(m, tasks); err != nil {
			f.log.Error("front killed: it does not keep to its messages", "err", err)
			break
		}
	}
	f.answers.close()
	f.Close()
	f.Kill()
	tasks.Wait()
	f.gone <- f.Wait()
}

// take deals with one message of the front; what may take time does so aside.
func (f *frontProcess) take(m handoff.Message, tasks *tasks) error {
	switch m := m.(type) {
	case *handoff.Open:
		tasks.run(func() {
			defer m.Stream.Close()
			worker, err := f.open(m)
			f.Send(&handoff.Opened{Serial: m.Serial, Worker: worker, Error: text(err)})
		})
	case *handoff.Hangs:
		tasks.run(func() { f.hangs(m.Worker) })
	case *handoff.NeedHelper:
		tasks.run(func() {
			answer := f.helpers.start(m.Serial)
			f.Send(answer)
			if answer.Pipe != nil {
				answer.Pipe.Close()
			}
		})
	case *handoff.EndHelper:
		f.helpers.kill(m.ID)
	case *handoff.Ready:
		f.answers.answer(m.Serial, m)
	case *handoff.State:
		f.answers.answer(m.Serial, m)
	default:
		return errors.New("unexpected message")
	}
	return nil
}

// text is an error as messages have it.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// configure sends settings, and the sockets in m if there are any, and waits
// until they are in force.
func (f *frontProcess) configure(ctx context.Context, s *Settings, m *handoff.Settings) error {
	data, err := s.encode()
	if err != nil {
		return err
	}
	m.Data = data
	answer, err := f.answers.call(ctx, func(serial uint64) error {
		m.Serial = serial
		return f.Send(m)
	})
	if err != nil {
		return err
	}
	ready, ok := answer.(*handoff.Ready)
	if !ok {
		return errors.New("the front gave another answer than asked for")
	}
	if ready.Error != "" {
		return errors.New(ready.Error)
	}
	return nil
}

func (f *frontProcess) query(ctx context.Context, selfTest bool) (*handoff.State, error) {
	if f == nil {
		return nil, errNoFront
	}
	answer, err := f.answers.call(ctx, func(serial uint64) error {
		return f.Send(&handoff.Query{Serial: serial, SelfTest: selfTest})
	})
	if err != nil {
		return nil, err
	}
	state, ok := answer.(*handoff.State)
	if !ok {
		return nil, errors.New("the front gave another answer than asked for")
	}
	return state, nil
}

// wait waits until the process is gone.
func (f *frontProcess) wait() error { return <-f.gone }

func (f *frontProcess) kill() { f.Kill() }
