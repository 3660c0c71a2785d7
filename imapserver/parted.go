package imapserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

// Parted is the main process of a daemon whose roles are processes of their own.
// It reads configuration, users and certificates, owns the control socket, and
// is auth: it checks what the clients of logins present, and tells spawn who came
// in. It has no privilege; that it may read the files is all there is to it. Its
// methods may be called from many goroutines.
type Parted struct {
	log    *slog.Logger
	auth   *auth.Auth
	spawn  *spawnLink
	heard  *hearing
	traces tracings
	failed chan error

	settings atomic.Pointer[Settings]
	ctx      context.Context // ends with Stop
	stop     context.CancelFunc
	serving  sync.WaitGroup

	reloading sync.Mutex // held while settings change
	channels  channels
	mu        sync.Mutex
	doors     map[*door]bool // configured by the settings in force

	boarding sync.Mutex
	boards   map[string]*door // of logins that have told what they count, by listener
	settled  bool             // all of them that there are
}

// NewParted makes a daemon that serves by s from Start on.
func NewParted(s *Settings, o Options) (*Parted, error) {
	limits := auth.Default
	if o.Auth != nil {
		limits = *o.Auth
	}
	p := &Parted{
		log:    o.log(),
		spawn:  &spawnLink{log: o.log(), path: s.Config.Roles.Spawn},
		failed: make(chan error, 1),
		doors:  map[*door]bool{},
		boards: map[string]*door{},
	}
	p.auth = auth.New(auth.Options{Log: o.log(), Limits: limits, Changed: p.announce, Helpers: &socketHelpers{pam: func() *config.PAM { return p.settings.Load().Config.PAM }}})
	p.heard = newHearing(o.log(), s.Config.Record, p.auth.Fault)
	if err := s.admit(p.auth); err != nil {
		return nil, err
	}
	p.auth.Limit(s.Config.Limits)
	checkService(s.Config.PAM, o.log())
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.settings.Store(s)
	p.auth.Settled()
	return p, nil
}

// Start begins to serve the logins that connect to l.
func (p *Parted) Start(l net.Listener) {
	settle := time.AfterFunc(boardsSettle, p.settle)
	context.AfterFunc(p.ctx, func() { settle.Stop() })
	p.serving.Go(func() {
		defer context.AfterFunc(p.ctx, func() { l.Close() })()
		for {
			c, err := handoff.Accept(l, func(err error) { p.log.Error("logins not accepted for now", "err", err) })
			switch {
			case p.ctx.Err() != nil:
				return
			case err != nil:
				p.failed <- fmt.Errorf("accept logins: %w", err)
				return
			}
			p.serving.Go(func() { p.admit(c) })
		}
	})
}

// admit serves a login, if it is one: nobody else may ask.
func (p *Parted) admit(c *handoff.Conn) {
	defer c.Close()
	defer context.AfterFunc(p.ctx, func() { c.Close() })()
	uid, pid, err := c.Peer()
	if want := p.settings.Load().Config.Roles.Login.UID; err != nil || uid != want {
		p.log.Error("somebody who is no login asks", "uid", uid, "err", err)
		return
	}
	if !p.channels.enter(pid) {
		p.log.Error("a login has too many channels", "pid", pid)
		return
	}
	defer p.channels.leave(pid)
	c.Bound(maxState)
	if err := p.serve(c); p.ctx.Err() == nil && err != nil {
		p.log.Warn("login is gone", "err", err)
	}
}

// serve serves one login until it is gone.
func (p *Parted) serve(c *handoff.Conn) error {
	d, err := meet(p, c)
	if err != nil {
		return err
	}
	defer p.unboarded(d)
	if d.hello.Metrics {
		d.scrapes()
		return nil
	}
	var configured sync.WaitGroup
	configured.Go(func() {
		if err := p.configure(d); err != nil && d.named != "" {
			p.log.Error("login not configured", "listener", d.named, "err", err)
			d.Close()
		}
	})
	err = d.listen()
	configured.Wait()
	p.mu.Lock()
	delete(p.doors, d)
	p.mu.Unlock()
	return err
}

// configure has a login go over to the settings in force, which may be others by
// the time that it has.
func (p *Parted) configure(d *door) error {
	for {
		s, offered := p.settings.Load(), p.auth.Mechanisms(d.hello.Listener)
		if d.moved(s) {
			return errors.New("its sockets are another listener's by now")
		}
		if err := d.prepare(d.ctx, s); err != nil {
			return err
		}
		p.boarded(d)
		if err := d.commit(d.ctx, false); err != nil {
			return err
		}
		p.mu.Lock()
		current := p.settings.Load() == s
		if current {
			p.doors[d] = true
		}
		p.mu.Unlock()
		if current {
			if !slices.Equal(offered, p.auth.Mechanisms(d.hello.Listener)) {
				d.offer()
			}
			p.watch(d)
			return d.endUsers(d.ctx, func(user string) bool { return p.mayStay(d.ctx, user) })
		}
	}
}

// mayStay tells whether a user may keep the sessions that a login has which has just come,
// and has their worker tell: this auth may have been started after it. Nobody knows what
// settings there were before, so directories are asked about those whom auth does not know.
func (p *Parted) mayStay(ctx context.Context, user string) bool {
	u, ok := p.auth.User(user)
	if !ok {
		var err error
		if u, err = p.auth.Recall(ctx, user); err != nil {
			return !errors.Is(err, auth.ErrUnknown)
		}
	}
	if u.Elsewhere == "" {
		p.heard.follow(teller{id: identityOf(&u)}, p.spawn, p.hasMail(u.UID))
	}
	return u.Elsewhere == ""
}

// open passes the session of somebody who has logged in on to their worker.
func (p *Parted) open(ctx context.Context, o *handoff.Open) (worker uint64, err error) {
	u, ok := p.auth.User(o.User)
	if !ok {
		return 0, fmt.Errorf("no user %q any more", o.User)
	}
	return p.begin(ctx, o, u)
}

// begin passes a session of u on to the worker.
func (p *Parted) begin(ctx context.Context, o *handoff.Open, u config.User) (worker uint64, err error) {
	s := p.settings.Load()
	if u.Elsewhere != "" {
		return 0, fmt.Errorf("the mail of %q is on another server", o.User)
	}
	if u.Directory != "" {
		if err := s.Config.Admit(u); err != nil {
			return 0, fmt.Errorf("user %q: %w", o.User, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, doorTimeout)
	defer cancel()
	session, err := s.workerSession(o, u)
	if err != nil {
		return 0, err
	}
	p.traces.join(session)
	defer session.Trace.Close() // of nil, it does nothing
	if worker, err = p.spawn.open(ctx, session); err == nil {
		p.heard.follow(teller{worker, identityOf(&u)}, p.spawn, p.hasMail(u.UID))
	}
	return worker, err
}

// hasMail tells whether a worker of that uid may speak of a user.
func (p *Parted) hasMail(uid int) func(user string) bool {
	return func(user string) bool {
		u, ok := p.auth.Seen(user)
		return ok && u.UID == uid
	}
}

// Session begins a session of a user with whoever has the other end of stream,
// which is ours from then on.
func (p *Parted) Session(u config.User, stream *os.File) error {
	defer stream.Close()
	_, err := p.begin(p.ctx, ownSession(u.Name, stream), u)
	return err
}

// Visit gives the login of a listener a client, over the other end of stream, which is
// ours from then on.
func (p *Parted) Visit(listener string, stream *os.File) error {
	defer stream.Close()
	var login *door
	p.mu.Lock()
	for d := range p.doors {
		if d.hello.Listener == listener {
			login = d
		}
	}
	p.mu.Unlock()
	if login == nil {
		return errors.New("it has no login")
	}
	return login.Send(&handoff.Visit{Stream: stream})
}

// Failed tells what has ended the service.
func (p *Parted) Failed() <-chan error { return p.failed }

// announce has all logins offer what auth drives by now.
func (p *Parted) announce() {
	p.reloading.Lock() // or one would put back what it has prepared before
	defer p.reloading.Unlock()
	p.each(func(d *door) error { return d.offer() })
}

// Stop leaves the logins and their sessions to themselves: they go on, and come
// back to whoever follows.
func (p *Parted) Stop() {
	p.stop()
	p.serving.Wait()
	p.spawn.close()
	p.heard.close()
	p.auth.Close()
}

// each calls f for every login at once, and gives what went wrong.
func (p *Parted) each(f func(d *door) error) error {
	p.mu.Lock()
	doors := make([]*door, 0, len(p.doors))
	for d := range p.doors {
		doors = append(doors, d)
	}
	p.mu.Unlock()
	faults := make([]error, len(doors))
	var all sync.WaitGroup
	for i, d := range doors {
		all.Go(func() { faults[i] = f(d) })
	}
	all.Wait()
	return errors.Join(faults...)
}

// Reload goes over to s with all logins, or changes nothing.
func (p *Parted) Reload(s *Settings) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	old := p.settings.Load()
	if err := s.checkReload(old, time.Now()); err != nil {
		return err
	}
	if err := s.admit(p.auth); err != nil {
		return err
	}
	if err := p.each(func(d *door) error { return d.prepare(p.ctx, s) }); err != nil {
		p.each(func(d *door) error { return d.commit(p.ctx, true) })
		return old.readmit(p.auth, err)
	}
	p.mu.Lock()
	p.settings.Store(s) // a login that is being configured sees that it is not current
	p.mu.Unlock()
	p.auth.Settled()
	err := p.each(func(d *door) error {
		if d.moved(s) {
			d.Close() // it comes back as what it is by now
			return nil
		}
		p.boarded(d)
		if err := d.commit(p.ctx, false); err != nil {
			d.Close() // it comes back, and gets the new ones
			return err
		}
		return d.endUsers(p.ctx, mayHave(p.auth, s, old))
	})
	if err != nil {
		p.log.Error("login lost in a reload", "err", err)
	}
	p.auth.Limit(s.Config.Limits)
	if !reflect.DeepEqual(old.Config.PAM, s.Config.PAM) {
		checkService(s.Config.PAM, p.log)
		p.auth.Renew()
	}
	for id, roots := range old.rooted.all() {
		if !covered(s.roots(id), roots) {
			p.spawn.tell(&handoff.Retire{UID: id.UID, GID: id.GID})
		}
	}
	return nil
}

// Status tells what is being served, as the logins say.
func (p *Parted) Status(ctx context.Context) (control.Status, error) {
	s := p.settings.Load()
	st := s.status()
	st.On = map[string]int{}
	want := bundleStatus(s.Bundles)
	st.Bundles = slices.Clone(want)
	var mu sync.Mutex
	err := p.each(func(d *door) error {
		n, state, err := d.query(ctx, &handoff.Query{})
		mu.Lock()
		defer mu.Unlock()
		if n > 0 {
			st.On[d.hello.Listener] += n
			st.Sessions += n
		}
		if l, ok := s.listener(d.hello.Listener); ok {
			for _, at := range d.at {
				st.Listeners = append(st.Listeners, control.Listener{Name: l.Name, Address: at.String(), TLS: l.TLS})
			}
			if err == nil {
				unlike(st.Bundles, want, state.Bundles)
				st.Proxies = one(st.Proxies, l.Name, state.Proxies)
			}
		}
		return err
	})
	slices.SortFunc(st.Listeners, func(a, b control.Listener) int {
		return strings.Compare(a.Name+" "+a.Address, b.Name+" "+b.Address)
	})
	return st, err
}

// one adds what a login says of itself as a proxy: nothing of other listeners, and not
// twice.
func one(all []control.Proxy, listener string, said []control.Proxy) []control.Proxy {
	same := func(p control.Proxy) bool { return p.Listener == listener }
	if i := slices.IndexFunc(said, same); i >= 0 && !slices.ContainsFunc(all, same) {
		all = append(all, said[i])
	}
	return all
}

// unlike puts what a login serves in the place of what it should, where that differs.
// What another login has been found to serve stays.
func unlike(out, want, have []control.Bundle) {
	for i, b := range want {
		served := slices.IndexFunc(have, func(h control.Bundle) bool { return h.Name == b.Name })
		if served < 0 {
			out[i].Fingerprint = ""
		} else if h := have[served]; h.Fingerprint != b.Fingerprint || h.Chain != b.Chain {
			out[i] = h
		}
	}
}

// SelfTest goes the way of a login up to its settings, in memory but by the same
// code. Each login tests itself.
func (p *Parted) SelfTest(ctx context.Context) error {
	theirs, f, err := handoff.Pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	theirs.Bound(handoff.MaxPayload)
	ours, err := handoff.NewConn(f)
	if err != nil {
		return err
	}
	defer ours.Close()
	done := make(chan error, 1)
	go func() { done <- p.serve(ours) }()
	defer func() { theirs.Close(); <-done }()
	defer context.AfterFunc(ctx, func() { theirs.Close() })()
	if err := theirs.Send(&handoff.Hello{}); err != nil {
		return err
	}
	m, err := theirs.Receive()
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if _, ok := m.(*handoff.Settings); !ok {
		return fmt.Errorf("self-test: unexpected %T", m)
	}
	return nil
}
