package proxy

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

// fake is a server as small as may be, which a test can have misbehave. What real
// ones do is for the tests that have one: TestProxied and cmd/mailstead's.
type fake struct {
	t    *testing.T
	l    net.Listener
	odd  func(c *fakeConn, tag, word string) (done bool) // sees each command first
	caps string
	pass atomic.Value // of everybody

	mu    sync.Mutex
	conns []*fakeConn
}

// fakeConn is one connection to it.
type fakeConn struct {
	net.Conn
	r        *bufio.Reader
	user     string
	selected bool
	said     []string // commands, without their tags
	closed   chan struct{}
}

const fakeCaps = "IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN ID UNSELECT IDLE NOTIFY ENABLE STARTTLS UNAUTHENTICATE"

func newFake(t *testing.T) *fake {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, l: l, caps: fakeCaps}
	f.pass.Store("right")
	t.Cleanup(func() { l.Close() })
	return f
}

func (f *fake) start() *fake {
	go func() {
		for {
			nc, err := f.l.Accept()
			if err != nil {
				return
			}
			c := &fakeConn{Conn: nc, r: bufio.NewReader(nc), closed: make(chan struct{})}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			go func() {
				defer close(c.closed)
				defer nc.Close()
				f.serve(c)
			}()
		}
	}()
	return f
}

// logins gives the connections on which somebody has logged in.
func (f *fake) logins() (all []*fakeConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		if c.user != "" {
			all = append(all, c)
		}
	}
	return all
}

func (f *fake) serve(c *fakeConn) {
	if f.odd != nil && f.odd(c, "", "greeting") {
		return
	}
	fmt.Fprintf(c, "* OK [CAPABILITY %s] Fake ready.\r\n", f.caps)
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			io.WriteString(c, "* BYE connection closed\r\n") // as ours does
			return
		}
		tag, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		f.mu.Lock()
		c.said = append(c.said, rest)
		f.mu.Unlock()
		word, rest, _ := strings.Cut(rest, " ")
		if f.odd != nil && f.odd(c, tag, word) {
			continue
		}
		if !f.command(c, tag, strings.ToUpper(word), rest) {
			return
		}
	}
}

func (f *fake) command(c *fakeConn, tag, word, rest string) bool {
	answer := "OK Done."
	switch word {
	case "AUTHENTICATE":
		answer = f.authenticate(c, rest)
	case "SELECT":
		c.selected = true
		io.WriteString(c, "* 3 EXISTS\r\n")
	case "EXAMINE", "UNSELECT", "CLOSE":
		c.selected = false
		if word == "EXAMINE" {
			answer = "NO There is none."
		}
	case "CHECK":
		if !c.selected {
			answer = "BAD Nothing is selected."
		}
	case "NAMESPACE":
		fmt.Fprintf(c, "* NAMESPACE %s\r\n", c.user)
	case "FETCH":
		io.WriteString(c, "* 1 FETCH (BODY[] {18}\r\n* CAPABILITY STARTT FLAGS ())\r\n")
	case "CAPABILITY":
		fmt.Fprintf(c, "* CAPABILITY %s\r\n", f.caps)
	case "IDLE":
		io.WriteString(c, "+ idling\r\n")
		c.r.ReadString('\n')
	case "APPEND":
		if n, waits, ok := literal([]byte(rest)); ok {
			if waits {
				io.WriteString(c, "+ go on\r\n")
			}
			io.CopyN(io.Discard, c.r, n)
			c.r.ReadString('\n')
		}
	case "NOOP", "ID", "NOTIFY", "ENABLE", "COMPRESS":
	case "LOGOUT":
		fmt.Fprintf(c, "* BYE\r\n%s OK Done.\r\n", tag)
		return false
	default:
		answer = "BAD Unknown command."
	}
	fmt.Fprintf(c, "%s %s\r\n", tag, answer)
	return true
}

func (f *fake) authenticate(c *fakeConn, rest string) string {
	response, _ := sasl(rest)
	if response[1] != f.pass.Load() {
		return "NO [AUTHENTICATIONFAILED] No."
	}
	f.mu.Lock()
	c.user = response[0]
	f.mu.Unlock()
	return "OK [CAPABILITY " + f.caps + "] Logged in."
}

// front makes a proxy in front of the fake.
func (f *fake) front(limits map[string]int64, change ...func(p *config.Proxy)) *Proxy {
	f.t.Helper()
	p := New(discard, Network)
	f.t.Cleanup(p.Close)
	commit, err := p.Prepare(f.config(limits, change...))
	if err != nil {
		f.t.Fatal(err)
	}
	commit()
	return p
}

func (f *fake) config(limits map[string]int64, change ...func(p *config.Proxy)) *config.Config {
	port := f.l.Addr().(*net.TCPAddr).Port
	p := &config.Proxy{Servers: []config.Server{{Host: "127.0.0.1", Port: port, TLS: config.Plain}}}
	for _, c := range change {
		c(p)
	}
	return &config.Config{Listeners: []config.Listener{{Name: "webmail", Proxy: p}}, Limits: limits}
}

var ids atomic.Int64

// credentials are of a connection of their own.
func credentials(user, password string) *handoff.Credentials {
	return &handoff.Credentials{ID: fmt.Sprint(ids.Add(1)), Listener: "webmail", User: user, Password: password, Remote: netip.MustParseAddr("192.0.2.1")}
}

// visitor is a client of a proxy that has logged in.
type visitor struct {
	t testing.TB
	net.Conn
	r      *bufio.Reader
	client *handoff.Client
	done   chan struct{} // closed when its session has ended
}

// visit logs in, having sent something ahead.
func visit(t testing.TB, p *Proxy, user, password, ahead string) *visitor {
	t.Helper()
	c := credentials(user, password)
	v, err := p.Check(t.Context(), c)
	if err != nil || v.User != user {
		t.Fatalf("login of %s: %+v %v", user, v, err)
	}
	return begin(t, p, c.ID, ahead)
}

func begin(t testing.TB, p *Proxy, id, ahead string) *visitor {
	t.Helper()
	serve, err := p.Begin(&handoff.Open{ID: id, Listener: "webmail", Tag: "in"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t, near, bufio.NewReader(near), handoff.NewClient(far, []byte(ahead), time.Hour, func() {}), make(chan struct{})}
	near.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { near.Close(); <-v.done })
	go func() {
		defer close(v.done)
		serve(v.client)
	}()
	return v
}

func (v *visitor) send(s string) {
	v.t.Helper()
	if _, err := io.WriteString(v, s); err != nil {
		v.t.Fatal(err)
	}
}

// until reads up to a line that begins so, and gives everything.
func (v *visitor) until(prefix string) string {
	v.t.Helper()
	var all strings.Builder
	for {
		line, err := v.r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			v.t.Fatalf("no %q in %q: %v", prefix, all.String(), err)
		}
		if strings.HasPrefix(line, prefix) {
			return all.String()
		}
	}
}

// end reads up to the end of the connection, and waits for that of the session.
func (v *visitor) end() string {
	v.t.Helper()
	rest, _ := io.ReadAll(v.r)
	v.Close()
	<-v.done
	return string(rest)
}

// leave logs out.
func (v *visitor) leave() {
	v.t.Helper()
	v.send("out LOGOUT\r\n")
	v.until("out OK ")
	v.end()
}

func count(p *Proxy) control.Proxy { return p.Status()[0] }

// await waits for something that is sure to come.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not " + what)
		}
	}
}

// discard is no log; server1 is nobody.
var (
	discard = slog.New(slog.DiscardHandler)
	server1 server
)
