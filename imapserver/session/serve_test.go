package session

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/wire"
)

// bare is a session without mail, for what needs none. Mailbox commands panic.
func bare() (Params, *syncBuffer) {
	log := new(syncBuffer)
	return Params{User: "alice", Log: slog.New(slog.NewTextHandler(log, nil))}, log
}

func TestServeGreets(t *testing.T) {
	p, log := bare()
	p.Tag = "x1"
	p.Without = append(p.Without, "ID")
	c := connect(t, p)
	c.send("b NOOP\r\nc LOGOUT\r\n")
	got := c.answer("c")
	want := "x1 OK [CAPABILITY " + strings.Replace(string(wire.AppendCapabilities(nil, wire.PhaseAuth, "UNAUTHENTICATE")), " ID", "", 1) + "] logged in\n" +
		"b OK NOOP completed\n* BYE logging out\nc OK LOGOUT completed"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := c.wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), `msg=disconnect user=alice reason="logged out" commands=2`) {
		t.Errorf("log: %s", log)
	}
}

func TestSimpleCommands(t *testing.T) {
	p, _ := bare()
	c := connect(t, p)
	c.want("CAPABILITY", "* CAPABILITY "+string(wire.AppendCapabilities(nil, wire.PhaseAuth, "UNAUTHENTICATE"))+"\na OK CAPABILITY completed")
	c.want("NAMESPACE", `* NAMESPACE (("" ".")) NIL NIL`+"\na OK NAMESPACE completed")
	c.want(`ID ("name" "test")`, `* ID ("name" "Mailstead")`+"\na OK ID completed")
	c.want("ENABLE X UTF8=ACCEPT", "* ENABLED UTF8=ACCEPT\na OK ENABLE completed")
	c.want("ENABLE UTF8=ACCEPT", "* ENABLED\na OK ENABLE completed")
	c.want("FETCH 1 UID", "a BAD FETCH is not possible now")
	c.want("LOGIN a b", "a BAD LOGIN is not possible now")

	p.Namespace = "INBOX."
	p.Without = append(p.Without, "UTF8=ACCEPT", "IDLE")
	c = connect(t, p)
	c.want("NAMESPACE", `* NAMESPACE (("INBOX." ".")) NIL NIL`+"\na OK NAMESPACE completed")
	c.want("ENABLE UTF8=ACCEPT", "* ENABLED\na OK ENABLE completed")
	c.want("IDLE", "a BAD unknown command")
}

// A client that makes no sense is sent away, and nothing that it sent comes
// back (an HTTP request would otherwise be a way to make the server say things).
func TestBadCommands(t *testing.T) {
	p, _ := bare()
	c := connect(t, p)
	for range wire.PostAuth.Bad {
		c.send("POST /canary HTTP/1.1\r\n")
	}
	rest, _ := io.ReadAll(c.br)
	if strings.Contains(string(rest), "canary") || !strings.HasSuffix(string(rest), "* BYE too many bad commands\r\n") {
		t.Errorf("got %s", rest)
	}
	if err := c.wait(); err == nil {
		t.Error("Serve says that all is well")
	}
}

// A panic ends its session and no other, and is found in the log by its id.
func TestPanic(t *testing.T) {
	p, log := bare()
	c := connect(t, p)
	c.send("a SELECT INBOX\r\n")
	line := c.line()
	id, ok := strings.CutPrefix(line, "* BYE internal error ")
	c.wait()
	if !ok || !strings.Contains(log.String(), "id="+id) || !strings.Contains(log.String(), "selectMailbox") {
		t.Errorf("got %s, log %s", line, log)
	}
}

// The log says who left how.
func TestReasons(t *testing.T) {
	for input, want := range map[string]string{
		"":                          `reason="client closed the connection"`,
		"a NO":                      `reason="client closed the connection in the middle of a command"`,
		"a IDLE\r\n":                `reason="client closed the connection in the middle of a command"`,
		"a SELECT {9999999+}\r\nxx": `reason="client closed the connection in the middle of a command"`,
		"a LOGOUT\r\n":              `reason="logged out"`,
	} {
		p, log := bare()
		c := connect(t, p)
		c.send(input)
		if input == "a IDLE\r\n" {
			c.line()
		}
		c.conn.(*net.UnixConn).CloseWrite()
		c.wait()
		if !strings.Contains(log.String(), want) {
			t.Errorf("after %q: %s", input, log)
		}
		if last := c.line(); !strings.HasPrefix(last, "* BYE ") { // for who still listens
			t.Errorf("after %q: %q", input, last)
		}
	}
}

func TestStop(t *testing.T) {
	for _, input := range []string{"", "a IDLE\r\n", "a NOOP\r\nb NO"} {
		p, _ := bare()
		c := connect(t, p)
		if input != "" {
			c.send(input)
			c.line()
		}
		c.stop()
		if got := c.line(); got != "* BYE [UNAVAILABLE] server is stopping, try again soon" {
			t.Errorf("after %q: %s", input, got)
		}
		if err := c.wait(); err != nil {
			t.Errorf("after %q: %v", input, err)
		}
	}
}

// TestBroken: who has to come back because of a fault of ours is not told that the
// server stops, nor is the log.
func TestBroken(t *testing.T) {
	for _, input := range []string{"", "a IDLE\r\n", "a NOOP\r\nb NO"} {
		p, log := bare()
		c := connect(t, p)
		if input != "" {
			c.send(input)
			c.line()
		}
		c.broken()
		if got := c.line(); got != "* BYE [UNAVAILABLE] the mailboxes have to be opened anew, try again soon" {
			t.Errorf("after %q: %s", input, got)
		}
		if err := c.wait(); err != nil {
			t.Errorf("after %q: %v", input, err)
		}
		if !strings.Contains(log.String(), `reason="the account is opened anew, after a fault"`) {
			t.Errorf("after %q: %s", input, log)
		}
	}
}

func TestAutologout(t *testing.T) {
	for _, input := range []string{"", "a IDLE\r\n", "a NO"} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := bare()
			ours, theirs := net.Pipe()
			c := serve(t, p, ours, theirs)
			start := time.Now()
			if input != "" {
				c.send(input)
			}
			b, _ := io.ReadAll(c.br)
			if d := time.Since(start); d != autologout || !strings.HasSuffix(string(b), "* BYE no command for too long\r\n") {
				t.Errorf("after %q: %q after %v", input, b, d)
			}
			if err := c.wait(); !errors.Is(err, errIdle) {
				t.Error(err)
			}
		})
	}
}

// A client that sends and never reads must not keep its session for ever.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := bare()
		ours, theirs := net.Pipe()
		c := serve(t, p, ours, theirs)
		c.send("a NOOP\r\n")
		time.Sleep(stall - time.Second)
		synctest.Wait()
		if len(c.ended) > 0 {
			t.Error("ended too early")
		}
		time.Sleep(time.Second)
		if err := c.wait(); !errors.Is(err, errStall) {
			t.Error(err)
		}
	})
}

// A command that does not end is given time when the server stops, not for ever.
func TestStopGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := bare()
		ours, theirs := net.Pipe()
		c := serve(t, p, ours, theirs)
		c.send("a CAPABILITY\r\n") // and nobody reads the answer
		synctest.Wait()
		c.stop()
		time.Sleep(grace - time.Second)
		synctest.Wait()
		if len(c.ended) > 0 {
			t.Error("ended too early")
		}
		time.Sleep(time.Second)
		c.wait()
	})
}

// A search that is broken off when the server stops is answered, and BYE said.
func TestStopSearch(t *testing.T) {
	s := newServer(t)
	s.params.grace = 50 * time.Millisecond
	s.deliver("1000.M1P1.host", "Subject: x\n\n"+strings.Repeat("hay and hay again\n", large/17))
	c := s.connect()
	c.ok("SELECT INBOX")
	for range cap(parsing) { // as if others were at it, and took long
		parsing.take(t.Context())
	}
	defer func() {
		for range cap(parsing) {
			parsing.give()
		}
	}()
	c.send("a SEARCH BODY needle\r\n")
	time.Sleep(20 * time.Millisecond)
	c.stop()
	want := "a NO [UNAVAILABLE] server is stopping\r\n* BYE [UNAVAILABLE] server is stopping, try again soon\r\n"
	if said, err := io.ReadAll(c.br); err != nil || string(said) != want {
		t.Errorf("%q, %v", said, err)
	}
}

func TestHungUp(t *testing.T) {
	p, _ := bare()
	c := connect(t, p)
	local := c.conn.(*net.UnixConn)
	probe := newConn(local)
	if probe.hungUp() {
		t.Error("a live connection is taken for a closed one")
	}
	c.stop()
	c.wait()
	c.line()
	if !probe.hungUp() {
		t.Error("a closed connection is not noticed")
	}
}
