package login

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"mailstead/imapserver/handoff"
)

// gate counts connections that are not logged in, in all and by where they
// come from, and says which new ones are turned away.
type gate struct {
	limits Limits

	mu    sync.Mutex
	open  int
	nets  map[netip.Prefix]*visits
	swept time.Time
	known *known
}

// visits is the connections of one net.
type visits struct {
	open   int
	minute int // new ones since began
	began  time.Time
}

// level is a size of net and how many times the limits of a source it has.
type level struct{ v4, v6, factor int }

var levels = []level{{32, 64, 1}, {26, 48, 3}, {21, 32, 9}}

func newGate(l Limits) *gate {
	return &gate{limits: l, nets: map[netip.Prefix]*visits{}, known: newKnown(l)}
}

// limit replaces the limits, for connections to come.
func (g *gate) limit(l Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits, g.known.limits = l, l
}

// prefix is the net of that level; addr is unmapped and without a zone.
func (l level) prefix(addr netip.Addr) netip.Prefix {
	bits := l.v6
	if addr.Is4() {
		bits = l.v4
	}
	p, _ := addr.Prefix(bits) // the zero Prefix where there is no address
	return p
}

// enter admits a connection, which leave then ends, or says why it does not. One from
// an address that many users share counts only in all.
func (g *gate) enter(addr netip.Addr, shared bool, now time.Time) (refusal string) {
	addr = addr.Unmap().WithZone("")
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.drop(g.known.has(handoff.Source(addr), now)) {
		return "too many connections in all"
	}
	if shared {
		g.open++
		return ""
	}
	for _, l := range levels {
		v := g.nets[l.prefix(addr)]
		if v == nil {
			continue
		}
		v.turn(now)
		if v.open >= l.factor*g.limits.PerSource {
			return "too many connections of this address"
		}
		if v.minute >= l.factor*g.limits.NewMinute {
			return "too many new connections of this address"
		}
	}
	g.open++
	for _, l := range levels {
		if v := g.visits(l.prefix(addr), now); v != nil {
			v.open++
			v.minute++
		}
	}
	return ""
}

// drop is random early drop: from Begin on some are refused at once, so that a
// flood cannot fill the table up and shut everyone else out. A known source is
// refused only when its reserve is used up too.
func (g *gate) drop(known bool) bool {
	l := g.limits
	switch {
	case known:
		return g.open >= l.Full+l.Reserve
	case g.open >= l.Full:
		return true
	case g.open < l.Begin:
		return false
	}
	p := l.Rate + (100-l.Rate)*(g.open-l.Begin)/(l.Full-l.Begin)
	return rand.IntN(100) < p
}

func (v *visits) turn(now time.Time) {
	if now.Sub(v.began) >= time.Minute {
		v.minute, v.began = 0, now
	}
}

// visits finds or makes the count of a net; nil where there is no room for
// another one: it goes uncounted then, but for the limits in all.
func (g *gate) visits(p netip.Prefix, now time.Time) *visits {
	v := g.nets[p]
	if v == nil {
		if len(g.nets) >= g.limits.Sources*len(levels) && !g.sweep(now) {
			return nil
		}
		v = &visits{began: now}
		g.nets[p] = v
	}
	return v
}

func (g *gate) sweep(now time.Time) bool {
	if now.Sub(g.swept) < time.Second {
		return false
	}
	g.swept = now
	for p, v := range g.nets {
		if v.turn(now); v.open == 0 && v.minute == 0 {
			delete(g.nets, p)
		}
	}
	return len(g.nets) < g.limits.Sources*len(levels)
}

// leave ends what enter has admitted.
func (g *gate) leave(addr netip.Addr, shared bool) {
	addr = addr.Unmap().WithZone("")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if shared {
		return
	}
	for _, l := range levels {
		if v := g.nets[l.prefix(addr)]; v != nil && v.open > 0 {
			v.open--
		}
	}
}

// loggedIn notes that a connection of addr has become a session, before leave.
func (g *gate) loggedIn(addr netip.Addr, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.add(handoff.Source(addr), now)
}

// count is the number of connections that are not logged in.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}
