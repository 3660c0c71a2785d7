package imapserver

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/login"
	"mailstead/imapserver/metrics"
	"mailstead/imapserver/proxy"
)

// stopTimeout is what sessions have to finish a command, and clients to read
// BYE and leave. The unit's TimeoutStopSec is longer.
const stopTimeout = 25 * time.Second

// front is login and auth in one process.
type front struct {
	auth     *auth.Auth
	proxied  *proxied
	login    *login.Server
	settings atomic.Pointer[Settings]

	mu     sync.Mutex // held while settings change
	bound  Listeners
	failed chan error // the first fault that ends the service
}

// newFront makes a front whose sessions are a host's.
func newFront(o Options, counts *metrics.Counts, host handoff.Host, helpers auth.HelperSource) *front {
	loginLimits, authLimits := login.Default, auth.Default
	if o.Login != nil {
		loginLimits = *o.Login
	}
	if o.Auth != nil {
		authLimits = *o.Auth
	}
	f := &front{failed: make(chan error, 1)}
	f.auth = auth.New(auth.Options{Log: o.log(), Limits: authLimits, Helpers: helpers})
	f.proxied = newProxied(o.log(), authLimits, proxy.Network)
	f.login = login.New(login.Options{Log: counted(o.log(), counts), Counts: counts, Limits: loginLimits, Auth: besides{f.auth, f.proxied}, Host: host, Behind: f.proxied})
	return f
}

// apply goes over to s, or changes nothing. Sessions of users who are not in it
// end.
func (f *front) apply(s *Settings) error {
	proxy, err := f.proxied.Prepare(s.Config)
	if err != nil {
		return err
	}
	if err := s.admit(f.auth); err != nil {
		return err
	}
	if err := f.login.Update(s.Config, s.Bundles); err != nil {
		if old := f.settings.Load(); old != nil {
			err = old.readmit(f.auth, err)
		}
		return err
	}
	proxy()
	f.proxied.auth.Limit(s.Config.Limits)
	f.auth.Limit(s.Config.Limits)
	old := f.settings.Swap(s)
	f.auth.Settled()
	if old != nil && !reflect.DeepEqual(old.Config.PAM, s.Config.PAM) {
		f.auth.Renew()
	}
	f.login.CloseUsers(mayHave(f.auth, s, old))
	return nil
}

// mayHave tells by s, which has followed old, which users may have sessions: not those
// whose mail is elsewhere by now.
func mayHave(a *auth.Auth, s, old *Settings) func(user string) bool {
	return func(user string) bool {
		u, ok := a.User(user)
		if old == nil {
			return ok && u.Elsewhere == ""
		}
		was, ours := old.user(user)
		if !ok && len(s.Config.Directories) > 0 {
			return !ours // but a directory's, who has been in for longer than auth remembers
		}
		return ok && u.Elsewhere == "" && (!ours || was.Maildir == u.Maildir && identityOf(&was) == identityOf(&u))
	}
}

// reload is apply with the checks of a daemon that runs.
func (f *front) reload(s *Settings) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := s.checkReload(f.settings.Load(), time.Now()); err != nil {
		return err
	}
	return f.apply(s)
}

// start begins to accept. Should a listener fail, failed tells.
func (f *front) start(l Listeners) {
	f.mu.Lock()
	f.bound = l
	f.mu.Unlock()
	f.proxied.Start()
	for name, each := range l {
		for _, socket := range each {
			go func() {
				if err := f.login.Serve(socket, name); err != nil {
					select {
					case f.failed <- err:
					default:
					}
				}
			}()
		}
	}
}

// close ends what there is: see login.Server.Shutdown.
func (f *front) close(ctx context.Context) {
	f.proxied.Close()
	f.login.Shutdown(ctx)
	f.auth.Close()
}

func (f *front) status() control.Status {
	s := f.settings.Load()
	st := s.status()
	countSessions(&st, f.login.SessionsOn())
	st.Bundles, st.Proxies = bundleStatus(f.login.Bundles()), f.proxied.Status()
	f.mu.Lock()
	defer f.mu.Unlock()
	st.Listeners = f.bound.status(s.Config)
	return st
}

// countSessions reports the sessions, which are given by listener.
func countSessions(st *control.Status, on map[string]int) {
	st.On = on
	for _, n := range on {
		st.Sessions += n
	}
}

// bundleStatus reports certificates as they are served.
func bundleStatus(bundles []login.Bundle) []control.Bundle {
	var all []control.Bundle
	for _, b := range bundles {
		all = append(all, control.Bundle{
			Name:        b.Name,
			Names:       b.Names,
			Fingerprint: b.Fingerprint(),
			NotAfter:    b.Certificate.Leaf.NotAfter.UTC().Format(time.RFC3339),
			Chain:       b.Chain(),
		})
	}
	return all
}
