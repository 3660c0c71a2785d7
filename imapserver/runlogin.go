package imapserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/confine"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/login"
	"mailstead/imapserver/proxy"
)

// RunProxy is RunLogin for a listener that stands in front of other servers: who logs in
// is judged by those, and their sessions are theirs.
func RunProxy(ctx context.Context, listener, path string, o Options) error {
	return runLogin(ctx, listener, path, true, o)
}

// RunLogin is the login process of one listener: it serves the sockets that
// systemd has passed by what auth, which listens at path, tells it, until SIGTERM.
// It opens no file. While auth is away, who is logged in stays so, and who is not
// waits a while.
func RunLogin(ctx context.Context, listener, path string, o Options) error {
	return runLogin(ctx, listener, path, false, o)
}

// ErrNoSocket says that there is nothing to serve: the socket unit is not there, or could
// not listen. No other start finds more, but that by which the socket starts its service.
var ErrNoSocket = errors.New("there is no socket to serve, which \"systemctl start\" of the socket unit gives")

func runLogin(ctx context.Context, listener, path string, behind bool, o Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	l, faults := adopt(&config.Config{Listeners: []config.Listener{{Name: listener}}}, activated())
	if len(l) == 0 {
		return fmt.Errorf("%w: %w", ErrNoSocket, errors.Join(faults...))
	}
	if err := confine.Limits(); err != nil {
		return err
	}
	confined(o.log(), nil, confine.OfLogin...)
	r := newLoginRole(listener, path, l, behind, o)
	return r.run(ctx)
}

// activated gives the sockets that systemd has passed.
func activated() []*os.File { return activation.Files(true) }

// loginRole is what a login process does beside serving.
type loginRole struct {
	log      *slog.Logger
	reports  *reporter
	listener string
	path     string // of auth's socket
	login    *login.Server
	board    *login.Board // nil: of what other listeners count, nothing is known
	proxied  *proxied     // nil where the mail is this host's
	bound    Listeners
	failed   chan error // the first fault that ends the service

	mechanisms atomic.Pointer[[]string] // that auth drives

	mu      sync.Mutex
	auth    *authLink     // nil while there is none that has configured us
	came    chan struct{} // closed once there is one
	pending func()        // goes over to the last Settings
	serving bool
}

// authLink is one connection to auth.
type authLink struct {
	*handoff.Conn
	answers calls
}

// newLoginRole makes the login of a listener. behind says that it stands in front of
// other servers.
func newLoginRole(listener, path string, l Listeners, behind bool, o Options) *loginRole {
	limits := login.Default
	if o.Login != nil {
		limits = *o.Login
	}
	reports := newReporter()
	log := counted(o.log(), &reports.Counts)
	r := &loginRole{log: log, reports: reports, listener: listener, path: path, bound: l, came: make(chan struct{}), failed: make(chan error, 1)}
	var err error
	if r.board, err = login.NewBoard(); err != nil {
		log.Warn("limits hold for this listener alone", "listener", listener, "err", err)
	}
	options := login.Options{Log: log, Counts: &reports.Counts, Limits: limits, Auth: r, Open: r, Board: r.board}
	if behind {
		guesses := auth.Default
		if o.Auth != nil {
			guesses = *o.Auth
		}
		r.proxied = newProxied(o.log(), guesses, r.connect)
		options.Auth, options.Host, options.Behind = r.proxied, r.proxied, r.proxied
	}
	r.login = login.New(options)
	return r
}

func (r *loginRole) run(ctx context.Context) error {
	linked, unlink := context.WithCancel(context.Background())
	defer unlink()
	var aside sync.WaitGroup
	came := r.came
	aside.Go(func() { r.keepLink(linked) })
	aside.Go(func() {
		select {
		case <-came: // before that, there is nothing to test
			watchdog(linked, r.log, r.login.SelfTest)
		case <-linked.Done():
		}
	})
	var err error
	select {
	case <-ctx.Done():
		r.log.Info("stopping", "listener", r.listener)
	case err = <-r.failed:
	}
	notify(r.log, daemon.SdNotifyStopping)
	stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	r.login.Leave(stop)
	if r.proxied != nil {
		r.proxied.Close()
	}
	unlink()
	aside.Wait()
	return err
}

// keepLink has a connection to auth until ctx ends.
func (r *loginRole) keepLink(ctx context.Context) {
	pause := time.Duration(0)
	for ctx.Err() == nil {
		c, err := handoff.Dial(ctx, r.path)
		if err == nil {
			begun := time.Now()
			err = r.link(ctx, c)
			if time.Since(begun) > time.Second {
				pause = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		r.log.Warn("auth is away", "err", err)
		pause = min(max(2*pause, 20*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// link does what auth says until the connection ends.
func (r *loginRole) link(ctx context.Context, c *handoff.Conn) error {
	l := &authLink{Conn: c}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer c.Close()
	var aside sync.WaitGroup
	defer aside.Wait()
	defer r.lost(l)
	if err := r.greet(c); err != nil {
		return err
	}
	for {
		m, err := c.Receive()
		if err == nil {
			err = r.take(ctx, l, m, &aside)
		}
		if err != nil {
			return err
		}
	}
}

// greet says Hello.
func (r *loginRole) greet(c *handoff.Conn) error {
	hello := &handoff.Hello{Listener: r.listener}
	if r.board != nil {
		hello.Board = r.board.File
	}
	for _, socket := range r.bound[r.listener] {
		f, err := socket.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return err
		}
		defer f.Close()
		hello.Sockets = append(hello.Sockets, f)
	}
	return c.Send(hello)
}

func (r *loginRole) take(ctx context.Context, l *authLink, m handoff.Message, aside *sync.WaitGroup) error {
	switch m := m.(type) {
	case *handoff.Settings:
		return l.Send(&handoff.Ready{Serial: m.Serial, Error: text(r.prepare(m))})
	case *handoff.Commit:
		return l.Send(&handoff.Ready{Serial: m.Serial, Error: text(r.commit(l, m.Drop))})
	case *handoff.Mechanisms:
		r.mechanisms.Store(&m.Names)
	case *handoff.Board:
		if err := r.board.Join(m.Listener, m.Memory); err != nil {
			r.log.Error("what another listener counts cannot be read", "listener", m.Listener, "err", err)
		}
	case *handoff.Visit:
		if err := r.login.Visit(m.Stream, r.listener); err != nil {
			r.log.Error("listener not visited", "listener", r.listener, "err", err)
		}
	case *handoff.Boards:
		r.board.Only(m.Listeners)
	case *handoff.Query:
		aside.Go(func() { r.state(ctx, l, m) })
	case *handoff.Watch:
		watchLogin(r.login, m.User, m.Sink)
	case *handoff.End:
		return r.end(m)
	case *handoff.Answer:
		l.answers.answer(m.Serial, m)
	case *handoff.Opened:
		l.answers.answer(m.Serial, m)
	case *handoff.Connected:
		if !l.answers.answer(m.Serial, m) {
			m.Connection.Close() // of nil, it does nothing
		}
	default:
		return fmt.Errorf("unexpected %T", m)
	}
	return nil
}

func (r *loginRole) prepare(m *handoff.Settings) error {
	s, bundles, err := decodeLoginSettings(m.Data)
	if err != nil {
		return err
	}
	commit, err := r.prepareLogin(s, bundles)
	r.pending = func() {
		r.mechanisms.Store(&s.Mechanisms)
		r.board.Key(s.Board)
		commit()
		if len(s.Config.Listeners) > 0 && !r.serving {
			r.serving = true
			r.serve(s.Config.Listeners[0])
		}
	}
	if err != nil {
		r.pending = nil
	}
	return err
}

// prepareLogin makes ready what serves the listener. A listener that has become a
// proxy, or is none any more, waits for the service that its unit has then.
func (r *loginRole) prepareLogin(s *loginSettings, bundles []login.Bundle) (commit func(), err error) {
	s.Config.Listeners = slices.DeleteFunc(s.Config.Listeners, func(l config.Listener) bool { return (l.Proxy != nil) != (r.proxied != nil) })
	front, err := r.login.Prepare(&s.Config, bundles)
	if err != nil || r.proxied == nil {
		return front, err
	}
	servers, err := r.proxied.Prepare(&s.Config)
	return func() {
		servers()
		r.proxied.auth.Limit(s.Config.Limits)
		front()
	}, err
}

// commit goes over to what was prepared. From then on there is an auth.
func (r *loginRole) commit(l *authLink, drop bool) error {
	pending := r.pending
	r.pending = nil
	switch {
	case drop:
		return nil
	case pending == nil:
		return errors.New("nothing to go over to")
	}
	pending()
	r.mu.Lock()
	first := r.auth == nil
	if r.auth = l; first {
		close(r.came)
	}
	r.mu.Unlock()
	r.reports.listen(tellOver(l.Conn))
	if first {
		notify(r.log, daemon.SdNotifyReady)
	}
	return nil
}

// serve begins to accept.
func (r *loginRole) serve(l config.Listener) {
	if r.proxied != nil {
		r.proxied.Start()
	}
	for _, socket := range r.bound[r.listener] {
		r.log.Info("serving", "listener", r.listener, "address", socket.Addr().String(), "tls", l.TLS)
		go func() {
			if err := r.login.Serve(socket, r.listener); err != nil {
				select {
				case r.failed <- err:
				default:
				}
			}
		}()
	}
}

// lost takes note that a connection is no more.
func (r *loginRole) lost(l *authLink) {
	l.answers.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.auth == l {
		r.auth, r.came = nil, make(chan struct{})
	}
}

func (r *loginRole) state(ctx context.Context, l *authLink, q *handoff.Query) {
	ctx, cancel := context.WithTimeout(ctx, doorTimeout)
	defer cancel()
	answer := &handoff.State{Serial: q.Serial, Sessions: r.login.SessionsOn()}
	if q.SelfTest {
		answer.Error = text(r.login.SelfTest(ctx))
	}
	state := loginState{Bundles: bundleStatus(r.login.Bundles())}
	if q.Sessions {
		state.Connected = connectionsOf(r.login.List(q.User), q.ID)
	}
	if r.proxied != nil {
		state.Proxies = r.proxied.Status()
	} else if q.Users { // those of other servers are not for us to judge
		state.Users = r.login.Users()
	}
	data, err := json.Marshal(state)
	if err != nil {
		answer.Error = err.Error()
	}
	answer.Data = data
	l.Send(answer) // or there is no auth, which Receive will see
}

// end ends the sessions of some users, or one.
func (r *loginRole) end(m *handoff.End) error {
	if m.Session != "" {
		r.login.CloseSession(m.Session)
		return nil
	}
	var users []string
	if err := json.Unmarshal(m.Data, &users); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	gone := map[string]bool{}
	for _, user := range users {
		gone[user] = true
	}
	r.login.CloseUsers(func(user string) bool { return !gone[user] })
	return nil
}

// authPatience is how long a client waits for an auth that is away: as long as
// one takes to start again, with many users.
const authPatience = 10 * time.Second

// await gives the connection to auth, once there is one.
func (r *loginRole) await(ctx context.Context) (*authLink, error) {
	late := time.After(authPatience)
	for {
		r.mu.Lock()
		l, came := r.auth, r.came
		r.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-came:
		case <-late:
			return nil, errors.New("auth is away")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Authenticate is handoff.Authenticator's.
func (r *loginRole) Authenticate(ctx context.Context, c *handoff.Credentials) handoff.Verdict {
	l, err := r.await(ctx)
	var m handoff.Message
	if err == nil {
		m, err = l.answers.call(ctx, func(serial uint64) error {
			return l.Send(&handoff.Ask{Serial: serial, Credentials: *c})
		})
	}
	if a, ok := m.(*handoff.Answer); ok && err == nil {
		return a.Verdict
	}
	r.log.Error("login without a verdict", "session", c.ID, "addr", c.Remote, "err", err)
	return unavailable
}

// connect is proxy.Dial: auth connects, which has the network and the list of servers.
func (r *loginRole) connect(ctx context.Context, _, server string) (net.Conn, error) {
	l, err := r.await(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", proxy.ErrUntried, err)
	}
	var asked uint64
	m, err := l.answers.call(ctx, func(serial uint64) error {
		asked = serial
		return l.Send(&handoff.Connect{Serial: serial, Server: server})
	})
	switch c, ok := m.(*handoff.Connected); {
	case err != nil && ctx.Err() != nil:
		l.Send(&handoff.Abort{Serial: asked}) // or there is no auth, which gives it up as well
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", proxy.ErrUntried, err)
	case !ok:
		return nil, errors.New("auth gave another answer than asked for")
	case c.Error != "":
		return nil, errors.New(c.Error)
	default:
		return handoff.Network(c.Connection)
	}
}

// Mechanisms is handoff.Authenticator's: as auth said last.
func (r *loginRole) Mechanisms(string) []string {
	if m := r.mechanisms.Load(); m != nil {
		return *m
	}
	return nil
}

// Open is handoff.Opener's. A ticket is of the auth that gave it: one that has
// died takes it along.
func (r *loginRole) Open(ctx context.Context, o *handoff.Open) (hangs func(), err error) {
	defer o.Stream.Close()
	l, err := r.await(ctx)
	if err != nil {
		return nil, err
	}
	m, err := l.answers.call(ctx, func(serial uint64) error {
		return l.Send(&handoff.Claim{Serial: serial, Ticket: o.Ticket, Tag: o.Tag, Client: o.Client, Token: o.Token, Stream: o.Stream})
	})
	if err != nil {
		return nil, err
	}
	opened, ok := m.(*handoff.Opened)
	if !ok {
		return nil, errors.New("auth gave another answer than asked for")
	}
	if opened.Error != "" {
		return nil, errors.New(opened.Error)
	}
	return func() { l.Send(&handoff.Hangs{Worker: opened.Worker}) }, nil
}
