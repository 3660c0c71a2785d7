package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

func TestBadCommands(t *testing.T) {
	s := start(t, nil)
	c := s.dial("imap")
	c.want("* OK ")
	c.send("a NONSENSE <echo>\r\nb NOOP\r\nb2 <echo> <echo>\r\nc NOOP\r\nd FETCH 1 (((((FLAGS\r\ne NOOP\r\n")
	if said := c.end(); strings.Count(said, "BAD ") != 3 || !strings.Contains(said, "* BYE ") || strings.Contains(said, "e OK") || strings.Contains(said, "echo") {
		t.Errorf("%q", said)
	}
}

func TestFailedLogins(t *testing.T) {
	s := start(t, nil)
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice 1\r\nb LOGIN nobody 2\r\nc AUTHENTICATE PLAIN AGFsaWNlADM=\r\nd LOGIN alice right\r\n")
	if said := c.end(); strings.Count(said, " NO [AUTHENTICATIONFAILED] ") != 3 || !strings.Contains(said, "* BYE ") || strings.Contains(said, " OK") {
		t.Errorf("%q", said)
	}
}

// TestLifetime holds a client to its minute whatever it keeps sending.
func TestLifetime(t *testing.T) {
	s := start(t, func(l *Limits) { l.Lifetime = 300 * time.Millisecond })
	const bye = "* BYE Too long without a login.\r\n"
	talk := func(send string) string {
		c := s.dial("imap")
		c.want("* OK ")
		go func() {
			for {
				if _, err := io.WriteString(c, send); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		begun := time.Now()
		said := c.end()
		if d := time.Since(begun); d > 2*time.Second {
			t.Errorf("ended after %v", d)
		}
		return said
	}
	for _, send := range []string{"a NOOP\r\n", "a"} {
		said := talk(send)
		// What the client sends as it ends has the kernel throw the last line away.
		for try := 1; try < 5 && !strings.Contains(said, "BYE"); try++ {
			said = talk(send)
		}
		if !strings.HasSuffix(said, bye) {
			t.Errorf("%q", said)
		}
	}
	if !strings.Contains(s.log.String(), `reason="Too long without a login."`) {
		t.Errorf("log: %s", s.log)
	}
}

func TestHostileInput(t *testing.T) {
	s := start(t, nil)
	for name, in := range map[string]string{
		"endless line":        strings.Repeat("A", 1<<20),
		"huge literal":        "a LOGIN {99999999999999999999}\r\n",
		"5 GB literal":        "a LOGIN {5368709120}\r\n",
		"non-sync literal":    "a LOGIN {5000+}\r\n" + strings.Repeat("x", 5000),
		"nesting":             "a ID " + strings.Repeat("(", 4000),
		"many literals":       "a LOGIN " + strings.Repeat("{1+}\r\nx", 3000),
		"endless ID":          "a ID (" + strings.Repeat(`"k" "v" `, 3000),
		"8-bit":               "\xff\xfe\xfd\r\n\xff\r\n\xff\r\n",
		"NUL":                 "\x00\r\n\x00\r\n\x00\r\n",
		"SASL without an end": "a AUTHENTICATE PLAIN\r\n" + strings.Repeat("A", 20000),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial("plain")
			c.t = t
			c.want("* OK ")
			c.Write([]byte(in)) // the server may close before the end of it
			if said := readSome(c); strings.Contains(said, "+ ") && name != "SASL without an end" || len(said) > 1000 {
				t.Errorf("%q", said)
			}
		})
	}
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a OK ")
}

// readSome reads until the server closes, or is silent.
func readSome(c *client) string {
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	said, _ := io.ReadAll(c.r)
	return string(said)
}

func TestSessionsOfAUser(t *testing.T) {
	s := start(t, func(l *Limits) { l.PerUser, l.PerUserSource = 3, 2 })
	login := func(user string) (*client, string) {
		c := s.dial("plain")
		c.want("* OK ")
		c.send("a LOGIN " + user + " right\r\n")
		return c, c.line()
	}
	first, _ := login("alice")
	if _, said := login("alice"); !strings.HasPrefix(said, "a OK ") {
		t.Fatalf("second session: %q", said)
	}
	if _, said := login("alice"); !strings.HasPrefix(said, "a NO [LIMIT] ") {
		t.Errorf("third session of one source: %q", said)
	}
	if _, said := login("bob"); !strings.HasPrefix(said, "a OK ") {
		t.Errorf("another user: %q", said)
	}
	if n := s.Sessions(); n != 3 {
		t.Errorf("%d sessions", n)
	}
	first.Close()
	for deadline := time.Now().Add(5 * time.Second); s.Sessions() > 2; {
		if time.Now().After(deadline) {
			t.Fatal("a session that has ended is still counted")
		}
		time.Sleep(time.Millisecond)
	}
	if _, said := login("alice"); !strings.HasPrefix(said, "a OK ") {
		t.Errorf("after one has ended: %q", said)
	}
	// Of another source, up to the limit of the user.
	r := func(last byte) *relay {
		return &relay{user: "alice", source: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, last}), 32)}
	}
	one, two := r(1), r(2)
	if s.sessions.add(one) != "" || s.sessions.add(two) == "" {
		t.Error("three sessions of a user are too many, or four are not")
	}
	s.sessions.remove(one)
}

// TestLimitsChange has a reload change the limits for what is to come; sessions
// that there are stay.
func TestLimitsChange(t *testing.T) {
	s := start(t, nil)
	login := func(want string) *client {
		c := s.dial("plain")
		c.want("* OK ")
		c.send("a LOGIN alice right\r\n")
		c.want(want)
		return c
	}
	first := login("a OK ")
	limited := func(values map[string]int64) {
		c := testConfig()
		c.Limits = values
		if err := s.Update(c, s.bundles); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"sessionsPerUser":           "a NO [LIMIT] Too many connections of this user.",
		"sessionsPerUserAndAddress": "a NO [LIMIT] Too many connections of this user.",
		"sessionsPerAddress":        "a NO [LIMIT] Too many connections of this address.",
		"sessions":                  "a NO [LIMIT] Too many connections in all.",
	} {
		limited(map[string]int64{name: 1})
		login(want)
	}
	limited(map[string]int64{"failedLogins": 1})
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice wrong\r\n")
	c.want("a NO ", "* BYE Too many failed logins.")
	limited(nil)
	s.gate.mu.Lock()
	if s.gate.limits != Default {
		t.Errorf("the limits are not the defaults again: %+v", s.gate.limits)
	}
	s.gate.mu.Unlock()
	login("a OK ")
	first.send("still there\r\n")
	first.want("still there")
}

func TestGate(t *testing.T) {
	l := Default
	l.Begin, l.Full, l.PerSource, l.NewMinute = 1<<30, 1<<30, 3, 5
	at := time.Unix(1e9, 0)
	v4 := func(a, b byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, a, b}) }

	g := newGate(l, nil)
	for i := range 3 {
		if why := g.enter(v4(0, 1), false, at); why != "" {
			t.Fatalf("connection %d: %s", i, why)
		}
	}
	if g.enter(v4(0, 1), false, at) == "" {
		t.Error("a fourth connection of one address")
	}
	if g.enter(netip.MustParseAddr("::ffff:10.0.0.1"), false, at) == "" {
		t.Error("the same address as IPv6 is another one")
	}
	g.leave(v4(0, 1), false)
	if why := g.enter(v4(0, 1), false, at); why != "" {
		t.Errorf("after one has left: %s", why)
	}
	// The /26 takes three times as many.
	for i := range byte(6) {
		if why := g.enter(v4(0, 2+i), false, at); why != "" {
			t.Errorf("%d of the net: %s", i, why)
		}
	}
	if g.enter(v4(0, 60), false, at) == "" {
		t.Error("a tenth connection of one /26")
	}
	if why := g.enter(v4(0, 64), false, at); why != "" {
		t.Errorf("the next /26: %s", why)
	}
	if g.count() != 10 {
		t.Errorf("%d connections", g.count())
	}

	// A /64 is one source.
	g = newGate(l, nil)
	for i := range 3 {
		if why := g.enter(netip.MustParseAddr("2001:db8::1").Next(), false, at); why != "" {
			t.Fatalf("%d: %s", i, why)
		}
	}
	if g.enter(netip.MustParseAddr("2001:db8::ffff:1"), false, at) == "" {
		t.Error("a fourth connection of one /64")
	}
	if why := g.enter(netip.MustParseAddr("2001:db8:0:1::1"), false, at); why != "" {
		t.Errorf("the next /64: %s", why)
	}

	// New ones in a minute.
	g = newGate(l, nil)
	for range 5 {
		g.enter(v4(0, 1), false, at)
		g.leave(v4(0, 1), false)
	}
	if g.enter(v4(0, 1), false, at) == "" {
		t.Error("a sixth connection in a minute")
	}
	if why := g.enter(v4(0, 1), false, at.Add(time.Minute)); why != "" {
		t.Errorf("a minute later: %s", why)
	}

	// A full table keeps nobody out, and is swept.
	l.Sources = 2
	g = newGate(l, nil)
	for i := range byte(50) {
		if why := g.enter(v4(i, 1), false, at); why != "" {
			t.Errorf("source %d with a full table: %s", i, why)
		}
	}
	if n := len(g.nets); n > 6 {
		t.Errorf("%d nets are counted", n)
	}
	for i := range byte(50) {
		g.leave(v4(i, 1), false)
	}
	if g.count() != 0 {
		t.Errorf("%d connections are left", g.count())
	}
	g.enter(v4(99, 1), false, at.Add(2*time.Minute))
	if n := len(g.nets); n > 3 {
		t.Errorf("%d nets after the sweep", n)
	}
}

func TestEarlyDrop(t *testing.T) {
	l := Default
	l.PerSource, l.NewMinute = 1<<30, 1<<30
	g := newGate(l, nil)
	for range l.Begin {
		if why := g.enter(netip.Addr{}, false, time.Now()); why != "" {
			t.Fatalf("below the beginning: %s", why)
		}
	}
	for _, tt := range []struct{ open, percent int }{{200, 30}, {600, 65}, {999, 99}, {1000, 100}, {5000, 100}} {
		g.open = tt.open
		dropped := 0
		for range 10000 {
			if g.drop(false) {
				dropped++
			}
		}
		if p := dropped / 100; p < tt.percent-3 || p > tt.percent+3 {
			t.Errorf("%d%% dropped with %d open, not %d%%", p, tt.open, tt.percent)
		}
	}
}

// TestFlood fills the daemon with silent connections; whoever is admitted is
// served all the same, and the log stays short.
func TestFlood(t *testing.T) {
	s := start(t, func(l *Limits) { l.PerSource, l.NewMinute, l.Begin, l.Full = 1<<30, 1<<30, 20, 40 })
	var open []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", s.addr["imap"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	deadline := time.Now().Add(5 * time.Second)
	for s.gate.count() < 20 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := s.gate.count(); n > 40 {
		t.Errorf("%d connections are open", n)
	}
	if n := strings.Count(s.log.String(), "connection refused"); n == 0 || n > 5 {
		t.Errorf("%d lines about refused connections", n)
	}
	for _, c := range open {
		c.Close()
	}
	for s.gate.count() > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	c := s.dial("plain")
	c.want("* OK ")
}

func TestSelfTest(t *testing.T) {
	s := start(t, nil)
	for range 3 {
		if err := s.SelfTest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.log.String() != "" {
		t.Errorf("the self-test is logged: %s", s.log)
	}
	// An accept loop that has ended, but for Shutdown, is found.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Serve(l, "imap"); err != nil {
		t.Fatal(err)
	}
	if err := s.SelfTest(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody accepts") {
		t.Errorf("dead listener: %v", err)
	}
	if err := New(Options{Limits: Default}).SelfTest(t.Context()); err == nil {
		t.Error("a server without settings passes")
	}
}

// acceptFails is a listener that has run out of descriptors for a while.
type acceptFails struct {
	net.Listener
	left int
}

func (a *acceptFails) Accept() (net.Conn, error) {
	if a.left--; a.left >= 0 {
		return nil, errors.New("accept: too many open files")
	}
	return a.Listener.Accept()
}

func TestAcceptGoesOn(t *testing.T) {
	s := start(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(&acceptFails{l, 3}, "plain")
	s.addr["failing"] = l.Addr().String()
	s.dial("failing").want("* OK ")
}

func TestShutdown(t *testing.T) {
	s := start(t, nil)
	waiting, half, in := s.dial("imap"), s.dialTLS("mail.example"), s.dialTLS("mail.example")
	waiting.want("* OK ")
	half.want("* OK ")
	half.send("a AUTHENTICATE PLAIN\r\n")
	half.want("+ ")
	in.want("* OK ")
	in.send("a LOGIN alice right\r\n")
	in.want("a OK ")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() { s.Shutdown(ctx); close(done) }()
	for _, c := range []*client{waiting, half} {
		if said := c.end(); !strings.Contains(said, "* BYE The server is shutting down.") {
			t.Errorf("%q", said)
		}
	}
	// The session is its worker's to end; this worker does not, so it is cut off.
	in.send("still there\r\n")
	in.want("still there")
	in.end()
	<-done
	if c, err := net.Dial("tcp", s.addr["imap"]); err == nil {
		c.Close()
		t.Error("connections are still accepted")
	}
}

// TestListenersAreCounted: how many sessions a listener has is known without a look at
// them, since whoever scrapes asks for it.
func TestListenersAreCounted(t *testing.T) {
	s := newSessions(Default, nil)
	var all []*relay
	for n := range 9 {
		all = append(all, &relay{user: fmt.Sprint("user", n), listener: []string{"imap", "imaps"}[n%2]})
		if why := s.add(all[n]); why != "" {
			t.Fatal(why)
		}
	}
	for range 2 {
		s.remove(all[0])
	}
	s.all = nil
	if got := s.listeners(); len(got) != 2 || got["imap"] != 4 || got["imaps"] != 4 {
		t.Errorf("%v", got)
	}
}

func TestCloseUsers(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("plain"), s.dial("plain")
	for c, name := range map[*client]string{alice: "alice", bob: "bob"} {
		c.want("* OK ")
		c.send("a LOGIN " + name + " right\r\n")
		c.want("a OK ")
	}
	s.CloseUsers(func(user string) bool { return user == "bob" })
	alice.end()
	bob.send("hello\r\n")
	bob.want("hello")
}

// TestFarewell: a session that is ended says its last word, and is none any more before
// it has.
func TestFarewell(t *testing.T) {
	for name, s := range map[string]*served{"relayed": start(t, nil), "hosted": startHosted(t, nil, hosted{})} {
		for _, dial := range []func() *client{func() *client { return s.dial("plain") }, func() *client { return s.dialTLS("mail.example") }} {
			c := dial()
			c.want("* OK ")
			c.send("a LOGIN alice right\r\nhello\r\n")
			c.want("a OK ", "hello")
			id := s.List("alice")[0].ID
			if !s.CloseSession(id) {
				t.Errorf("%s: there is no session", name)
			}
			if s.Sessions() != 0 || s.CloseSession(id) {
				t.Errorf("%s: there is a session yet", name)
			}
			if said := c.end(); said != "gone\r\n" {
				t.Errorf("%s: %q", name, said)
			}
		}
	}
}

// TestFarewellIsShort: neither a client that takes nothing nor a session that says nothing
// keeps a connection, and nobody waits for them.
func TestFarewellIsShort(t *testing.T) {
	for name, s := range map[string]*served{"relayed": start(t, nil), "hosted": startHosted(t, nil, hosted{})} {
		c := s.dialTLS("mail.example")
		c.want("* OK ")
		c.send("a LOGIN alice right\r\n")
		c.want("a OK ")
		c.SetWriteDeadline(time.Now().Add(time.Second))
		for line := strings.Repeat("x", 8000) + "\r\n"; ; {
			if _, err := io.WriteString(c, line); err != nil {
				break // the echo is stuck
			}
		}
		begun := time.Now()
		s.CloseUsers(func(string) bool { return false })
		if d := time.Since(begun); d > farewell/2 {
			t.Errorf("%s: the end of a session took %v", name, d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*farewell)
		defer cancel()
		s.Shutdown(ctx)
		if d := time.Since(begun); d > 5*farewell {
			t.Errorf("%s: the connection was kept for %v", name, d)
		}
	}
}

// panics is an Authenticator with a fault.
type panics struct{}

func (panics) Mechanisms(string) []string { return nil }

func (panics) Authenticate(context.Context, *handoff.Credentials) handoff.Verdict { panic("fault") }

func TestPanicEndsOneConnection(t *testing.T) {
	s := startWith(t, nil, panics{})
	other := s.dial("plain")
	other.want("* OK ")
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	if said := c.end(); said != "" {
		t.Errorf("%q", said)
	}
	other.send("a NOOP\r\n")
	other.want("a OK ")
	if n := s.gate.count(); n != 1 {
		t.Errorf("%d connections are counted", n)
	}
	if log := s.log.String(); !strings.Contains(log, "panic=fault") || strings.Contains(log, "right") {
		t.Errorf("log: %s", log)
	}
}
