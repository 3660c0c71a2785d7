package bench_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver"
	"mailstead/imapserver/bench"
	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// authority issues the certificate of each generation: its number is the serial
// number.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1 << 40), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// bundle is a new key and its certificate.
func (a *authority) bundle(generation int) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(generation) + 1), DNSNames: []string{"mail.example"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), nil
}

// reloads is a daemon that goes over to another generation again and again:
// another key, another certificate, and a user whom no other generation has.
type reloads struct {
	*authority
	address string
	people  []person // of every generation
	reload  func(generation int) error

	served atomic.Int64 // the generation that the last reload has confirmed
}

func generationUser(generation int) string { return fmt.Sprintf("g%d", generation) }

// client is the TLS of a client that begins now: it takes no certificate that is
// older than that.
func (r *reloads) client(cache tls.ClientSessionCache) *tls.Config {
	oldest := r.served.Load()
	return &tls.Config{
		ServerName: "mail.example", RootCAs: r.pool, ClientSessionCache: cache,
		VerifyConnection: func(c tls.ConnectionState) error {
			if n := c.PeerCertificates[0].SerialNumber.Int64() - 1; n < oldest {
				return fmt.Errorf("the certificate is of generation %d, after the reload to %d", n, oldest)
			}
			return nil
		},
	}
}

// run reloads n times while clients come and go, and others stay.
func (r *reloads) run(t *testing.T, n, clients int) bench.Rate {
	var staying []*bench.Client
	for k := range 5 {
		c, err := bench.Dial(bench.Source(1e6+k), r.address, r.client(nil))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := errors.Join(c.Login(r.people[k].name, password), second(c.Select("INBOX"))); err != nil {
			t.Fatal(err)
		}
		staying = append(staying, c)
	}
	var over atomic.Bool
	result := make(chan bench.Rate)
	cache := tls.NewLRUClientSessionCache(8)
	f := &bench.Flood{Address: r.address, Clients: clients, Password: password, User: func(n int) string { return r.people[n%len(r.people)].name }}
	f.TLS = func(n int) *tls.Config { // every other one with a ticket
		if n%2 == 0 {
			return r.client(nil)
		}
		return r.client(cache)
	}
	go func() { result <- f.While(func() bool { return !over.Load() }) }()
	for g := 1; g <= n && !t.Failed(); g++ {
		r.step(t, g)
		if err := staying[g%len(staying)].Exec("NOOP", nil); err != nil {
			t.Errorf("a session that was there before: %v", err)
		}
	}
	over.Store(true)
	return <-result
}

// step goes over to a generation, in which its user can log in at once.
func (r *reloads) step(t *testing.T, generation int) {
	t.Helper()
	if err := r.reload(generation); err != nil {
		t.Fatalf("reload %d: %v", generation, err)
	}
	r.served.Store(int64(generation))
	c, err := bench.Dial(bench.Source(2e6+generation), r.address, r.client(nil))
	if err == nil {
		defer c.Close()
		err = c.Login(generationUser(generation), password)
	}
	if err != nil {
		t.Errorf("after reload %d: %v", generation, err)
	}
}

func second(_ int, err error) error { return err }

// TestReloads has a server in this process change its certificate and its users
// while clients log in: no handshake fails, none shows a certificate that was
// replaced before it began, and no session that there was ends.
func TestReloads(t *testing.T) {
	r := &reloads{authority: newAuthority(t), people: people(8)}
	home := t.TempDir()
	settings := func(generation int) *imapserver.Settings {
		pem, err := r.bundle(generation)
		if err != nil {
			t.Fatal(err)
		}
		return ownSettings(t, home, generation, pem, append(slices.Clip(r.people), person{name: generationUser(generation)}))
	}
	server, address := startOwn(t, settings(0))
	r.address = address
	r.reload = func(generation int) error { return server.Reload(settings(generation)) }
	rate := r.run(t, 25, 4)
	for _, err := range rate.Failed {
		t.Error(err)
	}
	t.Logf("25 reloads under %d logins", rate.Logins)
	if rate.Logins < 25 {
		t.Errorf("%d logins: no load", rate.Logins)
	}
}

// ownSettings is those of a server in this process, over TLS if there is a bundle.
func ownSettings(t *testing.T, home string, generation int, pem []byte, people []person) *imapserver.Settings {
	t.Helper()
	c := &config.Config{
		Version: config.FormatVersion, Generation: fmt.Sprint(generation), Hostname: "mail.example",
		Control: "/nonexistent/control", Users: "/nonexistent/users.ndjson", Service: config.Identity{UID: os.Getuid(), GID: os.Getgid()},
		Workers: config.WorkerInline, TLS: config.TLS{Policy: config.Modern, Tickets: true},
		Listeners: []config.Listener{{Name: "imap", Address: "127.0.0.1", TLS: config.Plain}},
	}
	var bundles [][]byte
	if pem != nil {
		c.Listeners[0].TLS = config.Implicit
		c.TLS.Bundles = []config.Bundle{{Name: "bench", File: "/nonexistent/bench.pem", Names: []string{"mail.example"}}}
		bundles = [][]byte{pem}
	}
	var list []config.User
	for _, p := range people {
		dir := filepath.Join(home, p.name)
		makeFolder(t, filepath.Join(dir, "Maildir"))
		list = append(list, config.User{Name: p.name, Hash: passwordHash, UID: os.Getuid(), GID: os.Getgid(), Home: dir, Maildir: filepath.Join(dir, "Maildir")})
	}
	slices.SortFunc(list, func(a, b config.User) int { return strings.Compare(a.Name, b.Name) })
	s, err := imapserver.NewSettings(c, list, bundles)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startOwn serves in this process, at the address that it gives.
func startOwn(t *testing.T, s *imapserver.Settings) (*imapserver.Inline, string) {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := imapserver.NewInline(s, imapserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if err := server.Start(context.Background(), imapserver.Listeners{s.Config.Listeners[0].Name: {socket}}); err != nil {
		t.Fatal(err)
	}
	return server, socket.Addr().String()
}

// TestBenchLoadReloads is TestReloads with the daemon as a host has it, and its files.
func TestBenchLoadReloads(t *testing.T) {
	if !chosen(t)("reloads") {
		t.Skip("not asked for")
	}
	const n = 1000
	s := loadServers(t, people(loadUsers))[1]
	s.tls, s.tickets = secure(nil), true
	r := &reloads{authority: newAuthority(t), people: s.people}
	r.reload = func(generation int) error {
		s.generation, s.people = generation, append(slices.Clip(r.people), person{generationUser(generation), mailUID})
		made(t, filepath.Join(s.dir, "homes", generationUser(generation)), func(dir string) {
			makeFolder(t, filepath.Join(dir, "Maildir"))
			giveAway(t, dir)
		})
		pem, err := r.bundle(generation)
		if err == nil {
			s.bundle = pem
			writeConfig(t, s)
		}
		if err != nil || s.daemon == nil {
			return err
		}
		st, err := control.Ask(context.Background(), filepath.Join(s.dir, "control"), control.Request{Verb: control.VerbReload})
		if err == nil && (st.Error != "" || st.Generation != fmt.Sprint("bench-", generation)) {
			err = fmt.Errorf("generation %q: %s", st.Generation, st.Error)
		}
		return err
	}
	if err := r.reload(0); err != nil {
		t.Fatal(err)
	}
	s.up(t)
	t.Cleanup(s.down)
	r.address = s.address
	start := time.Now()
	rate := r.run(t, n, 16)
	for _, err := range rate.Failed {
		t.Error(err)
	}
	fmt.Printf("| %d reloads, each with another certificate and other users, in %s | %d logins, %.0f/s, %d failed |\n",
		n, time.Since(start).Round(time.Second), rate.Logins, rate.PerSec, len(rate.Failed))
}
