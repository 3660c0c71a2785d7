package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/wire"
)

// Dial connects to a server behind a listener, at an address that its configuration has.
type Dial func(ctx context.Context, listener, address string) (net.Conn, error)

// Network is the Dial of who has a network.
func Network(ctx context.Context, _, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// ErrUntried says of a connection that is not there that nothing is known of the server.
var ErrUntried = errors.New("it has not been tried")

// server is one IMAP server behind a proxy.
type server struct {
	config.Server
	network func(ctx context.Context) (net.Conn, error)
	ca      string // PEM, so that two can be compared
	tls     *tls.Config
	forward bool
	offer   atomic.Pointer[handoff.Offer] // as it said last; nil: nothing yet
	asked   atomic.Bool                   // it is being asked, or has been

	mute   atomic.Bool // it kept the last one waiting who has tried to connect, for nothing
	trying atomic.Bool // somebody finds out whether it still does
}

func newServer(s config.Server, l config.Listener, dial Dial) (*server, error) {
	p := l.Proxy
	made := &server{Server: s, ca: string(p.PEM), forward: p.Forward}
	made.network = func(ctx context.Context) (net.Conn, error) { return dial(ctx, l.Name, s.Address()) }
	if s.TLS == config.Plain {
		return made, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.PEM) {
		return nil, fmt.Errorf("server %s: %s has no certificate in it", s.Host, p.CA)
	}
	name := s.Name
	if name == "" {
		name = s.Host
	}
	made.tls = &tls.Config{
		ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"imap"},
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	return made, nil
}

// same tells whether connections to both are to the same, by the same rules.
func (s *server) same(o *server) bool {
	return s.Server == o.Server && s.ca == o.ca && s.forward == o.forward
}

// url is where a client is sent whose mail is there (RFC 2221 §4.1).
func (s *server) url(user string) string {
	host := s.Host
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	var name strings.Builder
	for _, c := range []byte(user) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			name.WriteByte(c)
		} else {
			fmt.Fprintf(&name, "%%%02X", c)
		}
	}
	if s.Port != 143 {
		host = net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	}
	return "imap://" + name.String() + ";AUTH=*@" + host + "/"
}

// Visit connects to a server behind a listener as a login does, up to its greeting and
// under TLS if there is to be TLS.
func Visit(ctx context.Context, s config.Server, l config.Listener) error {
	made, err := newServer(s, l, Network)
	if err != nil {
		return err
	}
	there, err := made.dial(ctx)
	if err != nil {
		return err
	}
	there.quit()
	return nil
}

// slow is for how long a server may fail before those who come next do not wait for it.
const slow = time.Second

var errMute = errors.New("it does not answer")

// connect makes a connection up to the server's greeting, under TLS if there is to
// be TLS. It lasts no longer than ctx does. While a server is mute, one at a time waits
// for it.
func (s *server) connect(ctx context.Context) (*link, error) {
	if s.mute.Load() {
		if !s.trying.CompareAndSwap(false, true) {
			return nil, s.fault(ctx, errMute)
		}
		defer s.trying.Store(false)
	}
	begun := time.Now()
	l, err := s.dial(ctx)
	if context.Cause(ctx) != context.Canceled && !errors.Is(err, ErrUntried) { // a client that has gone says nothing of the server
		s.mute.Store(err != nil && time.Since(begun) >= slow)
	}
	return l, err
}

func (s *server) dial(ctx context.Context) (*link, error) {
	nc, err := s.network(ctx)
	if err != nil {
		return nil, s.fault(ctx, err)
	}
	deadline, _ := ctx.Deadline()
	nc.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	l, err := s.greeted(ctx, nc)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, s.fault(ctx, err)
	}
	return l, nil
}

// fault names the server, and that it was the time that ran out.
func (s *server) fault(ctx context.Context, err error) error {
	if ctx.Err() != nil || isTimeout(err) {
		err = errors.New("it takes too long")
	}
	return fmt.Errorf("server %s: %w", s.Address(), err)
}

func (s *server) greeted(ctx context.Context, nc net.Conn) (*link, error) {
	if s.TLS == config.Implicit {
		t := tls.Client(nc, s.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		nc = t
	}
	l := newLink(s, nc)
	line, err := l.response()
	if err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	greeting, untagged := strings.CutPrefix(string(line), "* ")
	a := parseStatus(greeting)
	if !untagged || !a.ok() {
		return nil, fmt.Errorf("its greeting is %.80q", line)
	}
	l.learn(a.code)
	if s.TLS == config.STARTTLS {
		if err := l.startTLS(ctx); err != nil {
			return nil, err
		}
	}
	if l.caps == nil {
		if _, err := l.command("CAPABILITY"); err != nil {
			return nil, err
		}
	}
	s.offer.Store(&handoff.Offer{Text: a.text, Capabilities: l.caps})
	return l, nil
}

// startTLS is STARTTLS. What the server has said before was said by anybody.
func (l *link) startTLS(ctx context.Context) error {
	a, err := l.command("STARTTLS")
	switch {
	case err != nil:
		return err
	case !a.ok():
		return fmt.Errorf("STARTTLS: %s", a)
	case l.br.Buffered() > 0:
		return errors.New("octets in the clear behind STARTTLS")
	}
	t := tls.Client(l.nc, l.server.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	l.nc, l.caps = t, nil
	l.br.Reset(t)
	return nil
}

// login makes a connection on which the user of c is logged in, or gives the
// answer by which the server has refused it. A refusal may take as long there as the
// longest takes here.
func (s *server) login(ctx context.Context, c *handoff.Credentials, r *rules) (*link, answer, error) {
	late := time.Now().Add(r.limits.Proxy.Patience)
	connecting, cancel := context.WithDeadline(ctx, late)
	l, err := s.connect(connecting)
	cancel()
	if err != nil {
		return nil, answer{}, err
	}
	l.nc.SetDeadline(late.Add(r.limits.Auth.MaxDelay))
	stop := context.AfterFunc(ctx, func() { l.nc.Close() })
	defer stop()
	a, err := l.introduce(c, r)
	if err == nil {
		a, err = l.authenticate(c)
	}
	if err == nil && a.ok() && l.caps == nil {
		_, err = l.command("CAPABILITY")
	}
	if err != nil {
		l.nc.Close()
		return nil, answer{}, s.fault(ctx, err)
	}
	if !a.ok() {
		l.quit()
		return nil, a, nil
	}
	l.nc.SetDeadline(time.Time{})
	l.user, l.code, l.text, l.checked = c.User, a.code, a.text, time.Now()
	return l, a, nil
}

// introduce tells the server for whom the proxy asks, as Dovecot's proxies do: it
// believes that of addresses which it trusts (login_trusted_networks).
func (l *link) introduce(c *handoff.Credentials, r *rules) (answer, error) {
	if !l.server.forward || !l.has("ID") || !c.Remote.IsValid() {
		return answer{}, nil
	}
	ours := wire.ProxyDelays
	if c.Shared || r.shared(c.Remote) {
		ours += " " + wire.ProxyShared
	}
	return l.command(fmt.Sprintf("ID (%q %q %q %q %q %q)", wire.IDOrigin, c.Remote, wire.IDSession, c.ID, wire.IDProxy, ours))
}

var errNoMechanism = errors.New("the server offers neither PLAIN nor LOGIN to the proxy")

// authenticate logs in by PLAIN (RFC 4616), or by LOGIN where that is not offered.
func (l *link) authenticate(c *handoff.Credentials) (answer, error) {
	plain, literals, disabled := l.has("AUTH=PLAIN"), l.has("LITERAL+"), l.has("LOGINDISABLED")
	direct := l.has("SASL-IR")
	l.caps = nil // others after the login
	switch {
	case plain:
		response := base64.StdEncoding.EncodeToString([]byte("\x00" + c.User + "\x00" + c.Password))
		if direct {
			return l.command("AUTHENTICATE PLAIN " + response)
		}
		return l.pieces("AUTHENTICATE PLAIN", response)
	case disabled:
		return answer{}, errNoMechanism
	case literals:
		return l.command(fmt.Sprintf("LOGIN {%d+}\r\n%s {%d+}\r\n%s", len(c.User), c.User, len(c.Password), c.Password))
	}
	if quotable(c.User) && quotable(c.Password) {
		return l.command("LOGIN " + quote(c.User) + " " + quote(c.Password))
	}
	return l.pieces(fmt.Sprintf("LOGIN {%d}", len(c.User)), fmt.Sprintf("%s {%d}", c.User, len(c.Password)), c.Password)
}

// pieces sends a command of which each piece but the first waits for the server.
func (l *link) pieces(first string, rest ...string) (a answer, err error) {
	tag := l.tag()
	text := tag + " " + first
	for {
		if _, err := l.nc.Write([]byte(text + "\r\n")); err != nil {
			return answer{}, err
		}
		if a, err = l.expect(tag); err != nil || a.status != "+" {
			return a, err
		}
		if len(rest) == 0 {
			return answer{}, errors.New("the server asks to go on with a command that is whole")
		}
		text, rest = rest[0], rest[1:]
	}
}

// quotable tells whether a quoted string may hold s in every server.
func quotable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// awake asks a link that was kept whether it is still alive.
func (l *link) awake(ctx context.Context, c *handoff.Credentials, r *rules) error {
	l.nc.SetDeadline(time.Now().Add(r.limits.Proxy.Alive))
	defer context.AfterFunc(ctx, func() { l.nc.SetDeadline(time.Unix(1, 0)) })()
	before := l.caps
	a, err := l.introduce(c, r)
	if err == nil && a == (answer{}) {
		a, err = l.command("NOOP")
	}
	l.caps = before
	switch {
	case err != nil:
		return err
	case !a.ok():
		return errors.New(a.String())
	}
	return l.nc.SetDeadline(time.Time{})
}
