package spawn

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"mailstead/imapserver/handoff"
)

// leaveTimeout is what a process has to exit once its channel is closed.
const leaveTimeout = 10 * time.Second

// Spawner has the workers, one for each identity. Its methods may be called
// from many goroutines.
type Spawner struct {
	log   *slog.Logger
	start func(Identity) (*Process, error)

	mu      sync.Mutex
	workers map[Identity]*worker
	made    uint64 // workers, ever
	stopped bool
	running sync.WaitGroup
}

// worker is a process, or a place for one that is to be started.
type worker struct {
	id     Identity
	number uint64 // which no other has

	mu    sync.Mutex // held while it is started and while a session is sent
	proc  *Process   // nil before the first session
	sent  uint64     // sessions
	ended bool       // and taken out of the table
}

// New makes a Spawner whose workers are "program args".
func New(log *slog.Logger, program string, args ...string) *Spawner {
	return &Spawner{
		log:     log,
		start:   func(i Identity) (*Process, error) { return Start(program, args, i) },
		workers: map[Identity]*worker{},
	}
}

// Hand gives a session to the worker of that identity, started if there is
// none, and returns its number. The descriptor in m stays open and the caller's.
func (s *Spawner) Hand(id Identity, m *handoff.Session) (number uint64, err error) {
	err = errors.New("stopping")
	for range 3 { // one that is about to end is seen once, and one that has died
		w := s.worker(id)
		if w == nil {
			break
		}
		var again bool
		if again, err = w.hand(s, m); !again {
			return w.number, err
		}
	}
	return 0, err
}

// Kill ends a worker that hangs. One that has ended meanwhile is in the table
// no more, and another in its place has another number.
func (s *Spawner) Kill(number uint64) {
	s.mu.Lock()
	all := maps.Clone(s.workers)
	s.mu.Unlock()
	maps.DeleteFunc(all, func(_ Identity, w *worker) bool { return w.number != number })
	for _, w := range all {
		w.mu.Lock()
		if w.proc != nil && !w.ended {
			s.log.Error("worker killed: it hangs", "uid", w.id.UID, "pid", w.proc.PID())
			s.end(w)
			w.proc.Kill()
		}
		w.mu.Unlock()
	}
}

// worker finds or makes the place for an identity; nil after Stop.
func (s *Spawner) worker(id Identity) *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	w := s.workers[id]
	if w == nil {
		s.made++
		w = &worker{id: id, number: s.made}
		s.workers[id] = w
	}
	return w
}

func (w *worker) hand(s *Spawner, m *handoff.Session) (again bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return true, errors.New("worker has ended")
	}
	if w.proc == nil {
		proc, err := s.start(w.id)
		if err != nil {
			s.end(w)
			return false, err
		}
		w.proc = proc
		s.running.Go(func() { s.watch(w) })
	}
	if err := w.proc.Send(m); err != nil {
		s.end(w)
		w.proc.Kill() // it is gone, or hangs; watch reaps it
		return true, err
	}
	w.sent++
	return false, nil
}

// end takes a worker out of the table, so that the next session gets another
// one. The caller holds w.mu.
func (s *Spawner) end(w *worker) {
	w.ended = true
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers[w.id] == w {
		delete(s.workers, w.id)
	}
}

// watch listens to a worker until it is no more.
func (s *Spawner) watch(w *worker) {
	for {
		m, err := w.proc.Receive()
		if err != nil {
			break
		}
		idle, ok := m.(*handoff.Idle)
		if !ok {
			s.log.Error("worker killed: it does not keep to its messages", "uid", w.id.UID, "pid", w.proc.PID())
			w.proc.Kill()
			break
		}
		w.mu.Lock()
		if idle.Sessions == w.sent && !w.ended {
			s.end(w)
			w.proc.Send(&handoff.Stop{})
		}
		w.mu.Unlock()
	}
	w.mu.Lock()
	s.end(w)
	w.mu.Unlock()
	w.proc.Close()
	defer time.AfterFunc(leaveTimeout, w.proc.Kill).Stop()
	if err := w.proc.Wait(); err != nil {
		s.log.Error("worker has died, and its sessions with it", "uid", w.id.UID, "pid", w.proc.PID(), "err", err)
	}
}

// Stop tells the workers to see their clients off, waits for them until ctx
// ends, and kills those that are left.
func (s *Spawner) Stop(ctx context.Context) {
	s.mu.Lock()
	s.stopped = true
	all := maps.Clone(s.workers)
	s.mu.Unlock()
	for _, w := range all {
		w.mu.Lock()
		if w.proc != nil && !w.ended {
			w.proc.Send(&handoff.Stop{})
			defer context.AfterFunc(ctx, w.proc.Kill)()
		}
		w.mu.Unlock()
	}
	s.running.Wait()
}
