package login

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
)

// gate counts connections that are not logged in, in all and by where they
// come from, and says which new ones are turned away.
type gate struct {
	limits Limits
	board  *Board

	mu    sync.Mutex
	open  int
	nets  map[netip.Prefix]*visits
	swept time.Time
	known *known
}

// visits is the connections of one net.
type visits struct {
	open   int
	new    int // in that minute
	minute uint32
	spot   spot // on the board
}

// level is a size of net and how many times the limits of a source it has.
type level struct{ v4, v6, factor int }

var levels = []level{{32, 64, 1}, {26, 48, 3}, {21, 32, 9}}

func newGate(l Limits, b *Board) *gate {
	return &gate{limits: l, board: b, nets: map[netip.Prefix]*visits{}, known: newKnown(l)}
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
// an address that many users share counts only in all. It is counted before it is
// looked whether it may be: of two listeners at the same time, one sees the other.
func (g *gate) enter(addr netip.Addr, shared bool, now time.Time) (refusal string) {
	addr = addr.Unmap().WithZone("")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.board.say(waiting, g.open+1)
	if g.drop(g.known.has(handoff.Source(addr), now)) {
		g.board.say(waiting, g.open)
		return crowdedAll
	}
	g.open++
	if shared {
		return ""
	}
	for _, l := range levels {
		g.visits(l.prefix(addr), now).come(g.board, 1)
	}
	if refusal = g.crowded(addr, minuteOf(now)); refusal != "" {
		for _, l := range levels {
			g.nets[l.prefix(addr)].come(g.board, -1)
		}
		g.open--
		g.board.say(waiting, g.open)
	}
	return refusal
}

// Why a connection is refused, for the log, and as it is counted.
const (
	crowdedAll     = "too many connections in all"
	crowdedAddress = "too many connections of this address"
	crowdedMinute  = "too many new connections of this address"
)

var crowding = map[string]string{crowdedAll: metrics.Crowded, crowdedAddress: metrics.CrowdedAddress, crowdedMinute: metrics.CrowdedMinute}

// crowded says whether there are too many of an address, with one that has come.
func (g *gate) crowded(addr netip.Addr, minute uint32) (refusal string) {
	for _, l := range levels {
		v := g.nets[l.prefix(addr)]
		switch {
		case v == nil:
		case over(v.open, g.board.has(waiting, v.spot, minute), l.factor*g.limits.PerSource):
			return crowdedAddress
		case over(v.new, g.board.has(entered, v.spot, minute), l.factor*g.limits.NewMinute):
			return crowdedMinute
		}
	}
	return ""
}

// drop is random early drop: from Begin on some are refused at once, so that a
// flood cannot fill the table up and shut everyone else out. A known source is
// refused only when its reserve is used up too, and a listener has what is kept for it.
func (g *gate) drop(known bool) bool {
	l := g.limits
	kept, full := min(l.Begin, g.board.kept(l.Full)), l.Full
	if known {
		full += l.Reserve
	}
	switch {
	case g.open < kept:
		return false
	case g.open+g.board.elsewhere(waiting, kept) >= full:
		return true
	case known:
		return false
	}
	open := g.open + g.board.elsewhere(waiting, 0)
	if open < l.Begin {
		return false
	}
	// The others may have counted more since they were asked above, beyond full too.
	p := l.Rate + (100-l.Rate)*(open-l.Begin)/max(l.Full-l.Begin, 1)
	return rand.IntN(100) < p
}

// minuteOf numbers the minutes, by which new connections are counted.
func minuteOf(now time.Time) uint32 { return uint32(now.Unix() / 60) }

// come counts a connection that has come, or takes that back. Of nil, it does nothing.
func (v *visits) come(b *Board, n int) {
	if v == nil {
		return
	}
	v.open += n
	v.new += n
	b.add(waiting, v.spot, n)
	b.enter(v.spot, v.minute, n)
}

func (v *visits) turn(now time.Time) {
	if m := minuteOf(now); v.minute != m {
		v.new, v.minute = 0, m
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
		v = &visits{spot: g.board.spot(p)}
		g.nets[p] = v
	}
	v.turn(now)
	return v
}

func (g *gate) sweep(now time.Time) bool {
	if now.Sub(g.swept) < time.Second {
		return false
	}
	g.swept = now
	for p, v := range g.nets {
		if v.turn(now); v.open == 0 && v.new == 0 {
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
	g.board.say(waiting, g.open)
	if shared {
		return
	}
	for _, l := range levels {
		if v := g.nets[l.prefix(addr)]; v != nil && v.open > 0 {
			v.open--
			g.board.add(waiting, v.spot, -1)
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
