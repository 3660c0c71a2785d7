package bench

import (
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Flood is clients that log in and out again, each from another address.
type Flood struct {
	Address  string
	Clients  int                     // at once
	TLS      func(n int) *tls.Config // of login n; nil: in the clear
	User     func(n int) string      // of login n
	Password string

	next atomic.Int64
}

// Rate is what came of a Flood.
type Rate struct {
	Logins   int
	PerSec   float64
	P50, P99 time.Duration // from the connection to the answer of LOGOUT
	Failed   []error       // the first hundred
}

// Source is address n of loopback: all of them are far from each other, since
// servers limit what comes from one net.
func Source(n int) string {
	k := uint32(n)*2654435761>>8&0xffffff | 1
	return fmt.Sprintf("127.%d.%d.%d", max(1, k>>16), k>>8&0xff, min(254, max(1, k&0xff)))
}

// Run logs in for that long.
func (f *Flood) Run(d time.Duration) Rate {
	end := time.Now().Add(d)
	return f.While(func() bool { return time.Now().Before(end) })
}

// While logs in for as long as more says so.
func (f *Flood) While(more func() bool) Rate {
	var mu sync.Mutex
	var rate Rate
	var took []time.Duration
	var done sync.WaitGroup
	start := time.Now()
	for range f.Clients {
		done.Go(func() {
			var own []time.Duration
			for more() {
				began := time.Now()
				err := f.once(int(f.next.Add(1)))
				own = append(own, time.Since(began))
				if err != nil {
					mu.Lock()
					if own = own[:len(own)-1]; len(rate.Failed) < 100 {
						rate.Failed = append(rate.Failed, err)
					}
					mu.Unlock()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	done.Wait()
	rate.Logins = len(took)
	rate.PerSec = float64(len(took)) / time.Since(start).Seconds()
	if slices.Sort(took); len(took) > 0 {
		rate.P50, rate.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return rate
}

func (f *Flood) once(n int) error {
	var secure *tls.Config
	if f.TLS != nil {
		secure = f.TLS(n)
	}
	c, err := dial(Source(n), f.Address, secure, 2<<10)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Exec("LOGIN "+f.User(n)+" "+f.Password, nil); err != nil {
		return err
	}
	return c.Exec("LOGOUT", nil)
}
