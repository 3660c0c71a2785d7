package imapserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

// Supervisor is the daemon with a front process and a worker process for each
// uid. It is root, reads what only root may, and does nothing for a client but
// look a name up and pass a descriptor on. Its methods may be called from many
// goroutines.
type Supervisor struct {
	log     *slog.Logger
	workers *spawn.Spawner
	helpers *helpers
	failed  chan error

	settings atomic.Pointer[Settings]

	mu       sync.Mutex    // held while settings change and while a front is started
	front    *frontProcess // nil between two of them
	bound    Listeners
	stopping bool
	ended    chan struct{} // closed once the last front is gone
}

// NewSupervisor makes a daemon that serves by s from Start on.
func NewSupervisor(s *Settings, o Options) (*Supervisor, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("workers of other users can be started by root only: run it by its unit, or with workers \"inline\"")
	}
	log := o.log()
	v := &Supervisor{
		log:     log,
		workers: spawn.New(log, spawn.Program, "worker"),
		helpers: newHelpers(s.Config.PAM, log),
		failed:  make(chan error, 1),
		ended:   make(chan struct{}),
	}
	v.settings.Store(s)
	return v, nil
}

// Start starts the front, and starts it again should it die.
func (s *Supervisor) Start(ctx context.Context, l Listeners) error {
	s.mu.Lock()
	s.bound = l
	f, err := s.startFront(ctx)
	s.mu.Unlock()
	if err != nil {
		close(s.ended)
		return err
	}
	go s.keepFront(f)
	return nil
}

// frontPatience is how long a front must have lived for its death to be
// followed by another one: one that dies at once does so again.
const frontPatience = 5 * time.Second

// keepFront has a front running until Stop.
func (s *Supervisor) keepFront(f *frontProcess) {
	defer close(s.ended)
	for {
		begun := time.Now()
		err := f.wait()
		s.mu.Lock()
		s.front = nil
		if s.stopping {
			s.mu.Unlock()
			return
		}
		s.log.Error("the front has died, and all connections with it", "err", err)
		err = errors.New("the front dies as soon as it is started")
		if time.Since(begun) > frontPatience {
			ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
			f, err = s.startFront(ctx)
			cancel()
		}
		s.mu.Unlock()
		if err != nil {
			s.failed <- err
			return
		}
	}
}

// startFront starts a front by the settings in force. The caller holds s.mu.
func (s *Supervisor) startFront(ctx context.Context) (*frontProcess, error) {
	settings := s.settings.Load()
	service := settings.Config.Service
	p, err := spawn.Start(spawn.Program, []string{"front"}, spawn.Identity(service))
	if err != nil {
		return nil, err
	}
	f := newFrontProcess(p, s)
	m := &handoff.Settings{}
	for name, each := range s.bound {
		for _, socket := range each {
			file, err := socket.(*net.TCPListener).File()
			if err != nil {
				f.kill()
				return nil, fmt.Errorf("pass listener %s: %w", name, err)
			}
			defer file.Close()
			m.Listeners, m.Sockets = append(m.Listeners, name), append(m.Sockets, file)
		}
	}
	if err := f.configure(ctx, settings, m); err != nil {
		f.kill()
		return nil, fmt.Errorf("start the front: %w", err)
	}
	s.front = f
	return f, nil
}

// open passes a session on to the worker of its user. What the front says of
// the user is only the name, unless no table of ours has it.
func (s *Supervisor) open(o *handoff.Open) (worker uint64, err error) {
	settings := s.settings.Load()
	u, err := settings.whose(o)
	if err != nil {
		return 0, err
	}
	id := identityOf(u)
	session := settings.session(o, u)
	session.Neighbours = settings.sharing.of(settings, id)
	return s.workers.Hand(id, session)
}

// Session begins a session of a user with whoever has the other end of stream,
// which is ours from then on.
func (s *Supervisor) Session(user string, stream *os.File) error {
	defer stream.Close()
	_, err := s.open(ownSession(user, stream))
	return err
}

// Failed tells what has ended the service.
func (s *Supervisor) Failed() <-chan error { return s.failed }

// Stop has the workers see their clients off and the front everyone else.
func (s *Supervisor) Stop() {
	s.mu.Lock()
	s.stopping = true
	f := s.front
	s.bound.Close()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if f != nil {
		f.Send(&handoff.Stop{})
		defer context.AfterFunc(ctx, f.kill)()
	}
	s.workers.Stop(ctx)
	if f != nil {
		<-s.ended
	}
	s.helpers.killAll()
}

// Reload goes over to settings, or changes nothing.
func (s *Supervisor) Reload(settings *Settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.settings.Load()
	if err := settings.checkReload(old, time.Now()); err != nil {
		return err
	}
	if s.front == nil {
		return errors.New("the front is being started again")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	// First here: whoever may log in by the new settings shall find a worker.
	s.settings.Store(settings)
	if err := s.front.configure(ctx, settings, &handoff.Settings{}); err != nil {
		s.settings.Store(old)
		return err
	}
	s.helpers.configure(settings.Config.PAM)
	return nil
}

// Status tells what is being served, as the front says.
func (s *Supervisor) Status(ctx context.Context) (control.Status, error) {
	settings := s.settings.Load()
	s.mu.Lock()
	f, bound := s.front, s.bound
	s.mu.Unlock()
	st := settings.status()
	st.Listeners = bound.status(settings.Config)
	state, err := f.query(ctx, false)
	if err != nil {
		return st, err
	}
	countSessions(&st, state.Sessions)
	if err := json.Unmarshal(state.Data, &st.Bundles); err != nil {
		return st, fmt.Errorf("state of the front: %w", err)
	}
	return st, nil
}

// SelfTest has the front go through its accept path.
func (s *Supervisor) SelfTest(ctx context.Context) error {
	s.mu.Lock()
	f := s.front
	s.mu.Unlock()
	state, err := f.query(ctx, true)
	if err != nil {
		return err
	}
	if state.Error != "" {
		return errors.New(state.Error)
	}
	return nil
}
