// Package spawn is the only part of the daemon that uses privileges. For auth, and nobody else, it
// starts this very program again as another user, with no supplementary group, no capability and no
// way to gain any, and hands workers the sessions of their uid. A uid below MinUID is refused whatever
// auth says. Where all mail has the uid that spawn has itself, it needs no privilege.
// `mailstead-imapd spawn` runs it, through the root package; it imports handoff alone.
package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/handoff"
)

// Spawner has the workers, one for each identity. Its methods may be called from many goroutines.
type Spawner struct {
	log   *slog.Logger
	start func(Identity, *handoff.Session) (*Process, error)

	mu       sync.Mutex
	workers  map[Identity]*worker
	made     uint64 // workers, ever
	running  sync.WaitGroup
	patience time.Duration   // what a worker has to end, once it is to or wants to: more than a delivery
	stopped  atomic.Bool     // nobody is started any more
	over     context.Context // ends when nobody may be left, by kill
	kill     context.CancelFunc
}

// worker is a process, or a place for one that is to be started.
type worker struct {
	id          Identity
	number      uint64     // which no other has
	queue       chan bool  // has who waits for it, or is being sent
	mu          sync.Mutex // held while it is started and while a session is sent
	proc        *Process   // nil before the first session
	sent        uint64     // sessions
	late, ended bool       // it did not take the last one; it is taken out of the table
}

// New makes a Spawner whose workers are "program args" and the roots of their mail.
func New(log *slog.Logger, program string, args ...string) *Spawner {
	s := &Spawner{log: log, workers: map[Identity]*worker{}, patience: 150 * time.Second}
	s.start = func(i Identity, m *handoff.Session) (*Process, error) {
		return Start(program, append(args[:len(args):len(args)], m.AllRoots()...), i)
	}
	s.over, s.kill = context.WithCancel(context.Background())
	return s
}

// Hand gives a session to the worker of that identity, started if there is
// none, and returns its number. The descriptor in m stays open and the caller's.
func (s *Spawner) Hand(id Identity, m *handoff.Session) (number uint64, err error) {
	for again, tries := true, 0; again && tries < 3; tries++ { // one that is about to end is seen, and one that has died
		s.mu.Lock()
		w := s.workers[id]
		if w == nil {
			s.made++
			w = &worker{id: id, number: s.made, queue: make(chan bool, 16)}
			s.workers[id] = w
		}
		s.mu.Unlock()
		number = w.number
		select {
		case w.queue <- true:
			again, err = w.hand(s, m)
			<-w.queue
		case <-time.After(2 * time.Second): // so that others are not held up
			return number, errors.New("too many sessions wait for their worker")
		}
	}
	return number, err
}

func (w *worker) hand(s *Spawner, m *handoff.Session) (again bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return true, errors.New("worker has ended")
	}
	if w.proc == nil {
		if err = errors.New("stopping"); !s.stopped.Load() {
			w.proc, err = s.start(w.id, m)
		}
		if err != nil {
			s.end(w)
			return false, err
		}
		s.running.Go(func() { s.watch(w) })
	}
	err = w.proc.Send(m)
	late := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case err == nil:
		w.sent++
	case late && w.late:
		s.log.Error("worker killed: it hangs", "worker", w.number)
		w.proc.Kill()
		fallthrough
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET): // it ends, once what runs in it has
		s.end(w)
		again = true
	}
	w.late = late
	return again, err // of a session that cannot be sent, which is no other's fault
}

// end takes a worker out of the table: the next session gets another one. The caller holds w.mu.
func (s *Spawner) end(w *worker) {
	w.ended = true
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers[w.id] == w {
		delete(s.workers, w.id)
	}
}

// retire has a worker see its clients off. The caller holds w.mu.
func (s *Spawner) retire(w *worker) {
	s.end(w)
	go w.proc.Send(&handoff.Stop{}) // which nobody waits for: it may hang
	time.AfterFunc(s.patience, w.proc.Kill)
}

// watch listens to a worker until it is no more.
func (s *Spawner) watch(w *worker) {
	is := func(o *worker) bool { return o == w }
	defer context.AfterFunc(s.over, w.proc.Kill)()
	for {
		m, err := w.proc.Receive()
		if errors.Is(err, io.EOF) {
			break
		}
		idle, ok := m.(*handoff.Idle)
		if !ok {
			s.log.Error("worker killed: it does not keep to its messages", "uid", w.id.UID)
			w.proc.Kill()
			break
		}
		s.each(is, func(w *worker) {
			if idle.Sessions == w.sent {
				s.retire(w)
			}
		})
	}
	s.each(is, s.end)
	w.proc.Close()
	defer time.AfterFunc(s.patience, w.proc.Kill).Stop()
	if err := w.proc.Wait(); err != nil {
		s.log.Error("worker has died, and its sessions with it", "uid", w.id.UID, "pid", w.proc.Process.Pid, "err", err)
	}
}

// each does something with workers that which names, by what never changes, with their mu held.
func (s *Spawner) each(which func(w *worker) bool, do func(w *worker)) {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.workers))
	s.mu.Unlock()
	for _, w := range slices.DeleteFunc(all, func(w *worker) bool { return !which(w) }) {
		if w.mu.Lock(); w.proc != nil && !w.ended {
			do(w)
		}
		w.mu.Unlock()
	}
}

// Stop tells the workers to see their clients off, waits until ctx ends, and kills those left.
func (s *Spawner) Stop(ctx context.Context) {
	s.stopped.Store(true)
	defer context.AfterFunc(ctx, s.kill)()
	s.each(func(*worker) bool { return true }, s.retire)
	s.running.Wait()
}

// Serve does what auth asks over l, which nobody but the process of that uid may do, until l is
// closed. The end of its connection ends no worker: auth may be started anew while sessions go on.
func (s *Spawner) Serve(l net.Listener, uid int) error {
	for {
		c, err := handoff.Accept(l, func(err error) { s.log.Error("auth not accepted for now", "err", err) })
		if err != nil {
			return fmt.Errorf("accept auth: %w", err)
		}
		go s.serve(c, uid)
	}
}

func (s *Spawner) serve(c *handoff.Conn, uid int) {
	defer c.Close()
	if peer, _, err := c.Peer(); err != nil || peer != uid {
		s.log.Error("somebody who is not auth asks for a worker", "uid", peer, "err", err)
		return
	}
	slots := make(chan struct{}, 256) // sessions that are handed over at once
	for {
		m, err := c.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *handoff.Session:
			slots <- struct{}{}
			go func() {
				defer func() { m.Close(); <-slots }()
				c.Send(m.Opened(s.Hand(Identity{m.UID, m.GID}, m))) // or auth is gone, which Receive sees
			}()
		case *handoff.Hangs:
			s.log.Error("worker killed: it hangs", "worker", m.Worker)
			go s.each(func(w *worker) bool { return w.number == m.Worker }, func(w *worker) { s.end(w); w.proc.Kill() })
		case *handoff.Retire:
			go s.each(func(w *worker) bool { return w.id == Identity{m.UID, m.GID} }, s.retire) // a session may overtake it
		case *handoff.Look:
			go func() { // a worker that is being started holds it up
				s.each(func(w *worker) bool { return w.id == Identity{m.UID, m.GID} }, func(w *worker) { w.proc.Send(m) })
				m.Answer.Close()
			}()
		default:
			return
		}
	}
}

// MinUID is the least uid of a process: those below are the distribution's. Channel is where it finds
// its channel to spawn. Program is this program, even if its file has been replaced since.
const (
	MinUID  = 100
	Channel = 3
	Program = "/proc/self/exe"
)

// Identity is who a process runs as.
type Identity struct{ UID, GID int }

// Process is a process that was started, and the channel to it. Wait is called once.
type Process struct {
	*handoff.Conn
	*exec.Cmd
}

// Kill ends it at once.
func (p *Process) Kill() { p.Process.Kill() }

// Start runs program with args as i.
func Start(program string, args []string, i Identity) (*Process, error) {
	if i.UID < MinUID || i.GID < MinUID {
		return nil, fmt.Errorf("start a process: uid %d, gid %d: below %d", i.UID, i.GID, MinUID)
	}
	ours, theirs, err := handoff.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(program, args...)
	cmd.Args[0], cmd.Dir, cmd.Stderr = "mailstead-imapd", "/", os.Stderr
	cmd.Env, cmd.ExtraFiles = []string{"JOURNAL_STREAM=" + os.Getenv("JOURNAL_STREAM")}, []*os.File{theirs} // which becomes Channel
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}                                                    // a signal from the terminal is spawn's to pass on
	if i != (Identity{os.Getuid(), os.Getgid()}) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(i.UID), Gid: uint32(i.GID)} // and no groups
	}
	if err := locked(cmd.Start); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start a process of uid %d: %w", i.UID, err)
	}
	return &Process{ours, cmd}, nil
}

// locked calls f, which forks, on a thread of its own that has given up what its children must not
// inherit: the way to privileges by a setuid program, ambient capabilities, which would survive the
// change of uid, and, where it may (CAP_SETPCAP), the bounding set. The thread ends with the call.
func locked(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		for c := uintptr(0); c <= unix.CAP_LAST_CAP && err == nil; c++ {
			if err = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
				err = nil // without the privilege, or a kernel without the capability
			}
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}
