package kind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"mailstead/imapserver/control"
	"mailstead/reconcile"
)

// Daemon is what the running daemon serves: the files that it has read, its
// listeners' addresses and the certificates' fingerprints and chains. The daemon is started
// by its unit, and reloaded where it serves something else.
//
// The generation is what its configuration says of itself; that it is the
// configuration, and those users, only the digests say: somebody may have had it
// read files that were edited by hand, and are as they were by now.
func Daemon(d DaemonSpec, origin string) reconcile.Resource {
	r := reconcile.Resource{Ref: DaemonRef(), Origin: origin}
	add := func(name, value string, impact reconcile.Impact) {
		r.Attrs = append(r.Attrs, reconcile.Attr{Name: name, Value: value, Impact: impact, Runs: true, Follow: follows(name)})
	}
	add("control", d.Control, reconcile.Live)
	add("unit", d.Unit, reconcile.Live)
	for _, name := range slices.Sorted(maps.Keys(d.Logins)) {
		add(loginAttr+name, d.Logins[name], reconcile.Live)
	}
	add("generation", d.Generation, reconcile.Reload)
	add("configuration", d.Config, reconcile.Reload)
	add("users", d.Users, reconcile.Reload)
	for _, name := range slices.Sorted(maps.Keys(d.Listeners)) {
		add(listenerAttr+name, bindAddress(d.Listeners[name]), reconcile.Rebind)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Bundles)) {
		fingerprint := d.Bundles[name]
		if fingerprint == "" {
			fingerprint = fingerprintNew
		}
		add(bundleAttr+name, fingerprint, reconcile.Reload)
		if chain := d.Chains[name]; chain != "" {
			add(ChainAttr+name, chain, reconcile.Reload)
		}
	}
	return r
}

// DaemonRef names the running daemon.
func DaemonRef() reconcile.Ref { return reconcile.Ref{Kind: "daemon", Name: "mailstead-imapd"} }

const (
	listenerAttr = "listener "
	bundleAttr   = "certificate "
	loginAttr    = "login " // the unit that serves a listener
	// ChainAttr, with its name behind it, is the attribute for the chain of a
	// certificate. It is in what was seen wherever it is wanted.
	ChainAttr = "chain "
	// fingerprintNew is the fingerprint of a certificate that is not made yet.
	fingerprintNew = "new"
)

// follows tells whether an attribute is as the source of a certificate has it.
func follows(name string) bool {
	return strings.HasPrefix(name, bundleAttr) || strings.HasPrefix(name, ChainAttr)
}

// bindAddress gives every way to say "all addresses" the same form.
func bindAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil {
		if host = ip.String(); ip.IsUnspecified() {
			host = ""
		}
	}
	return net.JoinHostPort(host, port)
}

func (h *Host) observeDaemon(ctx context.Context, ask reconcile.Ask) (*reconcile.Resource, error) {
	if h.Boot { // it starts after us, and then reads what is there
		return found(ask.Resource), nil
	}
	s, err := control.Ask(ctx, ask.Get("control"), control.Request{Verb: control.VerbStatus})
	if errors.Is(err, control.ErrNotRunning) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return served(ask.Resource, s), nil
}

// served is a status as a resource.
func served(ask reconcile.Resource, s control.Status) *reconcile.Resource {
	have := &reconcile.Resource{Ref: ask.Ref, Origin: ask.Origin}
	add := func(name, value string, impact reconcile.Impact) {
		have.Attrs = append(have.Attrs, reconcile.Attr{Name: name, Value: value, Impact: impact, Runs: true})
	}
	add("control", ask.Get("control"), reconcile.Live)
	add("unit", ask.Get("unit"), reconcile.Live)
	for _, a := range ask.Attrs {
		if strings.HasPrefix(a.Name, loginAttr) {
			add(a.Name, a.Value, reconcile.Live)
		}
	}
	add("generation", s.Generation, reconcile.Reload)
	add("configuration", s.Config, reconcile.Reload)
	add("users", s.Users.Digest, reconcile.Reload)
	for _, l := range s.Listeners {
		add(listenerAttr+l.Name, bindAddress(l.Address), reconcile.Rebind)
	}
	for _, b := range s.Bundles {
		add(bundleAttr+b.Name, b.Fingerprint, reconcile.Reload)
	}
	for _, a := range ask.Attrs {
		if name, ok := strings.CutPrefix(a.Name, ChainAttr); ok {
			add(a.Name, servedChain(ask, s.Bundles, name), reconcile.Reload)
		}
	}
	return have
}

// servedChain is the chain that is served for a certificate, and the wanted one where
// that is all there is to say: another certificate differs as such, and a daemon of an
// earlier version does not tell.
func servedChain(ask reconcile.Resource, bundles []control.Bundle, name string) string {
	for _, b := range bundles {
		if b.Name == name && b.Chain != "" && b.Fingerprint == ask.Get(bundleAttr+name) {
			return b.Chain
		}
	}
	return ask.Get(ChainAttr + name)
}

func (h *Host) applyDaemon(ctx context.Context, c reconcile.Change) error {
	unit := c.Want.Get("unit")
	if c.Have == nil {
		if unit == "" {
			return errors.New("it does not run, and nothing is known that starts it: start mailstead-imapd serve")
		}
		s, err := h.manager(ctx)
		if err != nil {
			return err
		}
		states, err := s.units(ctx, []string{unit})
		if err == nil && states[unit].active {
			err = h.restart(ctx, unit) // it runs, and its socket is gone: to start it does nothing
		} else if err == nil {
			err = s.job(ctx, jobStart, unit, true)
		}
		if err != nil {
			return err
		}
		return h.verifyDaemon(ctx, c, control.VerbStatus)
	}
	err := h.verifyDaemon(ctx, c, control.VerbReload)
	if err == nil || unit == "" || sameListeners(c.Have, c.Want) {
		return err
	}
	for _, name := range otherListeners(c.Have, c.Want) {
		if login := c.Want.Get(loginAttr + name); login != "" {
			if err := h.restart(ctx, login); err != nil {
				return err
			}
		}
	}
	return h.verifyDaemon(ctx, c, control.VerbStatus)
}

func sameListeners(have, want *reconcile.Resource) bool {
	return maps.Equal(listeners(have), listeners(want))
}

// otherListeners names those that are not served where they should be.
func otherListeners(have, want *reconcile.Resource) (names []string) {
	had := listeners(have)
	for name, address := range listeners(want) {
		if had[name] != address {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func listeners(r *reconcile.Resource) map[string]string {
	m := make(map[string]string)
	for _, a := range r.Attrs {
		if name, ok := strings.CutPrefix(a.Name, listenerAttr); ok {
			m[name] = a.Value
		}
	}
	return m
}

// restart ends a service and its sockets and starts them again.
func (h *Host) restart(ctx context.Context, unit string) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	states, err := s.units(ctx, []string{unit})
	if err != nil {
		return err
	}
	sockets := states[unit].triggeredBy
	var errs []error
	do := func(verb jobVerb, names ...string) {
		for _, n := range names {
			errs = append(errs, s.job(ctx, verb, n, true))
		}
	}
	do(jobStop, sockets...)
	do(jobStop, unit)
	do(jobStart, sockets...)
	do(jobStart, unit)
	return errors.Join(errs...)
}

// verifyDaemon asks the daemon, and says what it still does not serve. Right
// after its start it may need a moment, and its logins one more.
func (h *Host) verifyDaemon(ctx context.Context, c reconcile.Change, verb string) error {
	const patience, pause = 5 * time.Second, 100 * time.Millisecond
	for end := time.Now().Add(patience); ; {
		s, err := control.Ask(ctx, c.Want.Get("control"), control.Request{Verb: verb})
		if err == nil {
			if s.Error != "" {
				return fmt.Errorf("%s: %s", verb, s.Error)
			}
			if err = unserved(served(*c.Want, s), c.Want); err == nil {
				return nil
			}
			verb = control.VerbStatus
		} else if !errors.Is(err, control.ErrNotRunning) {
			return err
		}
		if c.Want.Get("unit") == "" || time.Now().After(end) {
			return err
		}
		time.Sleep(pause)
	}
}

// unserved says what the daemon does not serve as wanted.
func unserved(have, want *reconcile.Resource) error {
	var wrong []string
	for _, a := range want.Attrs {
		if got := have.Get(a.Name); got != a.Value && a.Value != fingerprintNew {
			if got == "" {
				got = "nothing"
			}
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", a.Name, got, a.Value))
		}
	}
	for _, a := range have.Attrs {
		if want.Get(a.Name) == "" && a.Value != "" {
			wrong = append(wrong, fmt.Sprintf("%s is still served at %s", a.Name, a.Value))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the daemon does not serve what it was told to: %s", strings.Join(wrong, "; "))
	}
	return nil
}
