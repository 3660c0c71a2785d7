package imapserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

// startTimeout bounds the start: reading some hundred thousand users included.
const startTimeout = 60 * time.Second

// findWithin is how long a user whom a directory knows may be looked for.
const findWithin = 60 * time.Second

// server is Inline or Parted, as Run sees it. Stop returns once clients, or the
// logins, are left to others; Failed tells what has ended the service without
// Stop.
type server interface {
	Failed() <-chan error
	Stop()
	Reload(s *Settings) error
	Status(ctx context.Context) (control.Status, error)
	SelfTest(ctx context.Context) error
	Session(u config.User, stream *os.File) error
	// Visit has whoever has the other end of stream be a client of a listener.
	Visit(listener string, stream *os.File) error
}

// Run is the daemon: it serves by the configuration at path until SIGTERM or
// SIGINT, or until ctx ends, and goes over to a new one at SIGHUP or when asked
// over the control socket.
func Run(ctx context.Context, path string, o Options) error {
	s, err := Load(path)
	if err != nil {
		return err
	}
	warn(o.log(), s)
	d := &running{path: path, log: o.log()}
	serve, err := d.prepare(s, o)
	if err != nil {
		return err
	}
	asked, err := openAsked(s)
	if err != nil {
		d.server.Stop()
		return err
	}
	defer asked.Close()
	if s.Config.Workers == config.WorkerInline {
		// The hashes of logins may take as many threads as there are processors. With
		// as many again the kernel lets a session in between at once; the Go scheduler,
		// with none to spare, would after ten milliseconds or more.
		n := runtime.GOMAXPROCS(0)
		runtime.GOMAXPROCS(2 * n)
		defer runtime.GOMAXPROCS(n)
	}
	return d.run(ctx, serve, asked)
}

// asked is the sockets at which the daemon is asked by the host's own programs.
type asked struct{ control, page, deliver net.Listener }

func openAsked(s *Settings) (a asked, err error) {
	if a.control, err = control.Listen(s.Config.Control); err != nil {
		return a, err
	}
	if a.page, err = openWebDoor(s); err == nil {
		a.deliver, err = openRecipients(s)
	}
	if err != nil {
		a.Close()
	}
	return a, err
}

// Close closes those that there are.
func (a asked) Close() {
	for _, l := range []net.Listener{a.control, a.page, a.deliver} {
		if l != nil {
			l.Close()
		}
	}
}

// prepare binds what there is to bind and makes the server; serve then starts it.
func (r *running) prepare(s *Settings, o Options) (serve func(), err error) {
	if s.Config.Workers == config.WorkerInline {
		l, err := Activated(s.Config, o.log())
		if err == nil && l == nil {
			l, err = Bind(s.Config)
		}
		if err != nil {
			return nil, err
		}
		i, err := NewInline(s, o)
		if err != nil {
			l.Close()
			return nil, err
		}
		r.server = i
		return func() { i.Start(context.Background(), l) }, nil
	}
	l, err := doorSocket(s.Config)
	if err != nil {
		return nil, err
	}
	p, err := NewParted(s, o)
	if err != nil {
		l.Close()
		return nil, err
	}
	r.server = p
	return func() { p.Start(l) }, nil
}

// warn logs what clients will object to; it keeps nobody from starting, as an
// expired certificate is better than no mail.
func warn(log *slog.Logger, s *Settings) {
	for _, b := range s.Bundles {
		if err := b.Fault(time.Now()); err != nil {
			log.Error("certificate at fault", "bundle", b.Name, "err", err)
		}
	}
}

// running is a daemon that serves.
type running struct {
	path   string
	log    *slog.Logger
	server server
	door   *webDoor // nil: the server has no auth

	reloading sync.Mutex
}

func (r *running) run(ctx context.Context, serve func(), asked asked) error {
	a, ok := r.server.(authorizer)
	if ok {
		r.door = &webDoor{log: r.log, auth: a.authority(), settings: a.inForce, begin: r.server.Session, sessions: map[string]webSession{}}
	}
	ctx, stop := r.signals(ctx)
	defer stop()
	serve()
	if err := r.started(ctx); err != nil {
		return err
	}
	var aside sync.WaitGroup
	aside.Go(func() {
		if err := (control.Server{Answer: r.answer, Session: r.session, Visit: r.visit, Trace: r.trace}).Serve(ctx, asked.control); err != nil {
			r.log.Error("control socket lost", "err", err)
		}
	})
	if ok {
		aside.Go(func() { r.door.serve(ctx, asked.page) })
		deliver := &recipients{log: r.log, auth: a.authority(), settings: a.inForce, begin: r.server.Session, there: map[string]time.Time{}}
		aside.Go(func() { deliver.serve(ctx, asked.deliver) })
	}
	aside.Go(func() { watchdog(ctx, r.log, r.server.SelfTest) })
	notify(r.log, daemon.SdNotifyReady)
	var err error
	select {
	case <-ctx.Done():
		r.log.Info("stopping")
	case err = <-r.server.Failed():
	}
	notify(r.log, daemon.SdNotifyStopping)
	r.server.Stop()
	stop()
	aside.Wait()
	return err
}

// started returns once the self-test has passed: READY=1 says that clients are
// served.
func (r *running) started(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := r.server.SelfTest(ctx); err != nil {
		r.server.Stop()
		return fmt.Errorf("start: %w", err)
	}
	st, err := r.server.Status(ctx)
	if err != nil { // of a login, which is as well able to fail at any other time
		r.log.Warn("not all logins say what they serve", "err", err)
	}
	for _, l := range st.Listeners {
		r.log.Info("serving", "listener", l.Name, "address", l.Address, "tls", l.TLS)
	}
	return nil
}

func (r *running) answer(ctx context.Context, q control.Request) control.Status {
	var err error
	switch q.Verb {
	case control.VerbStatus, control.VerbSession, control.VerbVisit, control.VerbSessions, control.VerbMetrics:
	case control.VerbReload:
		err = r.reload()
	case control.VerbAppPassword:
		return r.aboutAppPasswords(ctx, q)
	case control.VerbExplainLogin:
		return r.explainLogin(ctx, q)
	case control.VerbTrace:
		err = r.mayTrace(q.User)
	case control.VerbEndSession:
		err = r.endSession(ctx, q.ID)
	default:
		err = fmt.Errorf("unknown verb %q", q.Verb)
	}
	s, serr := r.server.Status(ctx)
	switch q.Verb {
	case control.VerbVisit:
		if !slices.ContainsFunc(s.Listeners, func(l control.Listener) bool { return l.Name == q.Listener }) {
			err = fmt.Errorf("there is no listener %q", q.Listener)
		}
	case control.VerbSessions:
		err = r.aboutSessions(ctx, q, &s)
	case control.VerbMetrics:
		err = r.aboutMetrics(ctx, &s)
	}
	if err = errors.Join(err, serr); err != nil {
		s.Error = err.Error()
	}
	return s
}

// session has the connection of whoever may ask us be one of a user. It is root,
// or the owner of all mail, that asks.
func (r *running) session(c *net.UnixConn, user string) {
	u, err := r.person(user)
	if err == nil {
		var stream *os.File
		if stream, err = c.File(); err == nil {
			err = r.server.Session(u, stream)
		}
	}
	if err != nil {
		fmt.Fprintf(c, "* BYE %s\r\n", strings.Join(strings.Fields(err.Error()), " "))
	}
}

// visit has the connection of whoever may ask us be one of a client, as it might have
// come to a listener. That cannot be had ends it.
func (r *running) visit(c *net.UnixConn, listener string) {
	stream, err := c.File()
	if err == nil {
		err = r.server.Visit(listener, stream)
	}
	if err != nil {
		r.log.Error("listener not visited", "listener", listener, "err", err)
	}
}

// person gives a user: of the table, who has logged in lately, or whom a directory knows.
func (r *running) person(name string) (config.User, error) {
	a, ok := r.server.(authorizer)
	if !ok {
		return config.User{}, fmt.Errorf("no user %q", name)
	}
	if u, ok := a.authority().User(name); ok {
		return u, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), findWithin)
	defer cancel()
	u, err := a.authority().Find(ctx, name)
	if err != nil {
		err = fmt.Errorf("no user %q: %w", name, err)
	}
	return u, err
}

// ownSession is a session that was asked for over the control socket. Its first
// response is a greeting.
func ownSession(user string, stream *os.File) *handoff.Open {
	return &handoff.Open{ID: "control", User: user, Tag: "*", Remote: netip.IPv6Loopback(), Brief: true, Stream: stream}
}

// reload reads everything again and goes over to it, or keeps what is in force.
func (r *running) reload() error {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	notify(r.log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
	s, err := Load(r.path)
	if err == nil {
		err = r.server.Reload(s)
	}
	if err != nil {
		r.log.Error("reload refused, the old configuration is still in force", "err", err)
		notify(r.log, daemon.SdNotifyReady)
		return err
	}
	if r.door != nil {
		r.door.settle()
	}
	warn(r.log, s)
	r.log.Info("reloaded", "generation", s.Config.Generation)
	notify(r.log, daemon.SdNotifyReady)
	return nil
}

// signals reloads at SIGHUP and gives a context that ends at SIGTERM or SIGINT.
func (r *running) signals(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-hup:
				r.reload() // it has logged what there is to say
			case <-ctx.Done():
				signal.Stop(hup)
				return
			}
		}
	}()
	return ctx, stop
}
