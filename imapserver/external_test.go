package imapserver

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
)

// signer is an authority of clients.
type signer struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// client makes a certificate of a client.
func (s *signer) client(t *testing.T, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, s.cert, key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func emails(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.EmailAddresses = names }
}

// tryExternal gives the greeting and the answer to AUTHENTICATE EXTERNAL, or the error
// of the handshake.
func tryExternal(t *testing.T, addr string, c *tls.Certificate, authzid string, cache tls.ClientSessionCache) (greeting, answer string, resumed bool) {
	t.Helper()
	conf := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache}
	if c != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, conf)
	if err != nil {
		return "", err.Error(), false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	if greeting, err = r.ReadString('\n'); err != nil {
		return "", err.Error(), false
	}
	response := "="
	if authzid != "" {
		response = base64.StdEncoding.EncodeToString([]byte(authzid))
	}
	fmt.Fprintf(conn, "a AUTHENTICATE EXTERNAL %s\r\n", response)
	answer, err = r.ReadString('\n')
	if err != nil && err != io.EOF {
		answer = err.Error()
	}
	return greeting, answer, conn.ConnectionState().DidResume
}

// TestExternal logs in by certificates of clients, over the whole server; and a
// session of one listener or of another configuration is not resumed on it.
func TestExternal(t *testing.T) {
	ours, other := newSigner(t), newSigner(t)
	dir := t.TempDir()
	c := testConfig(dir)
	c.TLS.Tickets = true
	c.Listeners = []config.Listener{
		{Name: "plain-tls", Address: "127.0.0.1", TLS: config.Implicit},
		{Name: "clients", Address: "127.0.0.1", TLS: config.Implicit, Clients: &config.Clients{CA: "/nonexistent/ca.pem", By: config.ByEmail, PEM: ours.pem}},
	}
	s := settingsOf(t, c, []config.User{testUser(t, dir, "alice"), testUser(t, dir, "bob")}, issue(t, time.Now().Add(time.Hour), "mail.example"))
	guard := auth.Default
	guard.Delay = time.Millisecond
	guard.SourceMinute, guard.SourceDay = 1e6, 1e6
	server, err := NewInline(s, Options{Auth: &guard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	sockets, err := Bind(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(context.Background(), sockets); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return sockets[name][0].Addr().String() }
	alice := ours.client(t, emails("alice"))
	for what, tt := range map[string]struct {
		listener string
		client   *tls.Certificate
		authzid  string
		offered  bool
		answer   string
	}{
		"a certificate of ours":     {"clients", alice, "", true, "a OK "},
		"and the same name":         {"clients", alice, "alice", true, "a OK "},
		"and another name":          {"clients", alice, "bob", true, "a NO [AUTHENTICATIONFAILED] "},
		"no such user":              {"clients", ours.client(t, emails("nobody")), "", true, "a NO [AUTHENTICATIONFAILED] "},
		"two names and no choice":   {"clients", ours.client(t, emails("alice", "bob")), "", true, "a NO [AUTHENTICATIONFAILED] "},
		"two names and one of them": {"clients", ours.client(t, emails("alice", "bob")), "alice", true, "a OK "},
		"a common name only":        {"clients", ours.client(t, func(c *x509.Certificate) { c.Subject.CommonName = "alice" }), "", true, "a NO [AUTHENTICATIONFAILED] "},
		"for servers": {"clients", ours.client(t, func(c *x509.Certificate) {
			emails("alice")(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), "", false, "tls"},
		"expired":              {"clients", ours.client(t, func(c *x509.Certificate) { emails("alice")(c); c.NotAfter = time.Now().Add(-time.Minute) }), "", false, "tls"},
		"of another authority": {"clients", other.client(t, emails("alice")), "", false, "tls"},
		"none":                 {"clients", nil, "", false, "a NO [CANNOT] "},
		"on another listener":  {"plain-tls", alice, "", false, "a NO [CANNOT] "},
	} {
		greeting, answer, _ := tryExternal(t, at(tt.listener), tt.client, tt.authzid, nil)
		if tt.answer == "tls" && strings.HasPrefix(answer, "a ") || tt.answer != "tls" && !strings.HasPrefix(answer, tt.answer) || strings.Contains(greeting, "AUTH=EXTERNAL") != tt.offered {
			t.Errorf("%s: %q %q", what, greeting, answer)
		}
	}
	cache := tls.NewLRUClientSessionCache(8)
	named := func(name string, c *tls.Certificate) (string, bool) {
		_, answer, resumed := tryExternal(t, at(name), c, "", oneName{cache})
		return answer, resumed
	}
	named("clients", alice)
	if answer, resumed := named("clients", nil); !resumed || !strings.HasPrefix(answer, "a OK ") {
		t.Errorf("on the same listener: resumed %v, %q", resumed, answer)
	}
	if _, resumed := named("plain-tls", nil); resumed {
		t.Error("resumed on another listener")
	}
	named("plain-tls", nil)
	if answer, resumed := named("clients", nil); resumed || strings.HasPrefix(answer, "a OK ") {
		t.Errorf("what another listener began: resumed %v, %q", resumed, answer)
	}
	named("clients", alice)
	for i := range s.Config.Listeners {
		if c := s.Config.Listeners[i].Clients; c != nil {
			c.PEM = other.pem
		}
	}
	if err := server.Reload(s); err != nil {
		t.Fatal(err)
	}
	if answer, resumed := named("clients", nil); resumed || strings.HasPrefix(answer, "a OK ") {
		t.Errorf("with another authority: resumed %v, %q", resumed, answer)
	}
}

// oneName resumes whatever it has on any address.
type oneName struct{ tls.ClientSessionCache }

func (o oneName) Get(string) (*tls.ClientSessionState, bool) { return o.ClientSessionCache.Get("") }
func (o oneName) Put(_ string, s *tls.ClientSessionState)    { o.ClientSessionCache.Put("", s) }
