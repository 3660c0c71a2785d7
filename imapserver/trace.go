package imapserver

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/login"
	"mailstead/imapserver/transcript"
)

// sinkRoom is how many lines wait to be sent. A session does not wait for whoever looks
// on: what there is no room for is counted.
const sinkRoom = 4096

// sink is where lines of a trace go: over a channel, until its other end is closed.
type sink struct {
	conn  *handoff.Conn
	lines chan handoff.Traced
	lost  atomic.Int64

	waiting atomic.Int64  // lines that are not sent yet
	done    chan struct{} // closed when nobody listens any more
	end     sync.Once
}

// newSink makes one of a descriptor, which is its own from then on.
func newSink(f *os.File) (*sink, error) {
	c, err := handoff.NewConn(f)
	if err != nil {
		return nil, err
	}
	s := &sink{conn: c, lines: make(chan handoff.Traced, sinkRoom), done: make(chan struct{})}
	go s.send()
	go func() {
		c.Receive() // it says nothing, so this is its end
		s.close()
	}()
	return s, nil
}

func (s *sink) send() {
	for {
		select {
		case line := <-s.lines:
			line.Lost = s.lost.Swap(0)
			err := s.conn.Send(&line)
			if s.waiting.Add(-1); err != nil {
				s.close()
				return
			}
		case <-s.done:
			return
		}
	}
}

// close ends it. What waits is lost.
func (s *sink) close() {
	s.end.Do(func() {
		close(s.done)
		s.conn.Close()
	})
}

// put sends a line, unless there is no room.
func (s *sink) put(session string, l transcript.Line) {
	s.waiting.Add(1)
	select {
	case s.lines <- handoff.Traced{Session: session, At: l.At, Server: l.Server, Text: l.Text}:
	default:
		s.waiting.Add(-1)
		s.lost.Add(1)
	}
}

// listen has what a session says go to s, until that ends.
func (e *liveSession) listen(s *sink, bodies bool) {
	t := transcript.New(bodies, func(l transcript.Line) { s.put(e.ID, l) })
	e.Listen(t)
	go func() {
		<-s.done
		e.Drop(t)
	}()
}

// trace has what the sessions of a user say go to whoever has the other end of f. One that
// has begun since the trace has tells it already, and others that there are.
func (m *mail) trace(user string, tracing uint64, bodies bool, f *os.File) {
	s, err := newSink(f)
	if err != nil {
		return
	}
	for _, e := range m.live.of(user, "") {
		if !slices.Contains(e.Traces, tracing) {
			e.listen(s, bodies)
		}
	}
}

// traced does so for a session that has just begun, and gives what ends that.
func (e *liveSession) traced() (end func()) {
	if e.Trace == nil {
		return func() {}
	}
	s, err := newSink(e.Trace)
	if err != nil {
		return func() {}
	}
	e.listen(s, e.Bodies)
	return s.drain
}

// drain ends it once what waits has been sent, or a second later.
func (s *sink) drain() {
	for until := time.Now().Add(time.Second); s.waiting.Load() > 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
		select {
		case <-s.done:
			return
		default:
		}
	}
	s.close()
}

// tracing is a trace that somebody looks at.
type tracing struct {
	id     uint64
	user   string
	bodies bool
	file   *os.File // the end of the channel that goes to those who say something
}

// tracings are those that there are.
type tracings struct {
	mu  sync.Mutex
	all []*tracing
}

// begin makes a trace; our end of its channel, and what ends it.
func (t *tracings) begin(user string, bodies bool) (tr *tracing, ours *handoff.Conn, end func(), err error) {
	ours, theirs, err := handoff.Pair()
	if err != nil {
		return nil, nil, nil, err
	}
	tr = &tracing{id: rand.Uint64(), user: user, bodies: bodies, file: theirs} // sessions may be older than this process
	t.mu.Lock()
	t.all = append(t.all, tr)
	t.mu.Unlock()
	return tr, ours, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.all = slices.DeleteFunc(t.all, func(o *tracing) bool { return o == tr })
		ours.Close()
		theirs.Close()
	}, nil
}

// list gives those that there are.
func (t *tracings) list() []*tracing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}

// join puts the traces of its user, if there are any, into a session that begins. The
// descriptor is the session's own. Of several, none is shown more than all want to see.
func (t *tracings) join(s *handoff.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := slices.DeleteFunc(slices.Clone(t.all), func(tr *tracing) bool { return tr.user != s.User })
	switch len(of) {
	case 0:
		return
	case 1:
		s.Trace, _ = again(of[0].file) // or there is none left: the session matters more
	default:
		s.Trace, _ = fan(of)
	}
	for _, tr := range of {
		s.Traces = append(s.Traces, tr.id)
	}
	s.Bodies = !slices.ContainsFunc(of, func(tr *tracing) bool { return !tr.bodies })
}

// fan gives the end of a channel over which a session tells several traces.
func fan(all []*tracing) (theirs *os.File, err error) {
	ours, theirs, err := handoff.Pair()
	if err != nil {
		return nil, err
	}
	var to []*handoff.Conn
	for _, tr := range all {
		if f, err := again(tr.file); err == nil {
			if c, err := handoff.NewConn(f); err == nil {
				to = append(to, c)
			}
		}
	}
	go func() {
		defer ours.Close()
		for len(to) > 0 {
			m, err := ours.Receive()
			line, ok := m.(*handoff.Traced)
			to = slices.DeleteFunc(to, func(c *handoff.Conn) bool { // who looks no more, or all at the end
				over := err != nil || !ok || c.Send(line) != nil
				if over {
					c.Close()
				}
				return over
			})
		}
	}()
	return theirs, nil
}

// again gives another descriptor of a file.
func again(f *os.File) (*os.File, error) {
	c, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var fault error
	if err := c.Control(func(old uintptr) { fd, fault = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if fault != nil {
		return nil, fault
	}
	return os.NewFile(uintptr(fd), "trace"), nil
}

// pass sends what comes over a channel to whoever asked for it, until ctx ends or that
// does. All others send over the channel and over those beside it, so it is always read:
// what there is no room for, while whoever asked takes nothing, is counted.
func pass(ctx context.Context, from *handoff.Conn, to net.Conn) {
	defer context.AfterFunc(ctx, func() {
		from.Close()
		to.SetWriteDeadline(time.Now()) // whoever takes nothing holds nobody's end up
	})()
	lines := make(chan control.TraceLine, sinkRoom)
	go func() {
		defer close(lines)
		var lost int64
		for {
			m, err := from.Receive()
			t, ok := m.(*handoff.Traced)
			if err != nil || !ok {
				return
			}
			lost += t.Lost
			select {
			case lines <- control.TraceLine{At: t.At, Session: t.Session, Server: t.Server, Text: t.Text, Lost: lost}:
				lost = 0
			default:
				lost++
			}
		}
	}()
	out := json.NewEncoder(to)
	for line := range lines {
		if out.Encode(line) != nil {
			return
		}
	}
}

// tracer is a server that can be listened to.
type tracer interface {
	trace(ctx context.Context, c net.Conn, user string, bodies bool) error
}

// mayTrace says why a user cannot be traced.
func (r *running) mayTrace(user string) error {
	if a, ok := r.server.(authorizer); ok && user != "" {
		if _, ok := a.authority().User(user); ok {
			return nil
		}
	}
	return fmt.Errorf("no user %q: a user of a directory has to log in once before", user)
}

// trace serves a trace, of which the log tells: it shows somebody's mail.
func (r *running) trace(ctx context.Context, c *net.UnixConn, q control.Request) {
	r.log.Info("trace begins", "user", q.User, "bodies", q.Bodies)
	err := r.server.(tracer).trace(ctx, c, q.User, q.Bodies)
	r.log.Info("trace ends", "user", q.User, "err", err)
}

func (p *Parted) trace(ctx context.Context, c net.Conn, user string, bodies bool) error {
	tr, ours, end, err := p.traces.begin(user, bodies)
	if err != nil {
		return err
	}
	defer end()
	stop := context.AfterFunc(p.ctx, func() { ours.Close() })
	defer stop()
	p.each(func(d *door) error { return d.Send(&handoff.Watch{User: user, Sink: tr.file}) })
	if u, ok := p.auth.User(user); ok {
		p.spawn.tell(&handoff.Look{UID: u.UID, GID: u.GID, User: user, Trace: true, Tracing: tr.id, Bodies: bodies, Answer: tr.file})
	}
	pass(ctx, ours, c)
	return nil
}

// watch has a login that has just come join the traces that there are.
func (p *Parted) watch(d *door) {
	for _, tr := range p.traces.list() {
		d.Send(&handoff.Watch{User: tr.user, Sink: tr.file})
	}
}

// watchLogin shows what those say who log in as a user, to whoever has the other end
// of f.
func watchLogin(l *login.Server, user string, f *os.File) {
	s, err := newSink(f)
	if err != nil {
		return
	}
	stop := l.Watch(&login.Watch{User: user, Tell: s.put})
	go func() {
		<-s.done
		stop()
	}()
}

func (i *Inline) trace(ctx context.Context, c net.Conn, user string, bodies bool) error {
	tr, ours, end, err := i.traces.begin(user, bodies)
	if err != nil {
		return err
	}
	defer end()
	for _, to := range []func(*os.File){
		func(f *os.File) { i.mail.trace(user, tr.id, bodies, f) },
		func(f *os.File) { watchLogin(i.front.login, user, f) },
	} {
		f, err := again(tr.file)
		if err != nil {
			return err
		}
		to(f)
	}
	pass(ctx, ours, c)
	return nil
}
