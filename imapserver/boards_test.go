package imapserver

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/login"
)

// refused tells whether a connection is closed at once. Who is let in hears a greeting,
// or nothing where TLS comes first.
func refused(t *testing.T, addr string) bool {
	t.Helper()
	c := dialRaw(t, addr)
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := c.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}

func dialRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestBoardsOfLogins: what one login counts the other goes by, while auth is away and
// when another one has come, until it hears that the first is gone.
func TestBoardsOfLogins(t *testing.T) {
	l := *impatient(time.Minute)
	l.PerSource = 3
	one, two := startLogin(t, &l, testConfig(t.TempDir())), startLogin(t, &l, testConfig(t.TempDir()))
	one.Send(&handoff.Board{Listener: "imap", Memory: two.board})
	two.Send(&handoff.Board{Listener: "imap", Memory: one.board})
	one.state(false) // it has read them
	two.state(false)
	one.dial()
	one.dial()
	two.dial()
	wantFull := func(f *testLogin, when string, full bool) {
		t.Helper()
		if refused(t, f.addr) != full {
			t.Errorf("%s: it is not so", when)
		}
	}
	wantFull(one, "a fourth of an address, of two listeners", true)
	wantFull(two, "a fourth of an address, at the other one", true)
	one.Close()
	wantFull(one, "without auth", true)
	one.meet()
	one.configure(settingsOf(t, testConfig(t.TempDir()), nil, one.cert))
	one.state(false)
	wantFull(one, "with an auth that has not said who is there", true)
	one.Send(&handoff.Boards{Listeners: []string{"imap", "imaps"}})
	one.state(false)
	wantFull(one, "with one that has", true)
	two.stop() // what it has counted last is still there to be read
	one.Send(&handoff.Boards{Listeners: []string{"imaps"}})
	one.state(false)
	wantFull(one, "without the other login", false)
}

// withBoard is a login up to its settings, which has a board.
func (p *testParted) withBoard(listener string) (*handoff.Conn, *handoff.Settings) {
	p.t.Helper()
	b, err := login.NewBoard()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { b.File.Close() })
	c := p.connect()
	c.Send(&handoff.Hello{Listener: listener, Board: b.File, Sockets: []*os.File{listening(p.t, "tcp", "127.0.0.1:0")}})
	return c, receive[*handoff.Settings](p.t, c)
}

// TestBoardsTold: a login is given the boards of the others before it accepts, and
// told of those that are gone once all have had the time to come back.
func TestBoardsTold(t *testing.T) {
	p := startParted(t, partedConfig(t.TempDir()))
	wantBoard := func(c *handoff.Conn, of string) {
		t.Helper()
		m := receive[*handoff.Board](t, c)
		defer m.Memory.Close()
		if m.Listener != of {
			t.Errorf("the board of %q, not of %q", m.Listener, of)
		}
	}
	wantAll := func(c *handoff.Conn, names ...string) {
		t.Helper()
		if m := receive[*handoff.Boards](t, c); !slices.Equal(m.Listeners, names) {
			t.Errorf("there are said to be %q, not %q", m.Listeners, names)
		}
	}
	finish := func(c *handoff.Conn) {
		c.Send(&handoff.Ready{Serial: receive[*handoff.Commit](t, c).Serial})
		c.Send(&handoff.State{Serial: receive[*handoff.Query](t, c).Serial, Data: []byte("{}")})
	}
	one, m := p.withBoard("imap")
	one.Send(&handoff.Ready{Serial: m.Serial})
	finish(one)
	two, m := p.withBoard("imaps")
	two.Send(&handoff.Ready{Serial: m.Serial})
	wantBoard(two, "imap") // before Commit
	finish(two)
	wantBoard(one, "imaps")

	// Who has a listener that nobody has described has no say, nor who has no board.
	stranger, m := p.withBoard("other")
	stranger.Send(&handoff.Ready{Serial: m.Serial})
	finish(stranger)
	p.login("imap")

	p.settle()
	wantBoard(one, "imaps")
	wantAll(one, "imap", "imaps")
	wantBoard(two, "imap")
	wantAll(two, "imap", "imaps")
	two.Close()
	wantAll(one, "imap")
	two, m = p.withBoard("imaps")
	two.Send(&handoff.Ready{Serial: m.Serial})
	wantBoard(two, "imap")
	wantAll(two, "imap", "imaps")
	finish(two)
	wantBoard(one, "imaps")
}

// TestBoardOfDeadLogin: a login that dies in a reload, before it is its turn there, is
// not told of again, and the others stay.
func TestBoardOfDeadLogin(t *testing.T) {
	p := startParted(t, partedConfig(t.TempDir()))
	boarded := func(listener string) (c *handoff.Conn, d *door) {
		c, m := p.withBoard(listener)
		c.Send(&handoff.Ready{Serial: m.Serial})
		waitUntil(t, func() bool {
			p.boarding.Lock()
			defer p.boarding.Unlock()
			d = p.boards[listener]
			return d != nil
		})
		return c, d
	}
	_, dead := boarded("imap")
	two, d := boarded("imaps")
	dead.cancel()
	p.unboarded(dead)
	p.boarded(dead)
	if err := d.Send(&handoff.Mechanisms{}); err != nil {
		t.Errorf("another login: %v", err)
	}
	p.settle()
	for {
		m, err := two.Receive()
		if err != nil {
			t.Fatalf("another login is let go of: %v", err)
		}
		if m, ok := m.(*handoff.Boards); ok {
			if !slices.Equal(m.Listeners, []string{"imaps"}) {
				t.Errorf("there are said to be %q", m.Listeners)
			}
			return
		}
	}
}

// TestLimitsOfAllListeners has processes share what one address may have, through the
// death of auth and of a login.
func TestLimitsOfAllListeners(t *testing.T) {
	p := startProcessesWith(t, func(p *processes) []config.User {
		p.c.Logins = &config.Logins{Keep: filepath.Join(p.dir, "run", "auth")}
		if err := os.Mkdir(p.c.Logins.Keep, 0o700); err != nil {
			t.Fatal(err)
		}
		giveAway(t, p.c.Logins.Keep, serviceUID)
		return nil
	})
	p.c.Limits = map[string]int64{"waitingPerAddress": 3, "sessionsPerAddress": 3}
	p.write(p.users())
	if out, err := exec.Command(p.program, "ctl", "reload", "--config", p.path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	plain, implicit := p.st.Listeners[0].Address, p.st.Listeners[1].Address
	hold := func(addr string) {
		t.Helper()
		c := dialRaw(t, addr)
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); n == 0 && err == io.EOF {
			t.Fatalf("%s: refused\n%s", addr, p.log)
		}
	}
	hold(plain)
	hold(implicit)
	hold(implicit)
	if !refused(t, plain) || !refused(t, implicit) {
		t.Errorf("a fourth connection of an address, at two listeners\n%s", p.log)
	}
	p.kill("auth", serviceUID)
	if !refused(t, plain) {
		t.Error("a fourth while auth is away")
	}
	p.eventually("auth is not back", func() bool {
		return exec.Command(p.program, "ctl", "status", "--control", p.c.Control).Run() == nil
	})
	if !refused(t, plain) {
		t.Error("a fourth once it is back")
	}
	p.kill("imaps", loginUID) // and with it two of them
	p.eventually("a login that is gone is still counted", func() bool { return !refused(t, plain) })
	p.eventually("a login does not come back", func() bool { return !refused(t, implicit) })

	// The same of sessions.
	p.login("alice")
	p.login("bob")
	p.plain("virtual1")
	c := dialTLS(t, implicit, &tls.Config{ServerName: "mail.example", RootCAs: pool(t, p.cert)})
	c.send("a LOGIN virtual2 pw-virtual2\r\n")
	if said := c.until("a "); !strings.Contains(said, "a NO [LIMIT] Too many connections of this address.") {
		t.Errorf("a fourth session of an address: %q", said)
	}
	for _, fault := range []string{"cannot be read", "this listener alone", "panic"} {
		if log := p.log.String(); strings.Contains(log, fault) {
			t.Errorf("%s:\n%s", fault, log)
		}
	}
}
