package login

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

// TestRelayCarriesEverything sends a few megabytes there and back, in pieces of
// every size, under TLS.
func TestRelayCarriesEverything(t *testing.T) {
	s := start(t, nil)
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a OK ")
	var sent bytes.Buffer
	for size := 1; sent.Len() < 4<<20; size = size*3/2 + 1 {
		piece := make([]byte, size)
		rand.Read(piece)
		for i := range piece {
			piece[i] = 'a' + piece[i]%26
		}
		sent.Write(piece)
		sent.WriteString("\r\n")
	}
	want := bytes.Clone(sent.Bytes())
	go io.Copy(c, &sent)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("what came back is not what was sent")
	}
}

// TestHalfClose lets a worker finish what a client has asked for before it
// stopped sending.
func TestHalfClose(t *testing.T) {
	s := start(t, nil)
	for _, listener := range []string{"plain", "imaps"} {
		c := s.dial("plain")
		if listener == "imaps" {
			c = s.dialTLS("mail.example")
		}
		c.want("* OK ")
		c.send("a LOGIN alice right\r\n")
		c.want("a OK ")
		c.send("last\r\n")
		switch conn := c.Conn.(type) {
		case *net.TCPConn:
			conn.CloseWrite()
		case *tls.Conn:
			conn.CloseWrite()
		}
		if said := c.end(); said != "last\r\ngone\r\n" {
			t.Errorf("%s: %q", listener, said)
		}
	}
}

// TestWorkerEnds closes the client's connection in order when the worker does.
func TestWorkerEnds(t *testing.T) {
	s := start(t, nil)
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\nbye\r\n")
	c.want("a OK ", "gone")
	if _, err := c.r.ReadByte(); err != io.EOF { // TLS closed with close_notify
		t.Errorf("%v", err)
	}
}

// silent is an Opener whose worker never answers, until it is killed if it can
// be.
type silent struct {
	mortal bool

	mu     sync.Mutex
	killed int
}

func (w *silent) Open(_ context.Context, o *handoff.Open) (hangs func(), err error) {
	stream, err := handoff.Stream(o.Stream)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.killed++; w.mortal {
			stream.Close()
		}
	}, err
}

// TestWorkerHangs answers a login whose worker does not, and ends the session.
func TestWorkerHangs(t *testing.T) {
	const answer = 200 * time.Millisecond
	s := start(t, func(l *Limits) { l.Answer = answer })
	for i, mortal := range []bool{false, true} {
		w := &silent{mortal: mortal}
		s.opener = w
		c := s.dialTLS("mail.example")
		c.want("* OK ")
		begun := time.Now()
		c.send("tag1 LOGIN alice right\r\nb NOOP\r\n")
		c.want("tag1 NO [UNAVAILABLE] ", "* BYE ")
		if d := time.Since(begun); d < answer || d > 20*answer {
			t.Errorf("answered after %v", d)
		}
		if rest := c.end(); rest != "" {
			t.Errorf("%q", rest)
		}
		w.mu.Lock()
		if w.killed != 1 {
			t.Errorf("%d times said that it hangs", w.killed)
		}
		w.mu.Unlock()
		if n := strings.Count(s.log.String(), `msg="worker has not answered a login" addr=`); n != i+1 {
			t.Errorf("%d lines in %s", n, s.log)
		}
	}
	// One that has answered may be silent for as long as it likes.
	s.opener = s.echo
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a OK ")
	time.Sleep(2 * answer)
	c.send("hello\r\n")
	c.want("hello")
}

// TestWorkerDiesEarly answers for a worker that takes a session and is gone.
func TestWorkerDiesEarly(t *testing.T) {
	s := start(t, nil)
	w := &dead{}
	s.opener = w
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a NO [UNAVAILABLE] ", "* BYE ")
	c.end()
	if w.blamed.Load() {
		t.Error("what is gone is said to hang")
	}
}

// dead is an Opener whose worker has closed its end.
type dead struct{ blamed atomic.Bool }

func (d *dead) Open(_ context.Context, o *handoff.Open) (hangs func(), err error) {
	return func() { d.blamed.Store(true) }, o.Stream.Close()
}

// TestStall cuts a client off that takes nothing of what it is sent.
func TestStall(t *testing.T) {
	s := start(t, func(l *Limits) { l.Stall = 100 * time.Millisecond })
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a OK ")
	c.Conn.(*net.TCPConn).SetReadBuffer(4096)
	line := strings.Repeat("x", 8000) + "\r\n"
	for {
		if _, err := io.WriteString(c, line); err != nil {
			break // the echo is stuck, and then everything
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for s.Sessions() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the session is still there")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// late is an Opener and an Authenticator that take their time.
type late struct {
	users
	*echo
	asked, answer chan bool
}

func (l *late) Open(ctx context.Context, o *handoff.Open) (hangs func(), err error) {
	l.asked <- true
	<-l.answer
	return l.echo.Open(ctx, o)
}

func (l *late) Authenticate(ctx context.Context, c *handoff.Credentials) handoff.Verdict {
	l.asked <- true
	<-l.answer
	return l.users.Authenticate(ctx, c)
}

// TestLeaveDuringLogin: a session that begins as the server leaves is seen off like those
// that there are.
func TestLeaveDuringLogin(t *testing.T) {
	for name, begin := range map[string]func(s *served, l *late){
		"as a worker is asked for":             func(s *served, l *late) { s.opener = l },
		"as the password of one is checked":    func(s *served, l *late) { s.auth = l },
		"as that of a session here is checked": func(s *served, l *late) { s.auth, s.host = l, hosted{} },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			l := &late{users{"alice"}, s.echo, make(chan bool), make(chan bool)}
			begin(s, l)
			c := s.dialTLS("mail.example")
			c.want("* OK ")
			c.send("a LOGIN alice right\r\n")
			<-l.asked
			left := make(chan time.Duration)
			go func() {
				begun := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				s.Leave(ctx)
				left <- time.Since(begun)
			}()
			<-s.ctx.Done()
			time.Sleep(50 * time.Millisecond)
			close(l.answer)
			c.want("a OK ", "gone")
			c.end()
			if took := <-left; took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
