package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

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
		if _, refused := errors.AsType[answerError](problem); refused || problem == nil || !time.Now().Before(end) {
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
	for i, want := range c.Listeners {
		p := probe{listener: schema.Listener{Name: want.Name, Address: want.Address, Port: want.Port, TLS: schema.TLSMode(want.TLS)}}
		if user := l.host.Probe; i == 0 && user != nil && user.File != "" {
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
	conn, err := control.Session(ctx, render.ControlSocket(l.host.Paths), user)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(probeTimeout))
	s := &probeSession{conn: conn, r: bufio.NewReaderSize(conn, probeLine)}
	if greeting, err := probeReadLine(s.r); err != nil || !strings.HasPrefix(greeting, "* OK") {
		return errors.Join(fmt.Errorf("session of %s: the greeting is %q", user, greeting), err)
	}
	if _, err := s.command("EXAMINE INBOX of "+user, "EXAMINE INBOX"); err != nil {
		return err
	}
	_, err = s.command("LOGOUT", "LOGOUT")
	return err
}

// probe is a client of one listener.
type probe struct {
	listener schema.Listener
	user     *schema.Probe // nil: no login
}

func (p *probe) run(ctx context.Context, bundles []config.Bundle, want map[string]reconcile.Certificate) error {
	if p.listener.TLS == schema.Plain {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		conn, err := dialListener(ctx, p.listener)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(probeTimeout))
		return p.talk(conn, true)
	}
	spoken := false
	for _, b := range bundles {
		for _, name := range b.Names {
			if err := p.name(ctx, sniName(name), want[b.Name].Installed, !spoken); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			spoken = true
		}
	}
	return nil
}

// name shakes hands for one SNI name, and talks if talk is set.
func (p *probe) name(ctx context.Context, sni, want string, talk bool) error {
	conn, err := handshake(ctx, p.listener, sni)
	if err != nil {
		return err
	}
	defer conn.Close()
	if got := fingerprint(conn.ConnectionState().PeerCertificates[0]); got != want {
		return fmt.Errorf("the certificate %s is served, not %s", show(got), show(want))
	}
	if !talk {
		return nil
	}
	return p.talk(conn, p.listener.TLS != schema.STARTTLS)
}

// talk asks what the server can do and, for a user, logs in and looks into INBOX.
func (p *probe) talk(conn net.Conn, greeted bool) error {
	s := &probeSession{conn: conn, r: bufio.NewReaderSize(conn, probeLine)}
	if greeted {
		greeting, err := probeReadLine(s.r)
		if err != nil || !strings.HasPrefix(greeting, "* OK") {
			return errors.Join(fmt.Errorf("the greeting is %q", greeting), err)
		}
	}
	lines, err := s.command("CAPABILITY", "CAPABILITY")
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line+" ", " IMAP4rev1 ") }) {
		return fmt.Errorf("CAPABILITY: no IMAP4rev1 in %q", lines)
	}
	if p.user == nil {
		return nil
	}
	password, err := p.password()
	if err != nil {
		return err
	}
	initial := base64.StdEncoding.EncodeToString([]byte("\x00" + p.user.User + "\x00" + password))
	if _, err := s.command("login of "+p.user.User, "AUTHENTICATE PLAIN "+initial); err != nil {
		return err
	}
	if _, err := s.command("EXAMINE INBOX of "+p.user.User, "EXAMINE INBOX"); err != nil {
		return err
	}
	_, err = s.command("LOGOUT", "LOGOUT")
	return err
}

// password is the first line of the file.
func (p *probe) password() (string, error) {
	data, err := os.ReadFile(p.user.File)
	if err != nil {
		return "", fmt.Errorf("password of the probe: %w", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// probeSession is a conversation of a probe.
type probeSession struct {
	conn net.Conn
	r    *bufio.Reader
}

// answerError is an answer that is not OK.
type answerError string

func (e answerError) Error() string { return fmt.Sprintf("the answer is %q", string(e)) }

// command sends a line, which may hold a password, and gives the untagged lines
// of an answer that is OK.
func (s *probeSession) command(name, line string) ([]string, error) {
	if _, err := s.conn.Write([]byte("m1 " + line + "\r\n")); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var lines []string
	for range probeMaxBefore {
		line, err := probeReadLine(s.r)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		case strings.HasPrefix(line, "m1 OK"):
			return lines, nil
		case !strings.HasPrefix(line, "* "):
			return nil, fmt.Errorf("%s: %w", name, answerError(line))
		}
		lines = append(lines, line)
	}
	return nil, fmt.Errorf("%s: no answer", name)
}

// show is the beginning of a digest.
func show(digest string) string {
	if digest == "" {
		return "(none)"
	}
	return digest[:min(len(digest), 12)]
}
