package imapserver

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

// behind is a daemon with mail, and another one that stands in front of it.
type behind struct {
	*Inline
	address string
	log     *journal
}

func startBehind(t *testing.T, change func(p *config.Proxy), others ...func(c *config.Config)) *behind {
	t.Helper()
	dir := t.TempDir()
	c := testConfig(dir)
	for _, change := range others {
		change(c)
	}
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

// A host behind a proxy that delays refusals does not delay them once more.
func TestRefusedBehind(t *testing.T) {
	b := startBehind(t, func(p *config.Proxy) { p.Forward = true }, func(c *config.Config) {
		for i := range c.Listeners {
			c.Listeners[i].Proxies = []string{"127.0.0.0/8"}
		}
		c.Limits = map[string]int64{"delay": 10, "failedLogins": 10}
	})
	c, begun := b.dial(t), time.Now()
	for i := range 3 {
		c.send(fmt.Sprintf("a LOGIN alice wrong%d\r\n", i))
		c.until("a NO [AUTHENTICATIONFAILED] ")
	}
	if took := time.Since(begun); took > 9*time.Second {
		t.Errorf("after %v", took)
	}
}

// What a proxy of ours says of itself counts in words of its own alone: others pass on what
// their clients say.
func TestProxyPassesOn(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.Limits = map[string]int64{"delay": 2}
	for i := range c.Listeners {
		c.Listeners[i].Proxies = []string{"127.0.0.0/8"}
	}
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	_, addr, _ := inline(t, c, []config.User{testUser(t, dir, "alice")}, cert)
	refused := func(first string) time.Duration {
		t.Helper()
		s := dialTLS(t, addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)})
		s.until("* OK ")
		s.send("a ID (" + first + "\"x-originating-ip\" \"192.0.2.1\" \"x-session-id\" \"s\" \"x-mailstead-proxy\" \"delays\")\r\n")
		s.until("a OK ")
		begun := time.Now()
		s.send("b LOGIN alice wrong\r\n")
		s.until("b NO ")
		return time.Since(begun)
	}
	if took := refused(`"name" "x" `); took < 2*time.Second {
		t.Errorf("a client behind another proxy has its refusal after %v", took)
	}
	if took := refused(""); took > 1900*time.Millisecond {
		t.Errorf("a proxy of ours has its refusal after %v", took)
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

// The same as a process of its own, which is told what it stands in front of, and has
// auth connect; its users are not auth's to judge.
func TestProxyRole(t *testing.T) {
	b := startBehind(t, nil)
	c := partedConfig(t.TempDir())
	c.Listeners[1].TLS, c.Listeners[1].Proxy = config.Plain, b.front.settings.Load().Config.Listeners[0].Proxy
	p := startParted(t, c)
	l, err := Bind(&config.Config{Listeners: c.Listeners[1:]})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- newLoginRole("imaps", p.path, l, true, Options{Log: slog.New(slog.DiscardHandler), Auth: fast()}).run(ctx)
	}()
	b.address = l["imaps"][0].Addr().String()
	state := func() control.Proxy {
		s, err := p.Status(t.Context())
		if err != nil || len(s.Proxies) > 1 {
			t.Fatal(s.Proxies, err)
		}
		return append(s.Proxies, control.Proxy{})[0]
	}
	await(t, func() bool { return state().Known })
	for range 2 {
		client := b.dial(t)
		client.send("a LOGIN alice pw-alice\r\nb SELECT INBOX\r\nc LOGOUT\r\n")
		client.until("c OK ")
		await(t, func() bool { return state().Idle == 1 }) // it is kept once it has been looked at
	}
	client := b.dial(t)
	client.send("a LOGIN bob pw-bob\r\n")
	client.until("a OK ")
	if s := state(); s.Listener != "imaps" || s.Reused != 1 || s.Logins != 3 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	if err := p.Reload(settingsOf(t, c, nil, issue(t, time.Now().Add(time.Hour), "mail.example"))); err != nil {
		t.Fatal(err)
	}
	p.Stop() // who is in stays so, and what is kept needs nobody to connect
	client.send("b NOOP\r\n")
	client.until("b OK ")
	kept := b.dial(t)
	kept.send("a LOGIN alice pw-alice\r\n")
	kept.until("a OK ")
	stop()
	client.until("* BYE The server is shutting down.")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A login has auth connect to the servers that its listener stands in front of, and to
// nobody else; while one of them says nothing, others are reached.
func TestConnects(t *testing.T) {
	server, stranger, silent := listenTCP(t), listenTCP(t), silence(t)
	c := partedConfig(t.TempDir())
	c.Listeners[1].Proxy = &config.Proxy{Users: map[string]int{"alice": 0}}
	for _, port := range []int{server.Port, silent.Port, 1} {
		c.Listeners[1].Proxy.Servers = append(c.Listeners[1].Proxy.Servers, config.Server{Host: "127.0.0.1", Port: port, TLS: config.Plain})
	}
	p := startParted(t, c)
	front, _ := p.login("imaps")
	other, _ := p.login("imap")
	ask := func(l *handoff.Conn, serial uint64, address string) *handoff.Connected {
		t.Helper()
		l.Send(&handoff.Connect{Serial: serial, Server: address})
		return receive[*handoff.Connected](t, l)
	}
	for _, row := range []struct {
		login         *handoff.Conn
		address, want string
	}{
		{front, stranger.String(), "the listener has no such server"},
		{front, fmt.Sprint("localhost:", server.Port), "the listener has no such server"},
		{front, p.path, "the listener has no such server"},
		{front, "", "the listener has no such server"},
		{other, server.String(), "the listener has no such server"},
		{front, "127.0.0.1:1", "connection refused"},
	} {
		if m := ask(row.login, 1, row.address); m.Serial != 1 || !strings.Contains(m.Error, row.want) || m.Connection != nil {
			t.Errorf("%s: %+v", row.address, m)
		}
	}
	front.Send(&handoff.Connect{Serial: 2, Server: silent.String()})
	nc, err := handoff.Network(ask(front, 3, server.String()).Connection)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	if b, err := io.ReadAll(io.LimitReader(nc, 5)); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	front.Send(&handoff.Abort{Serial: 2})
	if m := receive[*handoff.Connected](t, front); m.Serial != 2 || !strings.Contains(m.Error, "canceled") {
		t.Errorf("given up: %+v", m)
	}
	for range 2 {
		front.Send(&handoff.Connect{Serial: 4, Server: silent.String()})
	}
	if m := receive[*handoff.Connected](t, front); !strings.Contains(m.Error, "canceled") {
		t.Errorf("a number twice: %+v", m)
	}
	if m, err := front.Receive(); err == nil {
		t.Errorf("a number twice: %+v", m)
	}
}

// listenTCP greets who connects.
func listenTCP(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr)
}

// silence is an address at which nobody is refused, and nobody gets in: those who wait
// to be accepted are as many as may.
func silence(t *testing.T) *net.TCPAddr {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0))
	name, err2 := unix.Getsockname(fd)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
	for {
		c, err := net.DialTimeout("tcp", address.String(), 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
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
	for _, c := range []*client{proxy, some[1]} { // and what auth is not asked about
		c.send("l LOGIN alice " + strings.Repeat("x", 2000) + "\r\n")
		c.until("l NO ")
	}
	for want, n := range map[string]int{"127.0.0.1": 5, "2001:db8::1": 2, "192.0.2.7": 2, "192.0.2.1": 0, "192.0.2.8": 2, "192.0.2.9": 0} {
		if got := strings.Count(log.String(), `msg="login failed" addr=`+want+" "); got != n {
			t.Errorf("%d refusals of %s, want %d", got, want, n)
		}
	}
}
