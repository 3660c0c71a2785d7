package session

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

// TestHungUpInLogin is of a session that has the client's connection itself, with TLS and
// without. A client that has more to say is there still.
func TestHungUpInLogin(t *testing.T) {
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	pair := web.TLS.Certificates
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		l.Close()
		if err != nil {
			t.Fatal(err)
		}
		if version != 0 {
			client = tls.Client(client, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
			server = tls.Server(server, &tls.Config{Certificates: pair})
			done := make(chan error)
			go func() { done <- server.(*tls.Conn).Handshake() }()
			if err := client.(*tls.Conn).Handshake(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		lent := handoff.NewClient(server, nil, time.Hour, func() {})
		probe := newConn(lent)
		if probe.hungUp() {
			t.Errorf("%x: a client that is silent is taken for one that has gone", version)
		}
		say := func(text string) {
			t.Helper()
			if _, err := client.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		hear := func(text string) {
			t.Helper()
			if _, err := io.ReadFull(lent, make([]byte, len(text))); err != nil {
				t.Fatal(err)
			}
		}
		say("a")
		if probe.hungUp() {
			t.Errorf("%x: a client that has said little is taken for one that has gone", version)
		}
		hear("a")
		if version == 0 { // beneath TLS, all that there is can be read at once
			say("b SEARCH BODY more\r\n")
			client.(*net.TCPConn).CloseWrite()
			time.Sleep(50 * time.Millisecond)
			if probe.hungUp() {
				t.Errorf("%x: what a client has said last is not waited for", version)
			}
			hear("b SEARCH BODY more\r\n")
		}
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); !probe.hungUp(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%x: a client that has gone is not noticed", version)
			}
		}
		lent.Close()
	}
}
