package siege_test

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// sample is a mean and what is needed for a variance.
type sample struct{ n, sum, squares float64 }

func (s *sample) add(x float64) { s.n, s.sum, s.squares = s.n+1, s.sum+x, s.squares+x*x }

func (s *sample) variance() float64 { return (s.squares - s.sum*s.sum/s.n) / (s.n - 1) }

// welch is the t of Welch's test for two means.
func welch(a, b *sample) float64 {
	return (a.sum/a.n - b.sum/b.n) / math.Sqrt(a.variance()/a.n+b.variance()/b.n)
}

// TestNobodyIsToldApart refuses logins of a user whom there is, of one whom there
// is not and of one whose name is longer than any (T17): to the octet the same
// answer, and with MAILSTEAD_SIEGE=1 the same time over 10,000 samples of each. In
// these tests nothing may hang on time, so that otherwise there are ten of each.
func TestNobodyIsToldApart(t *testing.T) {
	// Two of each, so that none comes to the end of what may be guessed at one.
	names := [][2]string{{"alice", "bob"}, {"nobdy", "nob"}, {strings.Repeat("long", 100), strings.Repeat("lang", 100)}}
	for delay := range int64(2) {
		limits := open()
		limits["delay"], limits["longestDelay"], limits["failedLogins"] = delay, delay, 10
		d := start(t, limits)
		took := make([]sample, len(names))
		var mu sync.Mutex
		answers := map[string]bool{}
		refuse := func(source net.IP, i int) {
			raw, err := d.dialFrom(source, "plain")
			if err != nil {
				t.Error(err)
				return
			}
			defer raw.Close()
			c := newClient(t, raw)
			c.until("* OK ")
			begun := time.Now()
			io.WriteString(c, fmt.Sprintf("a LOGIN %s wrong%d\r\n", names[i][rand.IntN(2)], rand.Uint64()))
			said := c.until("a ")
			passed := time.Since(begun).Seconds()
			mu.Lock()
			defer mu.Unlock()
			took[i].add(passed)
			answers[said] = true
		}
		// With a delay many wait at once; without, one after the other.
		at := 1 + 99*int(delay)
		var all sync.WaitGroup
		for worker := range at {
			all.Go(func() {
				for n := range max(1, 3*scaled(10_000, 1000)/at) {
					refuse(net.IPv4(127, 2, byte(worker), byte(1+n%250)), rand.IntN(len(names)))
				}
			})
		}
		all.Wait()
		if len(answers) > 1 {
			t.Errorf("they are told apart: %v", answers)
		}
		if !whole {
			continue
		}
		for i := range names[1:] {
			v := welch(&took[0], &took[i+1])
			t.Logf("delay %d s: %.5f s for %.10s (%v times), %.5f s for %.10s: t = %.2f", delay, took[0].sum/took[0].n, names[0][0], took[0].n, took[i+1].sum/took[i+1].n, names[i+1][0], v)
			// No user has a name that is too long, so that nothing is told by its time: it is not hashed.
			if len(names[i+1][0]) <= 255 && math.Abs(v) > 4.5 {
				t.Errorf("they differ: t = %.2f", v)
			}
		}
	}
}
