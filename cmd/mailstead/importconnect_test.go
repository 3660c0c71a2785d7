package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

// connecting has connectFor serve the other end of a channel, and gives how it ends.
func connecting(t *testing.T) (*handoff.Conn, chan error) {
	t.Helper()
	ours, f, err := handoff.Pair()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := handoff.NewConn(f)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- connectFor(t.Context(), theirs)
		theirs.Close()
	}()
	t.Cleanup(func() { ours.Close() })
	return ours, ended
}

// TestConnector: whoever has the channel gets connections to the server that was named
// first, as many as it asks for, and no others.
func TestConnector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "hello %d", n)
			c.Close()
		}
	}()
	server := l.Addr().String()
	c, ended := connecting(t)
	if err := c.Send(&handoff.Reach{Server: server}); err != nil {
		t.Fatal(err)
	}
	r := &connector{server: server, c: c}
	for n := range 3 {
		nc, err := r.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		k, err := nc.Read(buf)
		if want := fmt.Sprint("hello ", n+1); err != nil || string(buf[:k]) != want {
			t.Errorf("%q, %v", buf[:k], err)
		}
		nc.Close()
	}
	l.Close()
	var broken *net.OpError
	if _, err := r.connect(t.Context()); !errors.As(err, &broken) || !strings.HasSuffix(err.Error(), server+": connect: connection refused") {
		t.Errorf("nobody listens: %v", err) // and an import asks again, as it would by itself
	}
	c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestConnectorRefuses: who has been taken over gets to no other server.
func TestConnectorRefuses(t *testing.T) {
	to := &handoff.Reach{Server: "127.0.0.1:1"}
	for _, row := range []struct {
		what string
		say  []handoff.Message
	}{
		{"*handoff.Connect before Reach", []handoff.Message{&handoff.Connect{}}},
		{"unexpected *handoff.Reach", []handoff.Message{to, &handoff.Reach{Server: "192.0.2.1:25"}}},
		{`"192.0.2.1:25" is another server than "127.0.0.1:1"`, []handoff.Message{to, &handoff.Connect{Server: "192.0.2.1:25"}}},
		{"unexpected *handoff.Stop", []handoff.Message{to, &handoff.Stop{}}},
	} {
		c, ended := connecting(t)
		for _, m := range row.say {
			if err := c.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		c.Close() // what was sent is read all the same
		if err := <-ended; err == nil || err.Error() != row.what {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

// TestConnectorGone: when the other end is gone there is an error at once, and when it
// says nothing at the end of its time; neither is taken for a server that may do better.
func TestConnectorGone(t *testing.T) {
	for _, silent := range []bool{true, false} {
		c, f, err := handoff.Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		defer f.Close()
		if !silent {
			f.Close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = (&connector{c: c}).connect(ctx)
		var broken *net.OpError
		if err == nil || errors.As(err, &broken) || errors.Is(err, io.EOF) || !strings.HasPrefix(err.Error(), "who connects to the source is gone: ") {
			t.Errorf("silent %v: %v", silent, err)
		}
	}
}
