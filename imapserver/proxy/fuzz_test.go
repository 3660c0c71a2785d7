package proxy

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/oracle"
)

// FuzzSession has client and server say anything to a session. It ends, and what the
// client hears is what the server has said, but for lines about capabilities, the
// answer to the login and the words of the proxy's own.
func FuzzSession(f *testing.F) {
	f.Add([]byte("a SELECT INBOX\r\nb FETCH 1 BODY[]\r\nc LOGOUT\r\n"), []byte("* 1 EXISTS\r\na OK\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\nb OK\r\n"))
	f.Add([]byte("a APPEND x {3}\r\nabc\r\nb IDLE\r\nDONE\r\n"), []byte("+ go\r\na OK\r\n+ idling\r\nb OK\r\n* BYE\r\n"))
	f.Add([]byte("a COMPRESS DEFLATE\r\n\x00\x01\n"), []byte("a OK\r\n\x00\xff"))
	f.Add([]byte("a LOGIN {5}\r\na NOOP {3+}\r\nabc {2+}\r\n\r\n"), []byte("a BAD {3}\r\n* X {3+}\r\n* CAPABILITY\r\n"))
	f.Fuzz(func(t *testing.T, client, server []byte) {
		p := New(discard, Network)
		defer p.Close()
		commit, err := p.Prepare(&config.Config{Listeners: []config.Listener{{Name: "webmail", Proxy: &config.Proxy{
			Servers: []config.Server{{Host: "127.0.0.1", Port: 1, TLS: config.Plain}},
		}}}, Limits: map[string]int64{"proxyPatience": 1, "stall": 1}})
		if err != nil {
			t.Fatal(err)
		}
		commit()
		near, far := net.Pipe()
		clientEnd, proxyEnd := net.Pipe()
		go io.Copy(io.Discard, far)
		go func() { far.Write(server); far.Close() }()
		go func() { clientEnd.Write(client) }()
		heard := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(clientEnd)
			heard <- all
		}()
		l := newLink(&server1, near)
		s := newSession(p.front("webmail"), l, handoff.NewClient(proxyEnd, nil, time.Hour, func() {}), "in")
		done := make(chan bool)
		var all []byte
		oracle.OnceCost(t, (len(client)+len(server))>>16, func() {
			go func() { done <- s.serve() }()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("the session does not end")
			}
			all = <-heard
		})
		if upper := strings.ToUpper(string(client) + string(server)); !strings.Contains(upper, "CAPABILITY") && !strings.Contains(upper, "LOGOUT") {
			_, all, _ = bytes.Cut(all, []byte("in OK Logged in.\r\n"))
			all, _, _ = bytes.Cut(all, []byte("* BYE [UNAVAILABLE] The server behind"))
			if !bytes.HasPrefix(server, all) {
				t.Errorf("the server said %q, the client heard %q", server, all)
			}
		}
	})
}
