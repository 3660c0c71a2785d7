package imapserver

import (
	"encoding/json"
	"iter"
	"net/netip"
	"sync"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
)

// The times after which what happens is told, and how much waits for somebody who
// listens: auth may be away.
const (
	tellRemovals = 200 * time.Millisecond
	tellCounts   = 10 * time.Second
	maxUntold    = 20_000 // removals
	maxFaults    = 1_000
	maxTold      = 2_000 // of them in one message
)

// told is the payload of handoff.Told, and what is to be told in several.
type told struct {
	Removals []control.Removal `json:"removals,omitempty"`
	Lost     int               `json:"lost,omitempty"` // removals that nobody listened to for too long
	Faults   []fault           `json:"faults,omitempty"`
	Counts   []metrics.Series  `json:"counts,omitempty"`
}

// fault is a session that a fault of ours has ended.
type fault struct {
	User   string     `json:"user"`
	Remote netip.Addr `json:"addr"`
}

// reporter gathers what a process counts and removes, and tells it from time to
// time. Its methods may be called from many goroutines.
type reporter struct {
	metrics.Counts

	mu       sync.Mutex
	removals []control.Removal
	lost     int
	faults   []fault
	tell     func(*told) error // leaves what it could not tell; nil: nobody listens
	listened int               // how often somebody has begun to
	timer    *time.Timer
	soon     bool // the timer is set for what is not only counted

	telling sync.Mutex // one at a time
}

// newReporter makes one that tells nobody yet.
func newReporter() *reporter {
	r := &reporter{}
	r.Changed = func() { go r.counted() } // it may be in the middle of telling
	return r
}

// removed takes note of removals.
func (r *reporter) removed(some []control.Removal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := max(maxUntold-len(r.removals), 0)
	r.lost += max(len(some)-room, 0)
	for _, removal := range some[:min(len(some), room)] {
		r.removals = append(r.removals, bounded(removal))
	}
	r.schedule(true)
}

// faulted takes note of a fault.
func (r *reporter) faulted(f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, f)
	}
	r.schedule(true)
}

// counted is called where something was counted.
func (r *reporter) counted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule(false)
}

func (r *reporter) schedule(soon bool) {
	if r.tell == nil || r.timer != nil && (r.soon || !soon) {
		return
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	after := tellCounts
	if soon {
		after = tellRemovals
	}
	r.soon, r.timer = soon, time.AfterFunc(after, r.flush)
}

// listen has everything be told to f from now on, that which waits at once.
func (r *reporter) listen(f func(*told) error) {
	r.mu.Lock()
	r.tell = f
	r.listened++
	r.mu.Unlock()
	r.flush()
}

// flush tells what there is. What could not be told waits for the next who listens.
func (r *reporter) flush() {
	r.telling.Lock()
	defer r.telling.Unlock()
	for {
		r.mu.Lock()
		if r.timer != nil {
			r.timer.Stop()
		}
		r.timer, r.soon = nil, false
		tell, listened, n := r.tell, r.listened, min(len(r.removals), maxTold)
		t := &told{Removals: r.removals[:n:n], Lost: r.lost, Faults: r.faults}
		r.mu.Unlock()
		if tell == nil {
			return
		}
		if t.Counts = r.Take(); n == 0 && t.Lost == 0 && t.Faults == nil && t.Counts == nil {
			return
		}
		left := *t
		err := tell(&left)
		if err == nil {
			left = told{}
		}
		r.Merge(left.Counts)
		r.mu.Lock()
		if r.removals = r.removals[n-len(left.Removals):]; len(r.removals) == 0 {
			r.removals = nil
		}
		if r.faults = r.faults[len(t.Faults)-len(left.Faults):]; len(r.faults) == 0 {
			r.faults = nil
		}
		r.lost -= t.Lost - left.Lost
		if err != nil && r.listened == listened {
			r.tell = nil
		}
		again := r.tell != nil
		r.mu.Unlock()
		if !again {
			return
		}
	}
}

// packet is how much of a message of handoff is used: what is quoted in it once more
// grows.
const packet = handoff.MaxPacket * 3 / 4

// tellOver is how a reporter tells over a channel.
func tellOver(c *handoff.Conn) func(*told) error {
	return func(t *told) error {
		for data, rest := range packets(*t) {
			if err := c.Send(&handoff.Told{Data: data}); err != nil {
				c.Close()
				return err
			}
			*t = rest
		}
		return nil
	}
}

// packets parts what is to be told into messages that fit, each with what is left after
// it. A removal that fits into none is told of as lost.
func packets(t told) iter.Seq2[[]byte, told] {
	return func(yield func([]byte, told) bool) {
		for len(t.Removals) > 0 || t.Lost > 0 || len(t.Faults) > 0 || len(t.Counts) > 0 {
			var p struct {
				Removals []json.RawMessage `json:"removals,omitempty"`
				Lost     int               `json:"lost,omitempty"`
				Faults   []json.RawMessage `json:"faults,omitempty"`
				Counts   []json.RawMessage `json:"counts,omitempty"`
			}
			room, unfit := packet, 0
			p.Removals, t.Removals, unfit = pack(t.Removals, &room)
			p.Faults, t.Faults, _ = pack(t.Faults, &room)
			p.Counts, t.Counts, _ = pack(t.Counts, &room)
			p.Lost, t.Lost = t.Lost+unfit, 0
			data, err := json.Marshal(p)
			if err == nil && !yield(data, t) {
				return
			}
		}
	}
}

// pack gives the first of some values that there is room for, and the others. What there
// never is room for is left out, and counted.
func pack[V any](values []V, room *int) (packed []json.RawMessage, rest []V, unfit int) {
	for len(values) > 0 {
		data, err := json.Marshal(values[0])
		switch {
		case err != nil || len(data) >= packet:
			unfit++
		case len(data) >= *room:
			return packed, values, unfit
		default:
			packed = append(packed, data)
			*room -= len(data) + 1
		}
		values = values[1:]
	}
	return packed, nil, unfit
}
