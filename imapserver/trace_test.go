package imapserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

// traced is what a trace has told so far.
type traced struct {
	t  *testing.T
	mu sync.Mutex
	b  strings.Builder
}

// traceOf begins a trace of a user, which stop ends.
func traceOf(t *testing.T, socket, user string) (seen *traced, stop func()) {
	t.Helper()
	seen = &traced{t: t}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- control.Trace(ctx, socket, control.Request{User: user}, func(l control.TraceLine) error {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			fmt.Fprintf(&seen.b, "%s %v %s\n", l.Session, l.Server, l.Text)
			return nil
		})
	}()
	return seen, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func (s *traced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// has waits until it has told all of that.
func (s *traced) has(want ...string) {
	s.t.Helper()
	var missing string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		missing = ""
		for _, w := range want {
			if !strings.Contains(s.String(), w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
	}
	s.t.Fatalf("no %q in\n%s", missing, s)
}

// traces has alice's dialogue seen, before her login and after, of sessions that there
// are and that come, and nobody else's.
func traces(t *testing.T, socket string, dial func() *client) {
	t.Helper()
	old := dial()
	old.send("a LOGIN alice pw-alice\r\n")
	old.until("a OK")
	bob := dial()
	bob.send("a LOGIN bob pw-bob\r\n")
	bob.until("a OK")
	seen, stop := traceOf(t, socket, "alice")
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(seen.String(), "NOOP"); time.Sleep(10 * time.Millisecond) {
		old.send("b NOOP\r\n")
		old.until("b OK")
		if time.Now().After(deadline) {
			t.Fatal("the session that there is says nothing")
		}
	}
	bob.send("b CREATE bobs\r\n")
	bob.until("b OK")
	wrong := dial()
	wrong.send("w ID (\"name\" \"Test\")\r\nx LOGIN alice {5+}\r\nwrong\r\n")
	wrong.until("x NO")
	seen.has(" false x LOGIN (masked) {5+}\n", " true x NO [AUTHENTICATIONFAILED]")
	wrong.send("y AUTHENTICATE PLAIN\r\n")
	wrong.until("+")
	wrong.send("AGFsaWNlAHB3LWFsaWNl\r\n") // alice, pw-alice
	wrong.until("y OK")
	text := "Subject: secret\r\n\r\n"
	wrong.send(fmt.Sprintf("z APPEND INBOX {%d+}\r\n%s\r\nz1 SELECT INBOX\r\nz2 FETCH 1 BODY[]\r\nz3 COMPRESS DEFLATE\r\n", len(text), text))
	wrong.until("z3 OK")
	seen.has(" false y AUTHENTICATE PLAIN\n", " false (masked)\n", " true y OK [CAPABILITY ", " false z1 SELECT INBOX\n", " true * 1 EXISTS\n", " true z2 OK", " true z3 OK", " true (19 octets)\n")
	stop()
	for _, secret := range []string{"wrong", "pw-", "AGFsaWNl", "secret", "bob"} {
		if strings.Contains(seen.String(), secret) {
			t.Errorf("%q is told:\n%s", secret, seen)
		}
	}
	if n := strings.Count(seen.String(), "SELECT INBOX\n"); n != 1 {
		t.Errorf("told %d times:\n%s", n, seen)
	}
	err := control.Trace(t.Context(), socket, control.Request{User: "nobody"}, func(control.TraceLine) error { return nil })
	if err == nil || !strings.Contains(err.Error(), `no user "nobody"`) {
		t.Errorf("nobody: %v", err)
	}
}

// tracedInline is a daemon that can be traced at a socket, and what connects to it.
func tracedInline(t *testing.T) (i *Inline, socket string, dial func() *client) {
	t.Helper()
	dir := t.TempDir()
	c := testConfig(dir)
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	i, addr, _ := inline(t, c, []config.User{testUser(t, dir, "alice"), testUser(t, dir, "bob")}, cert)
	socket = filepath.Join(dir, "asked")
	l, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{server: i, log: Options{}.log()}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- control.Server{Answer: r.answer, Trace: r.trace}.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-served })
	return i, socket, func() *client {
		c := dialTLS(t, addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)})
		c.until("* OK")
		return c
	}
}

func TestTrace(t *testing.T) {
	i, socket, dial := tracedInline(t)
	traces(t, socket, dial)
	for deadline := time.Now().Add(10 * time.Second); len(i.traces.list()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the trace goes on without anybody who looks")
		}
	}
}

// TestTwoTraces: two who look at one user both see the sessions that begin later, once, and
// the one goes on when the other has gone.
func TestTwoTraces(t *testing.T) {
	i, socket, dial := tracedInline(t)
	one, stopOne := traceOf(t, socket, "alice")
	two, stopTwo := traceOf(t, socket, "alice")
	waitUntil(t, func() bool { return len(i.traces.list()) == 2 })
	c := dial()
	c.send("a LOGIN alice pw-alice\r\nb SELECT INBOX\r\n")
	c.until("b OK")
	for _, seen := range []*traced{one, two} {
		seen.has(" true b OK")
		if n := strings.Count(seen.String(), "SELECT INBOX\n"); n != 1 {
			t.Errorf("told %d times:\n%s", n, seen)
		}
	}
	stopOne()
	c.send("c NOOP\r\nd EXAMINE INBOX\r\n")
	c.until("d OK")
	two.has(" false d EXAMINE INBOX\n", " true d OK")
	stopTwo()
}

// TestStoppedTrace: somebody who looks and takes nothing, as who is stopped, holds up neither
// the session, nor who looks beside, nor the end of the daemon, and is told later how many
// lines are missing.
func TestStoppedTrace(t *testing.T) {
	i, socket, dial := tracedInline(t)
	goOn, lost := make(chan struct{}), make(chan int64, 1)
	go control.Trace(t.Context(), socket, control.Request{User: "alice"}, func(l control.TraceLine) error {
		<-goOn
		if l.Lost > 0 {
			lost <- l.Lost
			return context.Canceled
		}
		return nil
	})
	two, stopTwo := traceOf(t, socket, "alice")
	waitUntil(t, func() bool { return len(i.traces.list()) == 2 })
	c := dial()
	c.send("a LOGIN alice pw-alice\r\n")
	c.until("a OK")
	long := strings.Repeat("x", 1000)
	for n := range 12 { // 6,000 lines
		for m := range 250 {
			c.send(fmt.Sprintf("c%d.%d LIST \"\" %s\r\n", n, m, long))
		}
		c.until(fmt.Sprintf("c%d.249 OK", n))
		two.has(fmt.Sprintf(" true c%d.249 OK", n))
	}
	close(goOn)
	for deadline := time.After(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c.send("d NOOP\r\n") // the number comes with the next line
		c.until("d OK")
		select {
		case n := <-lost:
			if n < 100 || n > 6000 {
				t.Errorf("%d lines are missing", n)
			}
			stopTwo()
			return
		case <-deadline:
			t.Fatal("nobody says that lines are missing")
		default:
		}
	}
}

// TestStoppedTraceEnds: the daemon ends although somebody looks who takes nothing.
func TestStoppedTraceEnds(t *testing.T) {
	here, there := net.Pipe() // of no room
	defer there.Close()
	from, f, err := handoff.Pair()
	if err != nil {
		t.Fatal(err)
	}
	to, err := handoff.NewConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		pass(ctx, from, here)
		close(ended)
	}()
	if err := to.Send(&handoff.Traced{Text: "a"}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it waits for who takes nothing")
	}
}

func TestTraceOfProcesses(t *testing.T) {
	p := startProcesses(t)
	traces(t, p.c.Control, func() *client {
		c := dialTLS(t, p.st.Listeners[1].Address, &tls.Config{ServerName: "mail.example", RootCAs: pool(t, p.cert)})
		c.until("* OK")
		return c
	})
	if log := p.log.String(); !strings.Contains(log, "trace begins") || !strings.Contains(log, "user=alice") {
		t.Errorf("log:\n%s", log)
	}
}
