package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/oracle"
	"mailstead/render"
)

// pair is a certificate for a name with its key, in one PEM text.
func pair(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: data}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
}

// served serves a page on the loopback until the test ends, and gives its address.
func served(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// The certificate is the one that auth has now; while auth is away it is the last one.
// An admin's certificate is what root's process is told of, and only where one was shown.
func TestTLS(t *testing.T) {
	s := New(render.WebSettings{Host: "mail.example.org", TLS: true, Ask: true, Admins: true}, slog.New(slog.DiscardHandler))
	now := time.Unix(1_800_000_000, 0)
	s.now = func() time.Time { return now }
	has, away := pair(t, "first"), false
	s.auth = func(context.Context, control.WebRequest) (control.WebAnswer, error) {
		if away {
			return control.WebAnswer{}, errors.New("away")
		}
		return control.WebAnswer{PEM: has}, nil
	}
	var told AdminRequest
	s.admin = func(_ context.Context, r AdminRequest, _ func(string)) (AdminAnswer, error) {
		told = r
		return AdminAnswer{Error: "no"}, nil
	}
	address := served(t, s)
	name := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := name(); got != "first" {
		t.Error(got)
	}
	has = pair(t, "second")
	if now = now.Add(keyAge); name() != "second" {
		t.Error("a renewed certificate is not served")
	}
	away = true
	if now = now.Add(time.Hour); name() != "second" {
		t.Error("none is served while auth is away")
	}

	text := pair(t, "helpdesk")
	mine, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, certificates := range [][]tls.Certificate{nil, {mine}} {
		v := &site{T: t, Server: s, url: "https://" + address}
		v.client = v.browser()
		v.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}
		v.send("/admin/login", "/admin/login", "by", "certificate", "name", "helpdesk", "password", "x")
		if got := len(told.Certificate) > 0; got != (certificates != nil) || told.Password != "" {
			t.Errorf("with %d certificates root is told %+v", len(certificates), told)
		}
	}
}

// Who sends nothing, or slowly, or a header without end is gone before long.
func TestSlow(t *testing.T) {
	s := newSite(t, alice, nil)
	s.limits.Header = 100 * time.Millisecond
	address := served(t, s.Server)
	for _, text := range []string{"", "GET /login HTTP/1.1\r\nHost: x\r\n", "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na", "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 1<<20)} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, text) // which the server may cut short
		if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			t.Errorf("%.30q: still there", text)
		}
		c.Close()
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// One address has so many connections, and leaves room for others.
func TestPlaces(t *testing.T) {
	p := newPlaces(nil, 10, 3)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	taken := 0
	for range 20 {
		if p.take(a) {
			taken++
		}
	}
	if taken != 3 || !p.take(b) {
		t.Errorf("%d of one address, and then none of another", taken)
	}
	p.leave(a)
	if !p.take(a) {
		t.Error("a place that was left is not free")
	}
	for i := range 20 {
		p.take(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
	}
	if p.n != 10 {
		t.Errorf("%d connections", p.n)
	}
	if got := source(netip.MustParseAddr("2001:db8:1:2:3::4")); got != netip.MustParseAddr("2001:db8:1:2::") || source(netip.MustParseAddr("::ffff:192.0.2.1")) != a {
		t.Error(got)
	}
}

// A table of sources has a bound, whoever comes.
func TestGuardIsBounded(t *testing.T) {
	g := newGuard(3, 100)
	now := time.Unix(1_800_000_000, 0)
	for i := range 10_000 {
		g.allow(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now)
	}
	if len(g.of) > 100 {
		t.Errorf("%d sources", len(g.of))
	}
}

// FuzzPage sends anything anywhere: it is a page, with its headers, and no fault of ours.
func FuzzPage(f *testing.F) {
	f.Add("GET", "/login", "", "")
	f.Add("POST", "/login", "form=x&name=alice", "mailstead=x; mailstead-form=y")
	f.Add("POST", "/admin/apply", "proposal=..%2f..&code=1", "mailstead=\"")
	f.Add("GET", "/admin/users/%2e%2e%2f?find=%00", "", "")
	s := New(render.WebSettings{Host: "mail.example.org", Admins: true}, slog.New(slog.DiscardHandler))
	s.auth = func(_ context.Context, r control.WebRequest) (control.WebAnswer, error) { return alice(r), nil }
	s.admin = func(context.Context, AdminRequest, func(string)) (AdminAnswer, error) {
		return AdminAnswer{Error: "no"}, nil
	}
	s.requests, s.logins = newGuard(1<<40, 10), newGuard(1<<40, 10)
	f.Fuzz(func(t *testing.T, method, path, body, cookie string) {
		r, err := http.NewRequest(method, "http://mail.example.org", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path = path
		r.RemoteAddr = "192.0.2.1:1"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", cookie)
		w := &answer{header: http.Header{}}
		oracle.OnceCost(t, (len(path)+len(body)+len(cookie))>>16, func() { s.ServeHTTP(w, r) })
		if w.status >= 500 || w.header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s %q: %d %v", method, path, w.status, w.header)
		}
		for _, values := range w.header {
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n") {
					t.Errorf("%s %q: a header has a line end: %q", method, path, v)
				}
			}
		}
	})
}

// answer is a http.ResponseWriter that keeps what it is given.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(p []byte) (int, error) { a.WriteHeader(200); return len(p), nil }
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}
