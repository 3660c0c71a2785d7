package login

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/config"
)

// leafFor gives the name in the certificate that a client gets for an SNI name.
func leafFor(t *testing.T, s *served, name string) string {
	t.Helper()
	c, err := tls.Dial("tcp", s.addr["imaps"], &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].DNSNames[0]
}

// TestTicketKeysRotate: no key of tickets is the present one for longer than
// ticketLife, on listeners with certificates of clients, too.
func TestTicketKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Log: slog.New(slog.DiscardHandler), Limits: Default, Auth: users{}, Open: &echo{}})
		defer s.Shutdown(t.Context())
		b := bundle(t, "mail.example")
		c := testConfig()
		c.TLS.Tickets = true
		c.Listeners[1].Clients = &config.Clients{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate.Certificate[0]})}
		if err := s.Update(c, []Bundle{b}); err != nil {
			t.Fatal(err)
		}
		now := s.settings.Load()
		all := []*certificates{now.certificates, now.clients["imaps"]}
		var before [][32]byte
		for _, each := range all {
			each.mu.Lock()
			before = append(before, each.tickets[0][0])
			each.mu.Unlock()
		}
		time.Sleep(ticketLife)
		synctest.Wait()
		for i, each := range all {
			each.mu.Lock()
			keys := each.tickets[0]
			each.mu.Unlock()
			if len(keys) != 2 || keys[0] == before[i] || keys[1] != before[i] {
				t.Errorf("%d: %d keys, of which the old one is not the second", i, len(keys))
			}
		}
	})
}

func TestSNI(t *testing.T) {
	s := start(t, nil)
	for name, want := range map[string]string{
		"mail.example":       "mail.example",
		"other.example":      "other.example",
		"OTHER.Example":      "other.example",
		"a.wild.example":     "*.wild.example",
		"b.wild.example":     "*.wild.example",
		"a.b.wild.example":   "mail.example",
		"wild.example":       "mail.example",
		"xwild.example":      "mail.example",
		"unknown.example":    "mail.example",
		"x.other.example":    "mail.example",
		"":                   "mail.example",
		"xn--bcher-kva.test": "mail.example",
	} {
		if got := leafFor(t, s, name); got != want {
			t.Errorf("%q: %s, not %s", name, got, want)
		}
	}
	// Names that no crypto/tls client would send.
	c := s.settings.Load().certificates
	for _, name := range []string{".", "..", ".wild.example", "other.example.", strings.Repeat("a.", 200)} {
		want := 0
		if name == "other.example." {
			want = 1
		}
		if got := c.find(name); got != want {
			t.Errorf("%q: bundle %d, not %d", name, got, want)
		}
	}
}

func TestALPN(t *testing.T) {
	s := start(t, nil)
	for _, tt := range []struct {
		offered []string
		ok      bool
	}{
		{nil, true},
		{[]string{"imap"}, true},
		{[]string{"h2", "imap"}, true},
		{[]string{"h2", "http/1.1"}, false},
		{[]string{"http/1.1"}, false},
		{[]string{"acme-tls/1"}, false},
	} {
		c, err := tls.Dial("tcp", s.addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: s.roots, NextProtos: tt.offered})
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.offered, err)
		}
		if err != nil && !strings.Contains(err.Error(), "no application protocol") { // alert 120
			t.Errorf("%q: %v", tt.offered, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

func TestPolicies(t *testing.T) {
	weak := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	for _, tt := range []struct {
		policy   string
		min, max uint16
		suites   []uint16
		ok       bool
	}{
		{config.Modern, tls.VersionTLS13, tls.VersionTLS13, nil, true},
		{config.Modern, tls.VersionTLS12, tls.VersionTLS12, nil, false},
		{config.Intermediate, tls.VersionTLS13, tls.VersionTLS13, nil, true},
		{config.Intermediate, tls.VersionTLS12, tls.VersionTLS12, nil, true},
		{config.Intermediate, tls.VersionTLS12, tls.VersionTLS12, weak, false},
		{config.Intermediate, tls.VersionTLS10, tls.VersionTLS11, nil, false},
	} {
		s := start(t, nil)
		c := testConfig()
		c.TLS.Policy = tt.policy
		if err := s.Update(c, s.bundles); err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", s.addr["imaps"], &tls.Config{
			ServerName: "mail.example", RootCAs: s.roots, MinVersion: tt.min, MaxVersion: tt.max, CipherSuites: tt.suites,
		})
		if (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if _, err := newCertificates(config.TLS{Policy: "old"}, []Bundle{bundle(t, "a.example")}, nil); err == nil {
		t.Error("an unknown policy is taken")
	}
}

// TestTickets holds a session to the certificate that it began with: where there are
// tickets, it is resumed under the same name, neither under another one nor after a reload.
func TestTickets(t *testing.T) {
	s := start(t, nil)
	if 2*ticketLife > 24*time.Hour {
		t.Errorf("a key is taken for %v", 2*ticketLife)
	}
	none, tickets := testConfig(), testConfig()
	tickets.TLS.Tickets = true
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		use := func(c *config.Config) {
			t.Helper()
			if err := s.Update(c, s.bundles); err != nil {
				t.Fatal(err)
			}
		}
		resumed := func(name string, cache tls.ClientSessionCache) bool {
			t.Helper()
			c, err := tls.Dial("tcp", s.addr["imaps"], &tls.Config{
				ServerName: name, InsecureSkipVerify: true, ClientSessionCache: oneSession{cache}, MinVersion: version, MaxVersion: version,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			newClient(t, c).want("* OK ") // tickets of TLS 1.3 come with the first data
			return c.ConnectionState().DidResume
		}
		cache := tls.NewLRUClientSessionCache(1)
		use(none)
		for range 2 {
			if resumed("mail.example", cache) {
				t.Error("resumed where there are no tickets")
			}
		}
		use(tickets)
		if resumed("mail.example", cache) {
			t.Error("resumed without a ticket")
		}
		if !resumed("mail.example", cache) {
			t.Error("not resumed under the same name")
		}
		if resumed("other.example", cache) {
			t.Error("resumed under another name")
		}
		resumed("mail.example", cache)
		s.settings.Load().certificates.rotate()
		if !resumed("mail.example", cache) {
			t.Error("not resumed after one rotation of keys")
		}
		resumed("mail.example", cache)
		for range 2 { // which takes twice ticketLife, that is a day
			s.settings.Load().certificates.rotate()
		}
		if resumed("mail.example", cache) {
			t.Error("resumed after two rotations of keys")
		}
		use(tickets)
		if resumed("mail.example", cache) {
			t.Error("resumed after a reload")
		}
	}
}

// oneSession is a cache that has one entry for all names.
type oneSession struct{ tls.ClientSessionCache }

func (o oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.ClientSessionCache.Get("") }
func (o oneSession) Put(_ string, s *tls.ClientSessionState)    { o.ClientSessionCache.Put("", s) }

// TestReloadUnderLoad changes certificates a hundred times while clients
// connect as fast as they can: no handshake fails, each sees one of the two
// pairs whole, and a connection that was there before goes on.
func TestReloadUnderLoad(t *testing.T) {
	s := start(t, func(l *Limits) { l.NewMinute, l.PerSource = 1<<30, 1<<30 })
	first := s.bundles
	second := []Bundle{bundle(t, "mail.example"), bundle(t, "other.example")}
	for _, b := range second {
		s.roots.AddCert(b.Certificate.Leaf)
	}
	old := s.dialTLS("mail.example")
	old.want("* OK ")
	old.send("a LOGIN alice right\r\n")
	old.want("a OK ")

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var handshakes atomic.Int64
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				c, err := tls.Dial("tcp", s.addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: s.roots})
				if err != nil {
					t.Error(err)
					return
				}
				handshakes.Add(1)
				c.Close()
			}
		})
	}
	for i := range 100 {
		use := first
		if i%2 == 0 {
			use = second
		}
		if err := s.Update(testConfig(), use); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	clients.Wait()
	old.send("still there\r\n")
	old.want("still there")
	if n := handshakes.Load(); n < 20 {
		t.Errorf("only %d handshakes", n)
	}
	if got := leafOf(t, s, "mail.example"); !slices.Equal(got, first[0].Certificate.Leaf.Raw) {
		t.Error("not the certificate of the last reload is served")
	}
}

func leafOf(t *testing.T, s *served, name string) []byte {
	t.Helper()
	c := s.dialTLS(name)
	return c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
}

func TestParseBundle(t *testing.T) {
	a, b := issue(t, time.Now().Add(time.Hour), "a.example"), issue(t, time.Now().Add(time.Hour), "b.example")
	key := strings.Index(string(a), "-----BEGIN CERTIFICATE")
	for name, text := range map[string]string{
		"empty":                   "",
		"no key":                  string(a[key:]),
		"no certificate":          string(a[:key]),
		"key of another":          string(a[:key]) + string(b[strings.Index(string(b), "-----BEGIN CERTIFICATE"):]),
		"chain that does not fit": string(a) + string(b[strings.Index(string(b), "-----BEGIN CERTIFICATE"):]),
		"garbage":                 "-----BEGIN CERTIFICATE-----\n!!\n",
	} {
		_, err := ParseBundle("x", []string{"a.example"}, []byte(text))
		if err == nil || !strings.Contains(err.Error(), "bundle x") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE KEY-----\n") {
			t.Errorf("%s: the error repeats the key", name)
		}
	}
}

func TestBundleFault(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		names []string
		at    time.Time
		want  []string
	}{
		{[]string{"a.example"}, now, nil},
		{[]string{"a.example", "x.w.example", "*.w.example"}, now, nil},
		{[]string{"b.example", "a.example"}, now, []string{"not for b.example"}},
		{[]string{"a.example"}, now.Add(2 * time.Hour), []string{"expired on"}},
		{[]string{"b.example"}, now.Add(-100 * time.Hour), []string{"not valid before", "not for b.example"}},
	} {
		b, err := ParseBundle("x", tt.names, issue(t, now.Add(time.Hour), "a.example", "*.w.example"))
		if err != nil {
			t.Fatal(err)
		}
		fault := fmt.Sprint(b.Fault(tt.at))
		for _, want := range tt.want {
			if !strings.Contains(fault, want) {
				t.Errorf("%v: %s, not %q", tt.names, fault, want)
			}
		}
		if tt.want == nil && fault != "<nil>" {
			t.Errorf("%v: %s", tt.names, fault)
		}
	}
}

func TestUpdateRefuses(t *testing.T) {
	s := start(t, nil)
	before := leafFor(t, s, "other.example")
	if err := s.Update(testConfig(), nil); err == nil {
		t.Error("listeners with TLS and without certificates are taken")
	}
	bad := testConfig()
	bad.TLS.Policy = "old"
	if err := s.Update(bad, s.bundles[:1]); err == nil {
		t.Error("an unknown policy is taken")
	}
	if after := leafFor(t, s, "other.example"); after != before {
		t.Errorf("%s is served after a refused update", after)
	}
}

// TestHandshakeEnds gives up on a client that does not shake hands.
func TestHandshakeEnds(t *testing.T) {
	s := start(t, func(l *Limits) { l.Lifetime = 50 * time.Millisecond })
	c, err := net.Dial("tcp", s.addr["imaps"])
	if err != nil {
		t.Fatal(err)
	}
	if said := newClient(t, c).end(); said != "" {
		t.Errorf("%q", said)
	}
}
