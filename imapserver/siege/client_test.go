package siege_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// client is a client that expects answers.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func newClient(t testing.TB, c net.Conn) *client {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &client{c, t, bufio.NewReader(c)}
}

// dial connects to a listener, under TLS where it begins with that, and reads the greeting.
func (d *daemon) dial(t testing.TB, listener string) *client {
	t.Helper()
	c, err := net.Dial("tcp", d.addr[listener])
	if err != nil {
		t.Fatal(err)
	}
	if listener == "imaps" {
		c = tls.Client(c, d.trust())
	}
	cl := newClient(t, c)
	cl.until("* OK ")
	return cl
}

// login is a session of alice.
func (d *daemon) login(t testing.TB) *client {
	t.Helper()
	c := d.dial(t, "plain")
	c.send("login LOGIN alice wonder\r\n")
	c.until("login OK ")
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// until reads lines up to one that begins so, and gives it.
func (c *client) until(prefix string) string {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("no %q but %q: %v", prefix, line, err)
		}
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
}

// rest is what the daemon says until it closes. That it resets what it has not
// read is as good as a close; that it stays is an error.
func (c *client) rest() (string, error) {
	said, err := io.ReadAll(c.r)
	if err != nil && (strings.Contains(err.Error(), "connection reset") || strings.Contains(err.Error(), "broken pipe")) {
		err = nil
	}
	return string(said), err
}

// starttls goes over to TLS.
func (d *daemon) starttls(c *client) *client {
	c.t.Helper()
	c.send("s STARTTLS\r\n")
	c.until("s OK ")
	t := tls.Client(c.Conn, d.trust())
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return newClient(c.t, t)
}

// owner is a client with a password, who logs in again and again from an address
// that nobody else has.
type owner struct {
	done   chan struct{}
	over   sync.WaitGroup
	took   []time.Duration
	denied []error
}

func (d *daemon) owner() *owner {
	o := &owner{done: make(chan struct{})}
	o.over.Go(func() {
		for {
			select {
			case <-o.done:
				return
			case <-time.After(50 * time.Millisecond):
			}
			start := time.Now()
			if err := d.visit(); err != nil {
				o.denied = append(o.denied, err)
			}
			o.took = append(o.took, time.Since(start))
		}
	})
	return o
}

// visit logs in, and leaves.
func (d *daemon) visit() error {
	raw, err := d.dialFrom(net.IPv4(127, 0, 0, 77), "imaps")
	if err != nil {
		return err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	c := tls.Client(raw, d.trust())
	if _, err := io.WriteString(c, "a LOGIN alice wonder\r\nb LOGOUT\r\n"); err != nil {
		return err
	}
	said, err := io.ReadAll(c)
	if err == nil && !strings.Contains(string(said), "a OK ") {
		err = fmt.Errorf("refused: %q", said)
	}
	return err
}

// end says how it went: no login may have been denied.
func (o *owner) end(t testing.TB) {
	t.Helper()
	close(o.done)
	o.over.Wait()
	if len(o.denied) > 0 || len(o.took) == 0 {
		t.Errorf("%d of %d logins of a user were denied, the first by: %v", len(o.denied), len(o.took), append(o.denied, nil)[0])
		return
	}
	slices.Sort(o.took)
	most := o.took[len(o.took)*99/100]
	t.Logf("%d logins of a user meanwhile: half of them within %v, 99 of 100 within %v", len(o.took), o.took[len(o.took)/2], most)
	if whole && most > time.Second {
		t.Errorf("99 of 100 logins of a user take up to %v", most)
	}
}
