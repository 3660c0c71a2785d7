package bench_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/bench"
)

// TestBenchLoadStorm has all clients come back at once after a restart, and then
// strangers take all the places that there are for them.
func TestBenchLoadStorm(t *testing.T) {
	if !chosen(t)("storm") {
		t.Skip("not asked for")
	}
	n := min(count(t, "MAILSTEAD_BENCH_SESSIONS", 5_000), descriptors(t)/2-1500)
	for _, s := range loadServers(t, people(loadUsers)) {
		n := n
		if s.name == "dovecot" { // which has a process for each
			n = min(n, 1000)
		}
		s.tls = secure(nil)
		s.up(t)
		t.Cleanup(s.down)
		c := crowd(s)
		if err := c.Join(n); err != nil {
			t.Fatal(err)
		}
		s.down()
		c.Leave()
		s.again(t)
		c.Dialers, c.Refused = n, atomic.Int64{}
		most := peak(s)
		took := timed(t, func() error { return c.Join(n) })
		fmt.Printf("| %d clients under TLS at once after a restart | %s | the first is in after %s, all after %s | %d times turned away | %d MiB at most |\n",
			n, s.name, show(c.First), show(took), c.Refused.Load(), most()>>10)
		if s.name != "dovecot" {
			strangers(t, s, c)
		}
		c.Leave()
		s.down()
	}
}

// peak gives the greatest memory until the function that it returns is called.
func peak(s *server) (most func() int64) {
	stop, result := make(chan bool), make(chan int64)
	go func() {
		var top int64
		for {
			n, _ := bench.Memory(s.daemon.Process.Pid)
			top = max(top, n)
			select {
			case <-stop:
				result <- top
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(stop); return <-result }
}

// strangers fill the places of those who are not logged in; clients that were
// there before are let in all the same.
func strangers(t *testing.T, s *server, c *bench.Crowd) {
	t.Helper()
	conns, in := bench.Strangers(s.address, 3000)
	defer func() {
		for _, nc := range conns {
			nc.Close()
		}
	}()
	var took []time.Duration
	for i := range 200 {
		took = append(took, timed(t, func() error {
			client, err := bench.Dial(bench.Source(1+i), s.address, s.tls)
			if err != nil {
				return fmt.Errorf("known client %d: %w", i, err)
			}
			defer client.Close()
			return client.Login(c.User(1+i), password)
		}))
	}
	slices.Sort(took)
	fmt.Printf("| 3000 silent strangers: %d are let in | %s | 200 of 200 known clients log in beside them | median %s, p99 %s |\n",
		in, s.name, show(took[100]), show(took[197]))
}

// TestBenchLoadSoak prints what there is of memory and descriptors while clients
// do everything for a long time.
func TestBenchLoadSoak(t *testing.T) {
	if !chosen(t)("soak") {
		t.Skip("not asked for")
	}
	d := duration(t, "MAILSTEAD_BENCH_SOAK", 5*time.Minute)
	for _, s := range loadServers(t, people(loadUsers))[:2] {
		s.up(t)
		t.Cleanup(s.down)
		warmed := mixed(t, s, d/10, 1)
		start, commands := time.Now(), warmed.Commands.Load()
		var at []time.Duration
		var memory, files []int64
		for round := int64(2); time.Since(start) < d; round++ {
			commands += mixed(t, s, d/20, round).Commands.Load()
			n, err := bench.Memory(s.daemon.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			at, memory, files = append(at, time.Since(start)), append(memory, n), append(files, int64(bench.Descriptors(s.daemon.Process.Pid)))
		}
		t.Logf("%s: KiB %d, descriptors %d", s.name, memory, files)
		fmt.Printf("| soak of %s | %s | %d commands, no error of state | memory %d to %d MiB, %+.1f MiB an hour | descriptors %d to %d |\n", d, s.name, commands,
			memory[0]>>10, memory[len(memory)-1]>>10, slope(at, memory)/1024, files[0], files[len(files)-1])
		s.down()
	}
}

// slope is the growth in an hour, by least squares.
func slope(at []time.Duration, values []int64) float64 {
	var x, y, xx, xy float64
	for i := range at {
		h, v := at[i].Hours(), float64(values[i])
		x, y, xx, xy = x+h, y+v, xx+h*h, xy+h*v
	}
	n := float64(len(at))
	return (n*xy - x*y) / (n*xx - x*x)
}
