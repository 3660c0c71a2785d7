package login

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

// hosted is a Host whose sessions repeat each line. "bye" ends one, UNAUTHENTICATE
// gives its connection back, and bob is never answered.
type hosted struct{ refuse error }

func (h hosted) Begin(o *handoff.Open) (func(*handoff.Client), error) {
	return func(c *handoff.Client) {
		defer c.Close()
		if o.User == "bob" {
			io.Copy(io.Discard, c)
			return
		}
		fmt.Fprintf(c, "%s OK here\r\n", o.Tag)
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			switch {
			case err != nil || line == "bye\r\n":
				io.WriteString(c, "gone\r\n")
				return
			case line == "UNAUTHENTICATE\r\n":
				rest, _ := r.Peek(r.Buffered())
				c.GiveBack([]byte("back OK\r\n"), rest)
				return
			}
			io.WriteString(c, line)
		}
	}, h.refuse
}

func startHosted(t *testing.T, change func(l *Limits), h hosted) *served {
	t.Helper()
	s := start(t, change)
	s.host = h
	return s
}

// What is sent ahead, and megabytes in both directions, come whole through a
// session in the login's process.
func TestHostCarriesEverything(t *testing.T) {
	s := startHosted(t, nil, hosted{})
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\nahead\r\n")
	c.want("a OK ", "ahead")
	var sent bytes.Buffer
	for size := 1; sent.Len() < 1<<20; size = size*3/2 + 1 {
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
	if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what came back is not what was sent: %v", err)
	}
	c.send("bye\r\n")
	if said := c.end(); said != "gone\r\n" {
		t.Errorf("%q", said)
	}
	s.settle(t, 0, 0)
}

// A connection comes back from a session, again and again, and what was sent
// ahead with it.
func TestHostGivesBack(t *testing.T) {
	s := startHosted(t, nil, hosted{})
	for _, dial := range []func() *client{func() *client { return s.dial("plain") }, func() *client { return s.dialTLS("mail.example") }} {
		c := dial()
		c.want("* OK ")
		c.send("a LOGIN alice right\r\nUNAUTHENTICATE\r\nb NOOP\r\nc LOGIN alice right\r\nUNAUTHENTICATE\r\nd NOOP\r\n")
		c.want("a OK here", "back OK", "b OK ", "c OK here", "back OK", "d OK ")
		c.send("e LOGIN alice right\r\n")
		c.want("e OK here")
		s.settle(t, 1, 0)
		c.send("UNAUTHENTICATE\r\n")
		c.want("back OK")
		s.settle(t, 0, 1)
		c.send("f LOGOUT\r\n")
		c.want("* BYE ", "f OK ")
		c.end()
		s.settle(t, 0, 0)
	}
}

// A login that the session does not answer is answered for it.
func TestHostDoesNotAnswer(t *testing.T) {
	s := startHosted(t, func(l *Limits) { l.Answer = 100 * time.Millisecond }, hosted{})
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	c.send("a LOGIN bob right\r\n")
	c.want("a NO [UNAVAILABLE] ", "* BYE ")
	c.end()
	s.settle(t, 0, 0)
	// One that has answered may be silent for as long as it likes.
	c = s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a OK ")
	time.Sleep(200 * time.Millisecond)
	c.send("hello\r\n")
	c.want("hello")
}

// Sessions of a user who is no more end, whatever they wait for.
func TestHostCut(t *testing.T) {
	s := startHosted(t, nil, hosted{})
	alice, bob := s.dialTLS("mail.example"), s.dial("plain")
	for _, c := range []*client{alice, bob} {
		c.want("* OK ")
	}
	alice.send("a LOGIN alice right\r\n")
	alice.want("a OK ")
	bob.send("b LOGIN bob right\r\n")
	s.settle(t, 2, 0)
	s.CloseUsers(func(user string) bool { return user == "alice" })
	bob.end()
	s.settle(t, 1, 0)
	s.CloseUsers(func(string) bool { return false })
	alice.end()
	s.settle(t, 0, 0)
}

// Where there is no session, the client may try again.
func TestHostRefuses(t *testing.T) {
	s := startHosted(t, nil, hosted{refuse: errors.New("no such user")})
	c := s.dialTLS("mail.example")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	c.want("a NO [UNAVAILABLE] ")
	c.send("b NOOP\r\n")
	c.want("b OK ")
	s.settle(t, 0, 1)
}
