package auth

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"mailstead/imapserver/config"
)

// listening gives the address of somebody who takes connections and says nothing.
func listening(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// TestSilentServer leaves the next server its time when the first takes connections
// and does not answer.
func TestSilentServer(t *testing.T) {
	silent, next := "ldaps://"+listening(t), "ldap://"+listening(t)
	d := newDialer(config.LDAP{Servers: []string{silent, next}, Bounds: config.Bounds{Timeout: 1}}, slog.New(slog.DiscardHandler))
	c, err := d.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.end()
	if len(d.down) != 1 || d.down[silent].err == nil {
		t.Errorf("left alone: %v", d.down)
	}
}

// TestGivenUp does not take a server for one that is down because nobody has waited
// for it.
func TestGivenUp(t *testing.T) {
	d := newDialer(config.LDAP{Servers: []string{"ldap://" + listening(t)}, Bounds: config.Bounds{Timeout: 1}}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.dial(ctx); !errors.Is(err, context.Canceled) || len(d.down) != 0 {
		t.Errorf("%v; left alone: %v", err, d.down)
	}
}

// TestLargeMessage closes the connection to a server that begins a message of 16 MiB: it
// would be held in memory, whoever sent it, before TLS too.
func TestLargeMessage(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newLDAP(config.Directory{LDAP: &config.LDAP{Servers: []string{"ldap://" + l.Addr().String()}, Bounds: config.Bounds{Timeout: 30, Connections: 1}}}, Default, slog.New(slog.DiscardHandler))
	c, err := d.binds.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.end()
	c.raw.SetDeadline(time.Time{}) // as of one that is idle
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.Write([]byte{0x30, 0x84, 1, 0, 0, 0})
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
}
