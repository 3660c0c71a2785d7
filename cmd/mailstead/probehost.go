package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// servePatience is how long a daemon that has just been started or told to
// reload may need until a probe finds everything.
const servePatience = 5 * time.Second

// proveServing looks at what the host serves as a client would: on every
// listener TLS for every name with the certificate that is meant, CAPABILITY,
// and where the description names a user for it, a login and EXAMINE INBOX,
// which opens the mailbox as SELECT does and marks nothing as seen. The daemon
// itself has to say that it has read what was applied.
//
// Where nothing is to be served, or nobody but the operator starts the daemon,
// there is nothing to prove: then both results are zero.
func (l *look) proveServing(ctx context.Context) (proved bool, problem error) {
	c, err := l.toServe()
	if c == nil || err != nil {
		return false, err
	}
	if err := l.gather(ctx); err != nil {
		return false, err
	}
	for end := time.Now().Add(servePatience); ; {
		problem = l.probeAll(ctx, c)
		// Whom the server has refused, it refuses again, and counts it.
		if _, refused := errors.AsType[*imap.Error](problem); refused || problem == nil || !time.Now().Before(end) {
			return problem == nil, problem
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// toServe is the configuration that the daemon is to serve, nil for none.
func (l *look) toServe() (*config.Config, error) {
	if l.opts.Rootless || !l.wants(kind.DaemonRef()) {
		return nil, nil
	}
	for _, r := range l.want {
		if r.Ref.Kind == "daemon-config" {
			c, err := config.Parse([]byte(r.Get(contentAttr)))
			if err != nil || len(c.Listeners) == 0 {
				return nil, err
			}
			return c, nil
		}
	}
	return nil, nil
}

// wants tells whether a resource is asked for and can be there.
func (l *look) wants(ref reconcile.Ref) bool {
	return slices.ContainsFunc(l.want, func(r reconcile.Resource) bool {
		return r.Ref == ref && r.Blocked == nil && r.Unreadable == ""
	})
}

func (l *look) probeAll(ctx context.Context, c *config.Config) error {
	status, err := control.Ask(ctx, render.ControlSocket(l.host.Paths), control.Request{Verb: control.VerbStatus})
	switch {
	case err != nil:
		return err
	case status.Error != "":
		return fmt.Errorf("the daemon: %s", status.Error)
	case status.Generation != c.Generation:
		return fmt.Errorf("the daemon serves configuration %s, not %s", show(status.Generation), show(c.Generation))
	}
	// Who is behind a proxy is no user of this host's.
	first := slices.IndexFunc(c.Listeners, func(l config.Listener) bool { return l.Proxy == nil })
	for i, want := range c.Listeners {
		p := probe{dial: l.dial, listener: schema.Listener{Name: want.Name, Address: want.Address, Port: want.Port, TLS: schema.TLSMode(want.TLS)}}
		if user := l.host.Probe; i == first && user != nil && user.File != "" {
			p.user = user
		}
		if err := p.run(ctx, c.TLS.Bundles, l.facts.Certificates); err != nil {
			return fmt.Errorf("listener %s (%s): %w", want.Name, net.JoinHostPort(want.Address, strconv.Itoa(want.Port)), err)
		}
	}
	if user := l.host.Probe; user != nil && user.File == "" {
		return l.examine(ctx, user.User)
	}
	return nil
}

// examine opens INBOX of a user whose password nobody has said.
func (l *look) examine(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := control.Session(ctx, render.ControlSocket(l.host.Paths), user)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c := imapclient.New(conn, nil)
	defer c.Close()
	if err := c.WaitGreeting(); err != nil {
		return fmt.Errorf("session of %s: %w", user, err)
	}
	return examineInbox(c, user)
}

// examineInbox opens INBOX, and leaves.
func examineInbox(c *imapclient.Client, user string) error {
	if _, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		return fmt.Errorf("EXAMINE INBOX of %s: %w", user, err)
	}
	return c.Logout().Wait()
}

// probe is a client of one listener.
type probe struct {
	dial     dialing
	listener schema.Listener
	user     *schema.Probe // nil: no login
}

// run looks at the certificate of every name, and talks once.
func (p *probe) run(ctx context.Context, bundles []config.Bundle, want map[string]reconcile.Certificate) error {
	if p.listener.TLS == schema.Plain {
		return p.talk(ctx, "")
	}
	sni := ""
	for _, b := range bundles {
		for _, name := range b.Names {
			sni = sniName(name)
			chain, err := servedChain(ctx, p.dial, p.listener, sni)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if got, want := fingerprint(chain[0]), want[b.Name].Installed; got != want {
				return fmt.Errorf("%s: the certificate %s is served, not %s", name, show(got), show(want))
			}
			if chainDigest(chain) != want[b.Name].InstalledChain {
				return fmt.Errorf("%s: the certificate is served with another chain (of length %d) than is installed", name, len(chain))
			}
		}
	}
	return p.talk(ctx, sni)
}

// talk asks what the server can do and, for a user, logs in and looks into INBOX.
func (p *probe) talk(ctx context.Context, sni string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := p.dial(ctx, p.listener)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := p.greeted(conn, sni)
	if err != nil {
		return err
	}
	defer c.Close()
	caps, err := c.Capability().Wait()
	if err != nil {
		return fmt.Errorf("CAPABILITY: %w", err)
	}
	if !caps.Has(imap.CapIMAP4rev1) {
		return errors.New("CAPABILITY: no IMAP4rev1")
	}
	if p.user == nil {
		return c.Logout().Wait()
	}
	password, err := p.password()
	if err != nil {
		return err
	}
	if err := c.Login(p.user.User, password).Wait(); err != nil {
		return fmt.Errorf("login of %s: %w", p.user.User, err)
	}
	return examineInbox(c, p.user.User)
}

// greeted begins a session. Whose certificate is served has been looked at.
func (p *probe) greeted(conn net.Conn, sni string) (*imapclient.Client, error) {
	secure := &tls.Config{ServerName: sni, InsecureSkipVerify: true}
	switch p.listener.TLS {
	case schema.STARTTLS:
		return imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: secure})
	case schema.Implicit:
		conn = tls.Client(conn, secure)
	}
	c := imapclient.New(conn, nil)
	return c, c.WaitGreeting()
}

// password is the first line of the file.
func (p *probe) password() (string, error) {
	password, err := passwordIn(p.user.File)
	if err != nil {
		return "", fmt.Errorf("password of the probe: %w", err)
	}
	return password, nil
}

// show is the beginning of a digest.
func show(digest string) string {
	if digest == "" {
		return "(none)"
	}
	return digest[:min(len(digest), 12)]
}
