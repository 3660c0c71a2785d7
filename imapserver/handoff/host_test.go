package handoff

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// A session that answers after the login gave it up says nothing to the client.
func TestClientTooLate(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	late := make(chan bool)
	c := NewClient(theirs, nil, time.Millisecond, func() { close(late) })
	<-late
	if _, err := c.Write([]byte("a OK\r\n")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	c.Close()
	if said, err := io.ReadAll(ours); len(said) > 0 {
		t.Errorf("%q %v", said, err)
	}
}

// A session that was ended reads nothing more, whatever it waits for and has been sent.
func TestClientEnds(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	c := NewClient(theirs, []byte("ahead"), time.Hour, func() {})
	defer c.Close()
	b := make([]byte, 1)
	c.Read(b)
	if c.Ended() {
		t.Error("it has ended already")
	}
	if c.End(); !c.Ended() {
		t.Error("a session that reads nothing cannot tell")
	}
	c.SetDeadline(time.Time{})
	c.SetReadDeadline(time.Now().Add(time.Hour))
	if n, err := c.Read(b); n != 0 || !errors.Is(err, ErrEnded) || !errors.Is(err, io.EOF) {
		t.Errorf("%q %v", b[:n], err)
	}
	go c.Write([]byte("* BYE\r\n"))
	said := make([]byte, 7)
	if _, err := io.ReadFull(ours, said); err != nil {
		t.Errorf("%q %v", said, err)
	}

	// It may be in the middle of reading.
	_, theirs = net.Pipe()
	c = NewClient(theirs, nil, time.Hour, func() {})
	defer c.Close()
	read := make(chan error)
	go func() {
		_, err := c.Read(b)
		read <- err
	}()
	time.Sleep(10 * time.Millisecond)
	c.End()
	if err := <-read; !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
}
