package auth

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/config"
)

// TestBruteForce has guessers by the thousand against one account, in each way in
// which they may be spread, for two minutes: few guesses are heard, and the owner
// logs in all the while from where they have logged in before (T16).
func TestBruteForce(t *testing.T) {
	for name, tt := range map[string]struct {
		source func(i int) string
		heard  int // at the most
	}{
		"one address":     {always("198.51.100.1"), int(Default.SourceDay)},
		"1000 addresses":  {func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) }, int(Default.AccountDay)},
		"one /64 of IPv6": {func(i int) string { return fmt.Sprintf("2001:db8::%x:%x", i, i*7) }, int(Default.SourceDay)},
		"1000 /64":        {func(i int) string { return fmt.Sprintf("2001:db8:%x::1", i) }, int(Default.AccountDay)},
		"the owner's net": {func(i int) string { return fmt.Sprintf("192.0.2.%d", i%250) }, int(Default.AccountDay)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := newAuth(t, Default, nil, virtual(t, "alice", "right"))
				if v, _ := try(a, "192.0.2.254", "alice", "right"); v.User == "" {
					t.Fatal("the owner cannot log in")
				}
				done := make(chan struct{})
				heard := 0
				go func() {
					defer close(done)
					for start := time.Now(); time.Since(start) < 2*time.Minute; {
						heard += guess(a, 1000, tt.source, always("alice"))
					}
				}()
				for running := true; running; {
					select {
					case <-done:
						running = false
					case <-time.After(7 * time.Second):
						if v, d := try(a, "192.0.2.254", "alice", "right"); v.User != "alice" || d > 2*time.Second {
							t.Errorf("the owner: %+v after %v", v, d)
						}
					}
				}
				if heard > tt.heard || heard == 0 {
					t.Errorf("%d guesses were heard, more than %d or none", heard, tt.heard)
				}
			})
		})
	}
}

// TestTablesInMemory fills everything that is remembered of guesses, and beyond
// (T16): it has 65,536 entries each, and 16 MB at the most.
func TestTablesInMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	g := newGuesses(Default)
	now := time.Unix(1e9, 0)
	for i := range 3 * Default.Table {
		source := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		p := g.pair(fmt.Sprint("user", i), source)
		g.wrong(p, "guess", now)
		g.right(p, now)
		g.fault(p, now)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for name, n := range map[string]int{"sources": len(g.sources.m), "accounts": len(g.accounts.m), "homes": len(g.homes.m), "tried": len(g.tried.m), "faults": len(g.faults.m)} {
		if n > 1<<16 {
			t.Errorf("%s has %d entries", name, n)
		}
	}
	used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%.1f MB", float64(used)/(1<<20))
	if used > 16<<20 {
		t.Errorf("%.1f MB", float64(used)/(1<<20))
	}
	runtime.KeepAlive(g)
}

// TestTablesFull fills the tables with single guesses, each at another name from another
// source: who comes after them is held to their quota all the same, and so is what was
// guessed at before (T16).
func TestTablesFull(t *testing.T) {
	l := Default
	l.Table = 1024
	g := newGuesses(l)
	now := time.Unix(1e9, 0)
	guesses := func(user string, source func(i int) string) (heard int) {
		for i := range 100 {
			if p := g.pair(user, from(source(i))); g.admit(p, now) == "" {
				g.wrong(p, fmt.Sprint("guess ", i), now)
				heard++
			}
		}
		return heard
	}
	burst := func(minute float64) int { return int(burst * minute) }
	guesses("before", always("192.0.2.1"))
	for i := range 4 * l.Table {
		g.wrong(g.pair(fmt.Sprint("user", i), from(fmt.Sprintf("2001:db8:0:%x::1", i))), "guess", now)
	}
	if heard := guesses("before", always("192.0.2.1")); heard != 0 {
		t.Errorf("%d guesses of one whose quota was used up", heard)
	}
	if heard := guesses("after", always("2001:db8:1::1")); heard > burst(l.SourceMinute) {
		t.Errorf("%d guesses of one source", heard)
	}
	if heard := guesses("alice", func(i int) string { return fmt.Sprintf("2001:db8:2:%x::1", i) }); heard > burst(l.AccountMinute) {
		t.Errorf("%d guesses at one account", heard)
	}
	if n := len(g.sources.m); n > l.Table {
		t.Errorf("%d sources", n)
	}
}

// TestSameWork counts what is done for a name that there is and for one that there
// is not (T17): a hash of the same cost, the same answer, the same line but for
// its reason.
func TestSameWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := []config.User{virtual(t, "alice", "right"), virtual(t, "bob", "right")}
		a, _ := newAuth(t, Default, nil, users...)
		hashed := map[string]int{}
		table := a.table.Load()
		counted := func(h Hash, what string) Hash {
			verify := h.verify
			h.verify = func(password []byte) bool { hashed[what]++; return verify(password) }
			return h
		}
		like := table.like.Load()
		cost := like.dummy.cost
		like.dummy = counted(like.dummy, "dummy")
		for name, u := range table.users {
			h := counted(*u.hash.Load(), name)
			if u.hash.Store(&h); h.cost != cost {
				t.Errorf("%s: %s, the dummy has %s", name, h.cost, cost)
			}
		}
		for i, name := range []string{"alice", "bob", "nobody", "alic", "alicee"} {
			clear(hashed)
			v, d := try(a, fmt.Sprintf("192.0.2.%d", i), name, "wrong")
			if v.Code != refused.code || v.Text != refused.text || d != Default.Delay {
				t.Errorf("%s: %+v after %v", name, v, d)
			}
			want := map[string]int{name: 1}
			if _, exists := table.users[name]; !exists {
				want = map[string]int{"dummy": 1}
			}
			if fmt.Sprint(hashed) != fmt.Sprint(want) {
				t.Errorf("%s: hashes of %v", name, hashed)
			}
		}
	})
}
