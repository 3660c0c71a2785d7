package login

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

// returning is an Opener whose workers give the connection back once they have
// read a line, and have taken their time.
type returning struct{ pause time.Duration }

func (r returning) Open(_ context.Context, o *handoff.Open) (hangs func(), err error) {
	c, err := handoff.Stream(o.Stream)
	if err != nil {
		return nil, err
	}
	go func() {
		defer c.Close()
		fmt.Fprintf(c, "%s OK here\r\n", o.Tag)
		var got []byte
		buf := make([]byte, 1000)
		for !bytes.Contains(got, []byte("\n")) {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			got = append(got, buf[:n]...)
		}
		_, rest, _ := bytes.Cut(got, []byte("\n"))
		c.CloseRead()
		time.Sleep(r.pause)
		handoff.GiveBack(c, o.Token, []byte("back OK\r\n"), rest)
	}()
	return func() {}, nil
}

// TestComesBack logs in again and again on one connection, which is counted as
// what it is each time.
func TestComesBack(t *testing.T) {
	s := start(t, nil)
	s.opener = returning{}
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	for range 3 {
		c.send("a LOGIN alice right\r\n")
		c.want("a OK here")
		s.settle(t, 1, 0)
		c.send("UNAUTHENTICATE\r\n")
		c.want("back OK")
		s.settle(t, 0, 1)
		c.send("b SELECT x\r\n")
		c.want("b BAD ")
	}
	// What is sent ahead reaches the login in its order.
	c.send("a LOGIN alice right\r\nUNAUTHENTICATE\r\nc NOOP\r\nd LOGIN alice right\r\nUNAUTHENTICATE\r\ne NOOP\r\n")
	c.want("a OK here", "back OK", "c OK ", "d OK here", "back OK", "e OK ")
	c.send("f LOGOUT\r\n")
	c.want("* BYE ", "f OK ")
	c.end()
	s.settle(t, 0, 0)
}

// What the client sends while the worker takes no more is for the login.
func TestComesBackLate(t *testing.T) {
	s := start(t, nil)
	s.opener = returning{pause: 50 * time.Millisecond}
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a OK here")
	c.send("UNAUTHENTICATE\r\n")
	time.Sleep(10 * time.Millisecond)
	c.send("b NOOP\r\n")
	c.want("back OK", "b OK ")
}

// settle waits until so many connections are logged in, and so many are not.
func (s *served) settle(t *testing.T, in, out int) {
	t.Helper()
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if s.Sessions() == in && s.gate.count() == out {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d are logged in and %d are not, want %d and %d", s.Sessions(), s.gate.count(), in, out)
		}
	}
}

// A wrong password counts on after UNAUTHENTICATE.
func TestComesBackWithFailures(t *testing.T) {
	s := start(t, func(l *Limits) { l.Failures = 2 })
	s.opener = returning{}
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	c.send("a LOGIN alice wrong\r\nb LOGIN alice right\r\nUNAUTHENTICATE\r\nc LOGIN alice wrong\r\n")
	c.want("a NO ", "b OK here", "back OK", "c NO ", "* BYE ")
	c.end()
}

// A session that is ended as it gives the connection back ends with it.
func TestEndedComingBack(t *testing.T) {
	s := start(t, nil)
	s.opener = returning{pause: 100 * time.Millisecond}
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a OK here")
	c.send("UNAUTHENTICATE\r\n")
	time.Sleep(30 * time.Millisecond)
	if !s.CloseSession(s.List("alice")[0].ID) {
		t.Error("there is no session")
	}
	if said := c.end(); said != "" {
		t.Errorf("it is served yet: %q", said)
	}
}

// An exchange is bound to the certificate that the client has seen, whatever a reload has
// brought since, be it none.
func TestBoundComingBack(t *testing.T) {
	d := &driven{}
	s := startWith(t, nil, d)
	s.opener = returning{}
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	c.send("a AUTHENTICATE SCRAM-SHA-256-PLUS dHdv\r\n")
	c.want("a OK here")
	for _, bundles := range [][]Bundle{{bundle(t, "mail.example")}, nil} {
		with := testConfig()
		if bundles == nil {
			with.Listeners = with.Listeners[2:]
		}
		if err := s.Update(with, bundles); err != nil {
			t.Fatal(err)
		}
		c.send("UNAUTHENTICATE\r\n")
		c.want("back OK")
		c.send("b AUTHENTICATE SCRAM-SHA-256-PLUS dHdv\r\n")
		c.want("b OK here")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.seen[0].Exchange.Bindings["tls-server-end-point"]
	for i, e := range d.seen {
		if got := e.Exchange.Bindings["tls-server-end-point"]; len(got) == 0 || !bytes.Equal(got, first) {
			t.Errorf("exchange %d is bound to %x, the first one to %x", i, got, first)
		}
	}
}
