package imapserver

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
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

// newMaildir makes an empty Maildir.
func newMaildir(t testing.TB, path string) string {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// hash makes a cheap password hash.
func hash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), 5)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// testConfig is a configuration that serves users inline below dir.
func testConfig(dir string) *config.Config {
	return &config.Config{
		Version: config.FormatVersion, Generation: "first", Hostname: "mail.example",
		Control: filepath.Join(dir, "control"), Users: filepath.Join(dir, "users.ndjson"),
		Service: config.Identity{UID: os.Getuid(), GID: os.Getgid()},
		Listeners: []config.Listener{
			{Name: "imap", Address: "127.0.0.1", TLS: config.STARTTLS},
			{Name: "imaps", Address: "127.0.0.1", TLS: config.Implicit},
		},
		TLS: config.TLS{Policy: config.Modern, Bundles: []config.Bundle{
			{Name: "mail.example", File: filepath.Join(dir, "mail.pem"), Names: []string{"mail.example"}},
		}},
		Workers: config.WorkerInline,
	}
}

func testUser(t testing.TB, dir, name string) config.User {
	t.Helper()
	home := filepath.Join(dir, name)
	return config.User{Name: name, Hash: hash(t, "pw-"+name), UID: os.Getuid(), GID: os.Getgid(), Home: home, Maildir: newMaildir(t, filepath.Join(home, "Maildir"))}
}

// fast is limits under which a refusal takes no time.
func fast() *auth.Limits {
	l := auth.Default
	l.Delay = 0
	return &l
}

// journal is a log that tests can read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// client expects exact answers.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func newClient(t testing.TB, c net.Conn) *client {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &client{c, t, bufio.NewReader(c)}
}

func dialTLS(t testing.TB, address string, c *tls.Config) *client {
	t.Helper()
	conn, err := tls.Dial("tcp", address, c)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// until reads lines up to one that begins so, and gives all of them.
func (c *client) until(prefix string) string {
	c.t.Helper()
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			c.t.Fatalf("no %q but %q: %v", prefix, all.String(), err)
		}
		if strings.HasPrefix(line, prefix) {
			return all.String()
		}
	}
}

// pool trusts the certificates in some PEM.
func pool(t testing.TB, bundles ...[]byte) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	for _, b := range bundles {
		if !p.AppendCertsFromPEM(b) {
			t.Fatal("no certificate")
		}
	}
	return p
}

// inline starts a daemon in this process, and gives it with its addresses by
// name of listener.
func inline(t testing.TB, c *config.Config, users []config.User, pem ...[]byte) (*Inline, map[string]string, *journal) {
	t.Helper()
	s, err := NewSettings(c, users, pem)
	if err != nil {
		t.Fatal(err)
	}
	log := &journal{}
	i, err := NewInline(s, Options{Log: slog.New(slog.NewTextHandler(log, nil)), Auth: fast()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Bind(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Start(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Stop)
	addr := map[string]string{}
	for name, each := range l {
		addr[name] = each[0].Addr().String()
	}
	return i, addr, log
}

func TestInline(t *testing.T) {
	dir := t.TempDir()
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	i, addr, log := inline(t, testConfig(dir), []config.User{testUser(t, dir, "alice"), testUser(t, dir, "bob")}, cert)
	if err := i.SelfTest(t.Context()); err != nil {
		t.Fatal(err)
	}
	trust := &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)}

	c := dialTLS(t, addr["imaps"], trust)
	c.until("* OK ")
	c.send("a LOGIN alice pw-bob\r\n")
	c.until("a NO [AUTHENTICATIONFAILED]")
	c.send("b LOGIN alice pw-alice\r\nc SELECT INBOX\r\n")
	if said := c.until("b "); !strings.Contains(said, "b OK [CAPABILITY IMAP4rev1 ") {
		t.Errorf("login: %q", said)
	}
	if said := c.until("c "); !strings.Contains(said, "* 0 EXISTS\r\n") {
		t.Errorf("select: %q", said)
	}
	c.send("d APPEND INBOX {27+}\r\nSubject: hello\r\n\r\nBody.\r\n\r\n\r\ne IDLE\r\n")
	c.until("d OK [APPENDUID ")
	c.until("+ ")
	if n := i.front.status().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
	c.send("DONE\r\nf LOGOUT\r\n")
	c.until("f OK")
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		t.Errorf("after LOGOUT: %q %v", rest, err)
	}
	i.Stop()
	for _, want := range []string{`msg="login failed" addr=127.0.0.1 user=alice`, `msg=login `, "msg=disconnect "} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%d lines with %q in\n%s", n, want, log)
		}
	}
	if strings.Contains(log.String(), "pw-") {
		t.Errorf("a password in\n%s", log)
	}
}

// TestReloadOfPAM: that nobody can log in by a new PAM service is said by the reload.
func TestReloadOfPAM(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	users, cert := []config.User{testUser(t, dir, "alice")}, issue(t, time.Now().Add(time.Hour), "mail.example")
	i, _, log := inline(t, c, users, cert)
	next := *c
	next.PAM = &config.PAM{Service: "no-such-service", Helper: "/usr/lib/mailstead/mailstead-pam"}
	for range 2 {
		if err := i.Reload(settingsOf(t, &next, users, cert)); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "its service has no rules"); n != 1 {
		t.Errorf("it is said %d times: %s", n, log)
	}
}
