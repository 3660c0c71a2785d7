package siege_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// open is limits that let a crowd in, so that what one connection costs is seen
// and not how few there may be.
func open() map[string]int64 {
	return map[string]int64{
		"loginTime": loginTime, "waiting": 100_000, "dropFrom": 100_000, "waitingPerAddress": 10_000, "newPerAddress": 1_000_000,
		"delay": 0, "longestDelay": 0, "guessesPerAddress": 10_000, "guessesPerAddressAndDay": 1_000_000, "guessesPerUser": 10_000, "guessesPerUserAndDay": 1_000_000,
	}
}

// loginTime is how long the daemon bears with a connection, in seconds.
const loginTime = 30

// hostile is a behaviour. It returns once the daemon has closed the connection, which
// is at loginTime for those that are held, and before it for all others.
type hostile struct {
	name     string
	listener string
	many     int // clients of the whole number
	held     bool
	act      func(c net.Conn)
}

// perConnection is what a connection before login may cost, in kB.
const perConnection = 32

var behaviours = []hostile{
	{"T01 endless line", "imap", 1000, false, func(c net.Conn) {
		for line, sent := bytes.Repeat([]byte("A"), 64<<10), 0; sent < 20<<20; sent += len(line) {
			if _, err := c.Write(line); err != nil {
				return
			}
		}
		drain(c)
	}},
	{"T02 huge literal", "plain", 1000, false, func(c net.Conn) {
		io.WriteString(c, "a LOGIN {18446744073709551616+}\r\n")
		drain(c)
	}},
	{"T03 many literals", "plain", 1000, false, func(c net.Conn) {
		io.WriteString(c, "a LOGIN"+strings.Repeat(" {100+}\r\n"+strings.Repeat("x", 100), 3000)+"\r\n")
		drain(c)
	}},
	{"T04 nested parentheses", "imap", 1000, true, func(c net.Conn) {
		io.WriteString(c, "a ID "+strings.Repeat("(", 4000))
		drain(c)
	}},
	{"T05 slowloris", "imap", 5000, true, func(c net.Conn) {
		go func() {
			for range 60 {
				if _, err := io.WriteString(c, "a"); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		}()
		drain(c)
	}},
	{"T05 slow handshake", "imaps", 1000, true, func(c net.Conn) {
		io.WriteString(c, "\x16\x03\x01\x02\x00\x01")
		drain(c)
	}},
	{"T05 nobody reads the greeting", "imap", 1000, true, func(c net.Conn) {
		c.(*net.TCPConn).SetReadBuffer(1)
		time.Sleep(20 * time.Second)
		drain(c)
	}},
}

// drain reads until the daemon closes.
func drain(c net.Conn) { io.Copy(io.Discard, c) }

// TestSiege has all of them at once. Whoever has a password logs in throughout,
// every hostile connection is closed at its time at the latest, and none costs
// more than its part of memory.
func TestSiege(t *testing.T) {
	d := start(t, open())
	if err := d.visit(); err != nil {
		t.Fatal(err)
	}
	files, before := d.files(), d.status("VmRSS")
	o := d.owner()
	var all sync.WaitGroup
	var closed, held, connections atomic.Int64
	for kind, h := range behaviours {
		for i := range scaled(h.many, 20) {
			connections.Add(1)
			all.Go(func() {
				c, err := d.dialFrom(net.IPv4(127, 1, byte(kind), byte(1+i%200)), h.listener)
				if err != nil {
					t.Errorf("%s: %v", h.name, err)
					return
				}
				defer c.Close()
				if h.held {
					held.Add(1)
				}
				begun := time.Now()
				c.SetDeadline(begun.Add(3 * time.Minute))
				h.act(c)
				if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: the connection is open after %v", h.name, time.Since(begun))
					return
				}
				if took := time.Since(begun); !h.held && took >= loginTime*time.Second || whole && took > (loginTime+10)*time.Second {
					t.Errorf("%s: closed after %v only", h.name, took)
				}
				closed.Add(1)
			})
		}
	}
	peak := before
	finished := make(chan struct{})
	go func() { all.Wait(); close(finished) }()
	for running := true; running; {
		select {
		case <-finished:
			running = false
		case <-time.After(500 * time.Millisecond):
			peak = max(peak, d.status("VmRSS"))
		}
	}
	o.end(t)
	if closed.Load() != connections.Load() {
		t.Errorf("%d of %d were closed", closed.Load(), connections.Load())
	}
	each := (peak - before) / held.Load()
	t.Logf("%d connections, %d of them held: %d MB before, %d MB at the most: %d kB each of those held", connections.Load(), held.Load(), before>>10, peak>>10, each)
	if each > perConnection {
		t.Errorf("%d kB for a connection, more than %d", each, perConnection)
	}
	for deadline := time.Now().Add(10 * time.Second); d.files() > files+5; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors are left, there were %d before", d.files(), files)
		}
	}
}

// TestFlood has more strangers than there may be connections, from one net and
// from everywhere. There are never more than the limits say, the listener goes
// on, and whoever has logged in before logs in throughout.
func TestFlood(t *testing.T) {
	for name, source := range map[string]func(i int) net.IP{
		"one /24":       func(i int) net.IP { return net.IPv4(127, 9, 9, byte(i)) },
		"10000 sources": func(i int) net.IP { return net.IPv4(127, byte(16+i%200), byte(i/200), byte(1+i%250)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, nil)
			if err := d.visit(); err != nil {
				t.Fatal(err)
			}
			before := d.status("VmRSS")
			var conns []net.Conn
			for i := range scaled(10_000, 5) {
				c, err := d.dialFrom(source(i), "imap")
				if err != nil {
					t.Fatalf("connection %d: %v", i, err)
				}
				defer c.Close()
				conns = append(conns, c)
			}
			kept := 0
			for _, c := range conns {
				c.SetReadDeadline(time.Now().Add(10 * time.Second))
				if n, _ := c.Read(make([]byte, 100)); n > 0 {
					kept++
				}
			}
			for range 20 {
				if err := d.visit(); err != nil {
					t.Errorf("a user is denied: %v", err)
				}
			}
			t.Logf("%d of %d connections were let in; %d MB more", kept, len(conns), (d.status("VmRSS")-before)>>10)
			// Four /26 of three addresses' worth each, which may be less than what is dropped at random.
			if want := map[string]int{"one /24": 360, "10000 sources": 1000}[name]; kept > want || kept < 200 {
				t.Errorf("%d are not from 200 to %d", kept, want)
			}
		})
	}
}
