package web

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// source is who is counted: an IPv4 address, or a /64 of IPv6.
func source(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// guard counts what each source does: so much in a minute, which comes back steadily.
type guard struct {
	minute float64 // how much
	most   int     // how many sources are counted; beyond, those that have done least are forgotten

	mu sync.Mutex
	of map[netip.Addr]used
}

type used struct {
	level float64
	at    time.Time
}

func newGuard(minute, most int) *guard {
	return &guard{minute: float64(minute), most: most, of: map[netip.Addr]used{}}
}

// allow takes note of one more, unless it is too much.
func (g *guard) allow(a netip.Addr, now time.Time) bool {
	a = source(a)
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.of[a]
	u.level = max(0, u.level-now.Sub(u.at).Minutes()*g.minute)
	if u.level+1 > g.minute {
		return false
	}
	if _, known := g.of[a]; !known && len(g.of) >= g.most {
		g.forget(now)
	}
	g.of[a] = used{u.level + 1, now}
	return true
}

// forget drops who has used nothing up any more; where nobody has, all: a flood from
// everywhere is not counted by its sources anyway. The caller holds mu.
func (g *guard) forget(now time.Time) {
	for a, u := range g.of {
		if now.Sub(u.at) > time.Minute {
			delete(g.of, a)
		}
	}
	if len(g.of) >= g.most {
		clear(g.of)
	}
}

// places is a listener whose connections have a bound, and those of each source.
type places struct {
	net.Listener
	all, each int

	mu   sync.Mutex
	n    int
	from map[netip.Addr]int
}

func newPlaces(l net.Listener, all, each int) *places {
	return &places{Listener: l, all: all, each: each, from: map[netip.Addr]int{}}
}

// Accept closes at once what is too many.
func (p *places) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := source(remote(c.RemoteAddr().String()))
		if p.take(from) {
			return &placed{Conn: c, leave: sync.OnceFunc(func() { p.leave(from) })}, nil
		}
		c.Close()
	}
}

func (p *places) take(from netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n >= p.all || p.from[from] >= p.each {
		return false
	}
	p.n++
	p.from[from]++
	return true
}

func (p *places) leave(from netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n--
	if p.from[from]--; p.from[from] == 0 {
		delete(p.from, from)
	}
}

type placed struct {
	net.Conn
	leave func()
}

func (c *placed) Close() error {
	c.leave()
	return c.Conn.Close()
}

// remote reads an address with a port; what is none is nobody's.
func remote(address string) netip.Addr {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}
