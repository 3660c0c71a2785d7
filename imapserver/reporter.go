package imapserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
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

// told is the payload of handoff.Told.
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
	tell     func(*told) error // nil: nobody listens
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
	r.removals = append(r.removals, some[:min(len(some), room)]...)
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
		tell, n := r.tell, min(len(r.removals), maxTold)
		t := &told{Removals: r.removals[:n:n], Lost: r.lost, Faults: r.faults}
		r.mu.Unlock()
		if tell == nil {
			return
		}
		if t.Counts = r.Take(); n == 0 && t.Lost == 0 && t.Faults == nil && t.Counts == nil {
			return
		}
		err := tell(t)
		r.mu.Lock()
		if err != nil {
			r.tell = nil
			r.mu.Unlock()
			r.Merge(t.Counts)
			return
		}
		if r.removals = r.removals[n:]; len(r.removals) == 0 {
			r.removals = nil
		}
		if r.faults = r.faults[len(t.Faults):]; len(r.faults) == 0 {
			r.faults = nil
		}
		r.lost -= t.Lost
		r.mu.Unlock()
	}
}

// packet is how much of a message of handoff is used: what is quoted in it once more
// grows.
const packet = handoff.MaxPacket * 3 / 4

// tellOver is how a reporter tells over a channel.
func tellOver(c *handoff.Conn) func(*told) error {
	return func(t *told) error {
		for _, data := range packets(t) {
			if err := c.Send(&handoff.Told{Data: data}); err != nil {
				c.Close()
				return err
			}
		}
		return nil
	}
}

// packets parts what is to be told into pieces that fit. A removal that fits into none
// is told of as lost.
func packets(t *told) (all [][]byte) {
	var removals, faults, counts [][]byte
	lost := t.Lost
	for _, r := range t.Removals {
		if data, err := json.Marshal(bounded(r)); err == nil && len(data) < packet {
			removals = append(removals, data)
		} else {
			lost++
		}
	}
	for _, f := range t.Faults {
		if data, err := json.Marshal(f); err == nil && len(data) < packet {
			faults = append(faults, data)
		}
	}
	for _, s := range t.Counts {
		if data, err := json.Marshal(s); err == nil && len(data) < packet {
			counts = append(counts, data)
		}
	}
	if lost > 0 {
		all = append(all, fmt.Appendf(nil, `{"lost":%d}`, lost))
	}
	return slices.Concat(all, lists("removals", removals), lists("faults", faults), lists("counts", counts))
}

// lists packs values into objects that have a list of them.
func lists(name string, values [][]byte) (all [][]byte) {
	for len(values) > 0 {
		n, size := 0, 0
		for n < len(values) && (n == 0 || size+len(values[n]) < packet) {
			size += len(values[n]) + 1
			n++
		}
		all = append(all, fmt.Appendf(nil, `{"%s":[%s]}`, name, bytes.Join(values[:n], []byte(","))))
		values = values[n:]
	}
	return all
}
