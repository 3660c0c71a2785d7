package bench

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Crowd is clients that wait in IDLE, each from another address.
type Crowd struct {
	Address  string
	TLS      *tls.Config // nil: in the clear
	User     func(n int) string
	Password string
	Dialers  int // of them at once
	Box      string

	// Again is how often a client that is turned away tries again, each time after
	// twice the time, from a tenth of a second on, as clients do.
	Again int

	mu      sync.Mutex
	clients []*Client
	First   time.Duration // from the start of Join to the first login
	Refused atomic.Int64  // connections that were turned away, and tried again
}

// Join has n clients come, and returns when all are there.
func (c *Crowd) Join(n int) error {
	start := time.Now()
	c.First = 0
	var done sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, c.Dialers)
	for k := range c.Dialers {
		done.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n || errs[k] != nil {
					return
				}
				errs[k] = c.join(i, start)
			}
		})
	}
	done.Wait()
	return errors.Join(errs...)
}

func (c *Crowd) join(i int, start time.Time) error {
	pause := 100 * time.Millisecond
	for try := 0; ; try++ {
		client, err := c.enter(i)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.clients = append(c.clients, client); c.First == 0 {
				c.First = time.Since(start)
			}
			return nil
		}
		// A wrong password is nothing that a client would try again.
		if try >= c.Again || strings.Contains(err.Error(), "AUTHENTICATIONFAILED") {
			return err
		}
		c.Refused.Add(1)
		time.Sleep(pause)
		pause = min(2*pause, 10*time.Second)
	}
}

func (c *Crowd) enter(i int) (*Client, error) {
	client, err := dial(Source(i), c.Address, c.TLS, 512)
	if err != nil {
		return nil, err
	}
	err = client.Exec("LOGIN "+c.User(i)+" "+c.Password, nil)
	if err == nil {
		err = client.Exec("SELECT "+c.Box, nil)
	}
	if err == nil {
		err = client.Idle()
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// Strangers is n connections from addresses that nobody has logged in from, which
// say nothing. It gives how many of them were let in.
func Strangers(address string, n int) (conns []net.Conn, in int) {
	for i := range n {
		d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(Source(5e6 + i))}}
		nc, err := d.Dial("tcp", address)
		if err != nil {
			continue
		}
		conns = append(conns, nc)
	}
	var done sync.WaitGroup
	var count atomic.Int64
	for _, nc := range conns { // who is turned away hears the end at once
		done.Go(func() {
			nc.SetReadDeadline(time.Now().Add(time.Second))
			var b [1]byte
			_, err := nc.Read(b[:])
			var slow net.Error
			if err == nil || errors.As(err, &slow) && slow.Timeout() {
				count.Add(1)
			}
		})
	}
	done.Wait()
	return conns, int(count.Load())
}

// Leave drops all connections.
func (c *Crowd) Leave() {
	for _, client := range c.clients {
		client.Close()
	}
	c.clients = nil
}

// Len is how many are there.
func (c *Crowd) Len() int { return len(c.clients) }
