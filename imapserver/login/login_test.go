package login

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
)

// issue makes the PEM of a self-signed bundle.
func issue(t testing.TB, notAfter time.Time, names ...string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: notAfter, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
}

func bundle(t testing.TB, names ...string) Bundle {
	t.Helper()
	b, err := ParseBundle(names[0], names, issue(t, time.Now().Add(time.Hour), names...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// users is an Authenticator: the password of each is "right".
type users []string

func (u users) Authenticate(_ context.Context, c *handoff.Credentials) handoff.Verdict {
	for _, name := range u {
		if c.User == name && c.Password == "right" && c.For == "" {
			return handoff.Verdict{User: name}
		}
	}
	return handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Authentication failed."}
}

func (users) Mechanisms(string) []string { return nil }

// echo is an Opener whose worker answers the login and repeats each line, until
// it is told to leave with "bye".
type echo struct {
	mu     sync.Mutex
	opened []*handoff.Open
	refuse error
}

func (e *echo) Open(_ context.Context, o *handoff.Open) (hangs func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse != nil {
		o.Stream.Close()
		return nil, e.refuse
	}
	e.opened = append(e.opened, o)
	c, err := handoff.Stream(o.Stream)
	if err != nil {
		return nil, err
	}
	go func() {
		defer c.Close()
		fmt.Fprintf(c, "%s OK echo\r\n", o.Tag)
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil || line == "bye\r\n" {
				io.WriteString(c, "gone\r\n")
				return
			}
			io.WriteString(c, line)
		}
	}()
	return func() {}, nil
}

// served is a Server that listens.
type served struct {
	*Server
	t       testing.TB
	log     *lockedBuffer
	addr    map[string]string // by name of listener
	bundles []Bundle
	echo    *echo
	roots   *x509.CertPool
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testConfig() *config.Config {
	return &config.Config{
		TLS: config.TLS{Policy: config.Intermediate},
		Listeners: []config.Listener{
			{Name: "imap", TLS: config.STARTTLS},
			{Name: "imaps", TLS: config.Implicit},
			{Name: "plain", TLS: config.Plain},
		},
	}
}

// start serves three listeners with certificates for mail.example and, by SNI,
// other.example and *.wild.example.
func start(t testing.TB, change func(*Limits)) *served {
	t.Helper()
	return startWith(t, change, users{"alice", "bob"})
}

// startWith has another auth.
func startWith(t testing.TB, change func(*Limits), auth handoff.Authenticator) *served {
	t.Helper()
	limits := Default
	if change != nil {
		change(&limits)
	}
	s := &served{t: t, log: &lockedBuffer{}, addr: map[string]string{}, echo: &echo{}, roots: x509.NewCertPool()}
	s.bundles = []Bundle{bundle(t, "mail.example"), bundle(t, "other.example"), bundle(t, "*.wild.example")}
	for _, b := range s.bundles {
		s.roots.AddCert(b.Certificate.Leaf)
	}
	s.Server = New(Options{
		Log:    slog.New(slog.NewTextHandler(s.log, nil)),
		Limits: limits,
		Auth:   auth,
		Open:   s.echo,
		Counts: &metrics.Counts{},
	})
	if err := s.Update(testConfig(), s.bundles); err != nil {
		t.Fatal(err)
	}
	var loops sync.WaitGroup
	for _, l := range testConfig().Listeners {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.addr[l.Name] = socket.Addr().String()
		loops.Go(func() {
			if err := s.Serve(socket, l.Name); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		loops.Wait()
		if n := s.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	return s
}

// client is a client that expects exact answers.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func newClient(t testing.TB, c net.Conn) *client {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &client{c, t, bufio.NewReader(c)}
}

func (s *served) dial(listener string) *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr[listener])
	if err != nil {
		s.t.Fatal(err)
	}
	return newClient(s.t, c)
}

func (s *served) dialTLS(name string, protocols ...string) *client {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.addr["imaps"], &tls.Config{ServerName: name, RootCAs: s.roots, NextProtos: protocols})
	if err != nil {
		s.t.Fatal(err)
	}
	return newClient(s.t, c)
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// want reads lines that begin with these.
func (c *client) want(prefixes ...string) {
	c.t.Helper()
	for _, p := range prefixes {
		if line := c.line(); !strings.HasPrefix(line, p) {
			c.t.Fatalf("%q, not %q", line, p)
		}
	}
}

// end reads what is left until the server closes.
func (c *client) end() string {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if err != nil && !strings.Contains(err.Error(), "connection reset") {
		c.t.Fatalf("after %q: %v", rest, err)
	}
	return string(rest)
}

func (c *client) starttls(name string, roots *x509.CertPool) *client {
	c.t.Helper()
	c.send("s STARTTLS\r\n")
	c.want("s OK ")
	if n := c.r.Buffered(); n != 0 {
		c.t.Fatalf("%d octets in the clear after the answer to STARTTLS", n)
	}
	t := tls.Client(c.Conn, &tls.Config{ServerName: name, RootCAs: roots})
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return newClient(c.t, t)
}
