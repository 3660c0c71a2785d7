package imapserver

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// behind is a daemon with mail, and another one that stands in front of it.
type behind struct {
	*Inline
	address string
	log     *journal
}

func startBehind(t *testing.T, change func(p *config.Proxy)) *behind {
	t.Helper()
	dir := t.TempDir()
	c := testConfig(dir)
	users := []config.User{testUser(t, dir, "alice"), testUser(t, dir, "bob")}
	message := "From: a@example\r\nSubject: one\r\n\r\nbody {5}\r\n"
	if err := os.WriteFile(filepath.Join(users[0].Maildir, "cur", "1.M1P1.host:2,S"), []byte(message), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle := issue(t, time.Now().Add(time.Hour), "mail.example")
	_, addresses, _ := inline(t, c, users, bundle)
	block, rest := pem.Decode(bundle)
	for block.Type != "CERTIFICATE" {
		block, rest = pem.Decode(rest)
	}
	server, err := netip.ParseAddrPort(addresses["imaps"])
	if err != nil {
		t.Fatal(err)
	}
	p := &config.Proxy{
		Servers: []config.Server{{Host: "127.0.0.1", Port: int(server.Port()), TLS: config.Implicit, Name: "mail.example"}},
		CA:      "/ca.pem", PEM: pem.EncodeToMemory(block), Webmail: []string{"127.0.0.0/8"},
	}
	if change != nil {
		change(p)
	}
	front := testConfig(t.TempDir())
	front.TLS.Bundles = nil
	front.Listeners = []config.Listener{{Name: "webmail", Address: "127.0.0.1", TLS: config.Plain, Proxy: p}}
	i, addresses, log := inline(t, front, nil)
	return &behind{i, addresses["webmail"], log}
}

func (b *behind) dial(t *testing.T) *client {
	t.Helper()
	nc, err := net.Dial("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, nc)
	c.until("* OK [CAPABILITY ")
	return c
}

func (b *behind) count(t *testing.T) control.Proxy {
	t.Helper()
	s, err := b.Status(t.Context())
	if err != nil || len(s.Proxies) != 1 {
		t.Fatal(s.Proxies, err)
	}
	return s.Proxies[0]
}

// What web mail does, again and again, through a proxy in front of the daemon itself.
func TestProxied(t *testing.T) {
	b := startBehind(t, nil)
	for i := range 5 {
		c := b.dial(t)
		c.send("a LOGIN alice pw-alice\r\n")
		if ok := c.until("a OK [CAPABILITY "); strings.Contains(ok, "UNAUTHENTICATE") || !strings.Contains(ok, "UNSELECT") {
			t.Errorf("capabilities after login: %s", ok)
		}
		c.send("b SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\n")
		c.until("b OK ")
		c.until("* 1 FETCH (BODY[] {")
		c.until("c OK ")
		c.send("d LOGOUT\r\n")
		c.until("* BYE ")
		c.until("d OK ")
		await(t, func() bool { return b.count(t).Kept == uint64(i+1) })
	}
	if n := b.count(t); n.Logins != 5 || n.Reused != 4 || n.Idle != 1 || n.Stale != 0 {
		t.Errorf("%+v", n)
	}
	c := b.dial(t)
	c.send("a LOGIN alice pw-bob\r\n")
	c.until("a NO [AUTHENTICATIONFAILED] ")
	c.send("a LOGIN bob pw-bob\r\n")
	c.until("a OK ")
	if n := b.count(t); n.Reused != 4 || n.Refused != 1 || n.Idle != 1 {
		t.Errorf("after a wrong password and another user: %+v", n)
	}
	if log := b.log.String(); !strings.Contains(log, `msg="login failed" addr=127.0.0.1 user=alice`) {
		t.Errorf("the log has no failed login")
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what should have come did not")
		}
	}
}

// The same as a process of its own, which is told what it stands in front of; its
// users are not auth's to judge.
func TestProxyRole(t *testing.T) {
	b := startBehind(t, nil)
	c := testConfig(t.TempDir())
	c.Listeners[1].Proxy = b.front.settings.Load().Config.Listeners[0].Proxy
	f := startLoginOf(t, nil, c, newProxied(slog.New(slog.DiscardHandler), *fast()))
	for range 2 {
		client := f.dial()
		client.send("a LOGIN alice pw-alice\r\nb SELECT INBOX\r\nc LOGOUT\r\n")
		client.until("c OK ")
		await(t, func() bool { // it is kept once it has been looked at
			_, state := f.state(false)
			return len(state.Proxies) == 1 && state.Proxies[0].Idle == 1
		})
	}
	client := f.dial()
	client.send("a LOGIN bob pw-bob\r\n")
	client.until("a OK ")
	s, state := f.state(true)
	if p := state.Proxies; s.Error != "" || len(state.Users) != 0 || len(p) != 1 || p[0].Listener != "imaps" || p[0].Reused != 1 || p[0].Logins != 3 {
		t.Errorf("%s %+v", s.Error, state)
	}
	f.configure(settingsOf(t, c, nil, f.cert))
	client.send("b NOOP\r\n")
	client.until("b OK ")
	f.stop()
	client.until("* BYE The server is shutting down.")
	if err := <-f.done; err != nil {
		t.Error(err)
	}
}

// Where a client is counts as a proxy in front of us says, and as nobody else does.
func TestOriginatingAddress(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.Listeners[0].Proxies, c.Listeners[1].Proxies = []string{"127.0.0.0/8"}, []string{"192.0.2.0/24"}
	c.Limits = map[string]int64{"waitingPerAddress": 2, "failedLogins": 10}
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	_, addr, log := inline(t, c, []config.User{testUser(t, dir, "alice")}, cert)
	trust := &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)}
	upgraded := func() *client {
		nc, err := net.Dial("tcp", addr["imap"])
		if err != nil {
			t.Fatal(err)
		}
		plain := newClient(t, nc)
		plain.until("* OK ")
		plain.send("a ID (\"x-originating-ip\" \"192.0.2.1\")\r\nb STARTTLS\r\n")
		plain.until("b OK ")
		return newClient(t, tls.Client(nc, trust))
	}
	var some []*client
	for range 5 { // more than one address may have
		some = append(some, upgraded())
	}
	proxy, stranger := some[0], dialTLS(t, addr["imaps"], trust)
	stranger.until("* OK ")
	for i, say := range []string{"", `ID ("x-originating-ip" "2001:db8::1")`, `ID ("x-originating-ip" "nowhere")`, `ID ("X-Originating-IP" "::ffff:192.0.2.7" "name" "x")`} {
		for _, c := range []*client{proxy, stranger} {
			if say != "" {
				c.send("i " + say + "\r\n")
				c.until("i OK ")
			}
			c.send(fmt.Sprintf("b LOGIN alice wrong%d\r\n", i))
			c.until("b NO ")
		}
	}
	// The proxy's client, once it is in, names no other address.
	some[1].send("a ID (\"x-originating-ip\" \"192.0.2.8\")\r\nb LOGIN alice pw-alice\r\n")
	some[1].until("b OK ")
	some[1].send("c UNAUTHENTICATE\r\n")
	some[1].until("c OK ")
	some[1].send("d ID (\"x-originating-ip\" \"192.0.2.9\")\r\ne LOGIN alice wrong\r\n")
	some[1].until("e NO ")
	for want, n := range map[string]int{"127.0.0.1": 5, "2001:db8::1": 2, "192.0.2.7": 1, "192.0.2.1": 0, "192.0.2.8": 1, "192.0.2.9": 0} {
		if got := strings.Count(log.String(), `msg="login failed" addr=`+want+" "); got != n {
			t.Errorf("%d refusals of %s, want %d", got, want, n)
		}
	}
}
