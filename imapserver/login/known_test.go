package login

import (
	"net/netip"
	"testing"
	"time"
)

// stranger is one of many sources that share no net.
func stranger(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(10 + i>>8), byte(i), 0, 1})
}

// filled is a gate with so many connections of strangers.
func filled(l Limits, open int) *gate {
	g := newGate(l, nil)
	g.open = open
	return g
}

// TestKnownSources has a flood of strangers shut out strangers alone.
func TestKnownSources(t *testing.T) {
	l := Default
	l.PerSource, l.NewMinute = 1<<30, 1<<30
	at := time.Unix(1e9, 0)
	home, mobile := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	g := filled(l, l.Full-1)
	g.loggedIn(home, at)
	g.loggedIn(mobile, at)
	for range 200 { // a stranger would have to be lucky at 1% each time
		for _, addr := range []netip.Addr{home, netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("2001:db8::ffff:1")} {
			if why := g.enter(addr, false, at); why != "" {
				t.Fatalf("%s below the limit: %s", addr, why)
			}
			g.leave(addr, false)
		}
	}
	g.open = l.Full
	for i := range l.Reserve {
		if g.enter(stranger(i), false, at) == "" {
			t.Fatal("a stranger above the limit")
		}
		if why := g.enter(home, false, at); why != "" {
			t.Fatalf("%d of the reserve: %s", i, why)
		}
	}
	if g.enter(home, false, at) == "" {
		t.Error("more than the reserve")
	}

	// They are known for a while, and have no more places than others.
	g = filled(l, l.Full)
	g.loggedIn(home, at)
	if why := g.enter(home, false, at.Add(l.KnownLife)); why != "" {
		t.Errorf("after a month: %s", why)
	}
	if g.enter(home, false, at.Add(l.KnownLife+time.Second)) == "" {
		t.Error("after more than a month")
	}
	l.PerSource = 2
	g = newGate(l, nil)
	g.loggedIn(home, at)
	g.enter(home, false, at)
	g.enter(home, false, at)
	if g.enter(home, false, at) == "" {
		t.Error("a known source beyond the limit of one")
	}
}

func TestKnownIsBounded(t *testing.T) {
	l := Default
	l.Known = 3
	at := time.Unix(1e9, 0)
	g := newGate(l, nil)
	g.loggedIn(netip.Addr{}, at) // no address, as of no TCP connection
	for i := range 3 {
		g.loggedIn(stranger(i), at.Add(time.Duration(i)*time.Minute))
	}
	g.loggedIn(stranger(0), at.Add(time.Hour)) // now the second is the oldest
	g.loggedIn(stranger(3), at.Add(time.Hour))
	g.open = l.Full
	for i, want := range []bool{true, false, true, true} {
		if got := g.enter(stranger(i), false, at.Add(time.Hour)) == ""; got != want {
			t.Errorf("source %d is known: %v", i, got)
		}
	}
	for i := range 1000 {
		g.loggedIn(stranger(i), at.Add(2*time.Hour))
	}
	if len(g.known.where) != 3 || g.known.order.Len() != 3 {
		t.Errorf("%d sources, %d in order", len(g.known.where), g.known.order.Len())
	}
	g.loggedIn(stranger(5), at.Add(l.KnownLife*2))
	if len(g.known.where) != 1 || g.known.order.Len() != 1 {
		t.Errorf("%d sources after a month, %d in order", len(g.known.where), g.known.order.Len())
	}
}

// TestUserInFlood logs in while the daemon takes no stranger any more.
func TestUserInFlood(t *testing.T) {
	s := start(t, nil)
	fill := func(n int) {
		s.gate.mu.Lock()
		defer s.gate.mu.Unlock()
		s.gate.open += n
	}
	fill(Default.Full)
	if said := s.dial("imap").end(); said != "" {
		t.Errorf("a stranger hears %q", said)
	}
	fill(-Default.Full)
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice wrong\r\n")
	c.want("a NO ")
	fill(Default.Full - 1) // c is one
	if said := s.dial("plain").end(); said != "" {
		t.Errorf("who has tried a password hears %q", said)
	}
	c.send("b LOGIN alice right\r\n")
	c.want("b OK ")
	again := s.dial("plain")
	again.want("* OK ")
	again.send("a LOGIN alice right\r\n")
	again.want("a OK ")
	fill(1 - Default.Full)
}
