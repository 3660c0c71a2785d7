package spawn

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"mailstead/imapserver/handoff"
)

// Spawner has the workers, one for each identity. Its methods may be called
// from many goroutines.
type Spawner struct {
	log   *slog.Logger
	start func(Identity, *handoff.Session) (*Process, error)

	mu      sync.Mutex
	workers map[Identity]*worker
	made    uint64 // workers, ever
	stopped atomic.Bool
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

// New makes a Spawner whose workers are "program args" and the roots of their mail.
func New(log *slog.Logger, program string, args ...string) *Spawner {
	return &Spawner{log: log, workers: map[Identity]*worker{}, start: func(i Identity, m *handoff.Session) (*Process, error) {
		return Start(program, append(args[:len(args):len(args)], m.Roots...), i)
	}}
}

// Hand gives a session to the worker of that identity, started if there is
// none, and returns its number. The descriptor in m stays open and the caller's.
func (s *Spawner) Hand(id Identity, m *handoff.Session) (number uint64, err error) {
	for again, tries := true, 0; again && tries < 3; tries++ { // one that is about to end is seen, and one that has died
		s.mu.Lock()
		w := s.workers[id]
		if w == nil {
			s.made++
			w = &worker{id: id, number: s.made}
			s.workers[id] = w
		}
		s.mu.Unlock()
		number = w.number
		again, err = w.hand(s, m)
	}
	return number, err
}

func (w *worker) hand(s *Spawner, m *handoff.Session) (again bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return true, errors.New("worker has ended")
	}
	if w.proc == nil && s.stopped.Load() {
		s.end(w)
		return false, errors.New("stopping")
	}
	if w.proc == nil {
		if w.proc, err = s.start(w.id, m); err != nil {
			s.end(w)
			return false, err
		}
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
			s.log.Error("worker killed: it does not keep to its messages", "uid", w.id.UID)
			w.proc.Kill()
			break
		}
		s.each(func(o *worker) bool { return o == w && idle.Sessions == w.sent }, func(w *worker) { s.end(w); w.proc.Send(&handoff.Stop{}) })
	}
	w.mu.Lock()
	s.end(w)
	w.mu.Unlock()
	w.proc.Close()
	defer time.AfterFunc(10*time.Second, w.proc.Kill).Stop()
	if err := w.proc.Wait(); err != nil {
		s.log.Error("worker has died, and its sessions with it", "uid", w.id.UID, "pid", w.proc.Process.Pid, "err", err)
	}
}

// each does something with workers that run, with their mu held.
func (s *Spawner) each(which func(w *worker) bool, do func(w *worker)) {
	s.mu.Lock()
	all := maps.Clone(s.workers)
	s.mu.Unlock()
	for _, w := range all {
		w.mu.Lock()
		if which(w) && w.proc != nil && !w.ended {
			do(w)
		}
		w.mu.Unlock()
	}
}

// Stop tells the workers to see their clients off, waits for them until ctx
// ends, and kills those that are left.
func (s *Spawner) Stop(ctx context.Context) {
	s.stopped.Store(true)
	s.each(func(*worker) bool { return true }, func(w *worker) {
		s.end(w)
		w.proc.Send(&handoff.Stop{})
		context.AfterFunc(ctx, w.proc.Kill)
	})
	s.running.Wait()
}
