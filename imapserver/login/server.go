package login

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/metrics"
	"mailstead/imapserver/wire"
)

// Options say how a Server works.
type Options struct {
	Log    *slog.Logger
	Limits Limits // those that the configuration says nothing of
	Auth   handoff.Authenticator
	Open   handoff.Opener  // of sessions in other processes
	Counts *metrics.Counts // nil: nothing is counted
	Host   handoff.Host    // of sessions in this one; where it is there, Open is not used
	Behind Behind          // of listeners that are proxies; nil: there are none
	Board  *Board          // nil: no other process has listeners
}

// Behind is the servers that a listener may stand in front of. Its methods are called
// from many goroutines.
type Behind interface {
	// Offer is what they say of themselves; nil where a listener is no proxy.
	Offer(listener string) *handoff.Offer
	// Shared says whether many users come from an address, which is then not counted
	// as one client.
	Shared(listener string, remote netip.Addr) bool
}

// Server accepts connections and sees them through to their login, and then
// copies between client and worker, or lends the connection to a session. Its methods may be called from many
// goroutines.
type Server struct {
	log    *slog.Logger
	counts *metrics.Counts
	limits Limits // without what the configuration says
	auth   handoff.Authenticator
	opener handoff.Opener
	host   handoff.Host
	behind Behind

	settings atomic.Pointer[settings]
	gate     *gate
	sessions *sessions
	refusals refusals
	watches  atomic.Pointer[[]*Watch] // nil: nobody watches

	ctx     context.Context // ends when connections that are not logged in shall leave
	drain   context.CancelFunc
	serving sync.WaitGroup // connections, logged in or not
	mu      sync.Mutex
	accepts map[net.Listener]bool // false once its loop has ended
}

// settings is what Update replaces as one.
type settings struct {
	certificates *certificates
	clients      map[string]*certificates  // of the listeners on which clients show one, too, by name
	modes        map[string]string         // TLS mode by name of listener
	off          map[string][]imap.Cap     // switched off, by name of listener
	proxies      map[string][]netip.Prefix // in front of a listener, by its name
	limits       Limits
}

// New makes a Server that serves nothing before Update.
func New(o Options) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		log:      o.Log,
		counts:   o.Counts,
		limits:   o.Limits,
		auth:     o.Auth,
		opener:   o.Open,
		host:     o.Host,
		behind:   o.Behind,
		gate:     newGate(o.Limits, o.Board),
		sessions: newSessions(o.Limits, o.Board),
		ctx:      ctx,
		drain:    cancel,
		accepts:  map[net.Listener]bool{},
	}
	go s.rotateTickets()
	return s
}

// Update replaces the certificates and the TLS modes of the listeners and the limits as one.
// Connections that there are keep theirs. After an error nothing has changed.
func (s *Server) Update(c *config.Config, bundles []Bundle) error {
	commit, err := s.Prepare(c, bundles)
	if err == nil {
		commit()
	}
	return err
}

// Prepare is Update in two steps: what could fail, and commit.
func (s *Server) Prepare(c *config.Config, bundles []Bundle) (commit func(), err error) {
	certificates, err := newCertificates(c.TLS, bundles, nil)
	if err != nil {
		return nil, err
	}
	modes, off, proxies := map[string]string{}, map[string][]imap.Cap{}, map[string][]netip.Prefix{}
	for _, l := range c.Listeners {
		if l.TLS != config.Plain && len(bundles) == 0 {
			return nil, fmt.Errorf("listener %s: TLS without any certificate", l.Name)
		}
		if off[l.Name], err = wire.Off(l.Off...); err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		if proxies[l.Name], err = config.ParseNets(l.Proxies); err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		modes[l.Name] = l.TLS
	}
	limits := limit.Set{Login: s.limits}.With(c.Limits).Login
	clients, err := clientCertificates(c, bundles)
	if err != nil {
		return nil, err
	}
	return func() {
		s.gate.limit(limits)
		s.sessions.limit(limits)
		s.settings.Store(&settings{certificates, clients, modes, off, proxies, limits})
	}, nil
}

// Bundles gives what is served at this moment.
func (s *Server) Bundles() []Bundle {
	if t := s.settings.Load(); t != nil {
		return t.certificates.bundles
	}
	return nil
}

// Sessions is the number of connections that are logged in.
func (s *Server) Sessions() int { return s.sessions.total() }

// SessionsOn is their number on each listener that has any.
func (s *Server) SessionsOn() map[string]int { return s.sessions.listeners() }

// Users names those who have sessions.
func (s *Server) Users() []string { return s.sessions.names() }

// List gives the sessions of a user, or with "" all, in the order in which they began.
func (s *Server) List(user string) []Session { return s.sessions.list(user) }

// CloseSession ends the session of that name; false where there is none. Its client
// hears BYE, if it takes that at once: nobody waits for it.
func (s *Server) CloseSession(id string) bool {
	return s.sessions.end(func(r *relay) bool { return r.about != nil && r.about.id == id }) > 0
}

// CloseUsers ends the sessions of users for whom keep is false in the same way, but for
// those that are of servers behind a proxy.
func (s *Server) CloseUsers(keep func(user string) bool) {
	s.sessions.end(func(r *relay) bool { return s.offer(r.listener) == nil && !keep(r.user) })
}

// offer is what the servers behind a listener say of themselves, or nil.
func (s *Server) offer(listener string) *handoff.Offer {
	if s.behind == nil {
		return nil
	}
	return s.behind.Offer(listener)
}

func (s *Server) rotateTickets() {
	t := time.NewTicker(ticketLife)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
			if now := s.settings.Load(); now != nil {
				now.certificates.rotate()
				for _, each := range now.clients {
					each.rotate()
				}
			}
		}
	}
}

// Serve accepts connections of the listener with that name in the
// configuration, until l is closed or Shutdown is called, which is no error.
func (s *Server) Serve(l net.Listener, name string) error {
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		return nil
	}
	s.accepts[l] = true
	s.serving.Add(1) // with its connections: Shutdown waits for no loop that may still begin one
	s.mu.Unlock()
	defer s.serving.Done()
	defer func() {
		s.mu.Lock()
		s.accepts[l] = false
		s.mu.Unlock()
	}()
	var pause time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.serving.Go(func() { s.admit(c, name) })
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			// No descriptor left, most likely: others will give theirs back.
			pause = min(max(2*pause, 10*time.Millisecond), time.Second)
			s.refusals.tell(s.log, "connection not accepted", slog.String("listener", name), slog.String("reason", err.Error()))
			time.Sleep(pause)
		}
	}
}

// admit sees one connection through.
func (s *Server) admit(nc net.Conn, listener string) {
	defer nc.Close()
	addr := remote(nc)
	v := &guest{server: s, addr: addr, shared: s.shared(listener, addr)}
	if reason := v.enter(); reason != "" {
		s.counts.Add(metrics.Refused, 1, listener)
		s.counts.Add(metrics.Refusals, 1, listener, crowding[reason])
		s.refusals.tell(s.log, "connection refused", slog.String("listener", listener), slog.Any("addr", addr), slog.String("reason", reason))
		return
	}
	defer v.leave()
	s.counts.Add(metrics.Connections, 1, listener)
	if tc, ok := nc.(*net.TCPConn); ok {
		// A phone that sleeps is not woken more often than its network needs.
		tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Minute, Interval: 30 * time.Second, Count: 4})
		nc = newPrompt(tc)
	}
	s.serve(nc, listener, addr, s.log, v)
}

// Visit serves a client of this host's, who has the other end of stream, as one who has
// connected to a listener. No limit keeps it out, since who asks for it may do more.
func (s *Server) Visit(stream *os.File, listener string) error {
	nc, err := handoff.Stream(stream)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		nc.Close()
		return errors.New("shutting down")
	}
	s.serving.Go(func() {
		defer nc.Close()
		s.serve(nc, listener, netip.IPv6Loopback(), s.log, nil)
	})
	return nil
}

// shared says whether many users come from an address: a web mail's before a proxy, or a
// proxy's before us.
func (s *Server) shared(listener string, addr netip.Addr) bool {
	if s.behind != nil && s.behind.Shared(listener, addr) {
		return true
	}
	now := s.settings.Load()
	return now != nil && now.fromProxy(listener, addr)
}

// fromProxy says whether an address is that of a proxy in front of a listener.
func (s *settings) fromProxy(listener string, addr netip.Addr) bool {
	return slices.ContainsFunc(s.proxies[listener], func(n netip.Prefix) bool { return n.Contains(addr.Unmap()) })
}

// guest is a connection as the gate counts it: while it is not logged in. The
// nil guest is not counted.
type guest struct {
	server *Server
	addr   netip.Addr
	shared bool // many users come from there
	in     bool
}

func (v *guest) enter() (refusal string) {
	if v == nil {
		return ""
	}
	refusal = v.server.gate.enter(v.addr, v.shared, time.Now())
	v.in = refusal == ""
	return refusal
}

func (v *guest) loggedIn() {
	if v != nil {
		v.server.gate.loggedIn(v.addr, time.Now())
		v.leave()
	}
}

func (v *guest) leave() {
	if v.in {
		v.in = false
		v.server.gate.leave(v.addr, v.shared)
	}
}

// serve is admit without its limits.
func (s *Server) serve(nc net.Conn, listener string, addr netip.Addr, log *slog.Logger, v *guest) {
	id, plain := newID(), log
	log = named(plain, addr, id, listener)
	defer func() {
		if r := recover(); r != nil {
			s.counts.Add(metrics.Faults, 1, "login")
			log.Error("connection lost to a fault of ours", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	r := s.login(nc, listener, addr, id, plain, nil)
	for r != nil {
		v.loggedIn()
		s.session(r, log)
		if !r.back {
			return
		}
		if reason := v.enter(); reason != "" {
			log.Warn("connection not taken back", "reason", reason)
			r.client.Close()
			return
		}
		r = s.login(r.client, listener, addr, id, plain, r)
	}
}

// named has a log name a connection. The address is first: fail2ban reads it where no
// client can have written.
func named(log *slog.Logger, addr netip.Addr, id, listener string) *slog.Logger {
	return log.With(slog.Any("addr", addr), slog.String("session", id), slog.String("listener", listener))
}

// session runs a relay, or a session of this process.
func (s *Server) session(r *relay, log *slog.Logger) {
	defer s.sessions.remove(r)
	if r.serve != nil {
		r.lend(s.settings.Load().limits, log)
		return
	}
	r.run(s.settings.Load().limits, log)
}

// login runs a connection until its login; nil is one that has ended without.
// back is the session that has given it back, if there was one. What it needs is
// garbage by its return: an idle session costs its TLS and what it runs in.
func (s *Server) login(nc net.Conn, listener string, addr netip.Addr, id string, log *slog.Logger, back *relay) *relay {
	now := s.settings.Load()
	ctx, cancel := context.WithTimeout(s.ctx, now.limits.Lifetime)
	defer cancel()
	// Absolute: what a client sends does not move it.
	nc.SetDeadline(time.Now().Add(now.limits.Lifetime))
	// Ahead of its time it wakes a connection that waits for the client.
	defer context.AfterFunc(s.ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })()
	c := &conn{server: s, nc: nc, listener: listener, id: id, peer: addr, plain: log, settings: now}
	c.from(addr)
	c.record()
	r, reason := c.run(ctx, back)
	if r == nil {
		c.tell()
		c.log.Info("disconnected before login", "reason", reason, "tls", c.tlsVersion())
		c.nc.Close() // which under TLS says so to the client
		return nil
	}
	return r
}

// Leave is Shutdown where the workers are not told to end: of each session the
// client's side is ended, as if the client had left, which the session answers
// with BYE.
func (s *Server) Leave(ctx context.Context) {
	s.drain()
	s.sessions.leave()
	s.Shutdown(ctx)
}

// Shutdown ends what is not logged in with BYE, and waits for the sessions to
// end, which their workers see to. When ctx ends they are cut off.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.drain()
	for l := range s.accepts {
		l.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.sessions.cut()
		<-done
	}
}

// remote is the client's address; the zero Addr for what is no TCP connection.
func remote(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// newID names a connection in the log.
func newID() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// refusals keeps a flood out of the log: one line a second, with the number of
// those that it stands for.
type refusals struct {
	mu     sync.Mutex
	last   time.Time
	hidden int
}

func (r *refusals) tell(log *slog.Logger, message string, attrs ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.last) < time.Second {
		r.hidden++
		return
	}
	log.Warn(message, append(attrs, slog.Int("others", r.hidden))...)
	r.last, r.hidden = now, 0
}

// tlsName names the protocol of a connection for the log.
func tlsName(nc net.Conn) string {
	if t, ok := nc.(*tls.Conn); ok {
		return tls.VersionName(t.ConnectionState().Version)
	}
	return ""
}
