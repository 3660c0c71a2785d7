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
