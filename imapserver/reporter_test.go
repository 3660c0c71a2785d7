package imapserver

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"mailstead/imapserver/control"
	"mailstead/imapserver/metrics"
)

// heardOnce is who listens: to the first packet and no more, or to all.
type heardOnce struct {
	mu   sync.Mutex
	uids map[uint32]int
	lost int
	sum  float64
}

func (h *heardOnce) tell(t *told, packet []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if packet != nil && json.Unmarshal(packet, t) != nil {
		h.lost = -1000
	}
	for _, r := range t.Removals {
		h.uids[r.UID]++
	}
	for _, s := range t.Counts {
		h.sum += s.Sum
	}
	h.lost += t.Lost
}

// TestReportedOnce: where a channel fails in the middle, the next has what that one has not had,
// also where the next was there before it failed.
func TestReportedOnce(t *testing.T) {
	for _, meanwhile := range []bool{false, true} {
		r, h := newReporter(), &heardOnce{uids: map[uint32]int{}}
		next := func(t *told) error { h.tell(t, nil); return nil }
		r.lost = 3
		r.Add(metrics.Rebuilds, 2)
		const all = 1000
		for n := range uint32(all) {
			r.removed([]control.Removal{{User: "alice", UID: n}})
		}
		done := make(chan bool)
		r.listen(func(said *told) error {
			for data, rest := range packets(*said) {
				h.tell(&told{}, data)
				*said = rest
				break
			}
			if meanwhile {
				go func() { r.listen(next); close(done) }()
				waitUntil(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.listened == 2 })
			}
			return errors.New("the channel is gone")
		})
		if meanwhile {
			<-done
		} else {
			if len(h.uids) == 0 || len(h.uids) == all {
				t.Fatalf("%d are told before the channel is gone", len(h.uids))
			}
			r.listen(next)
		}
		r.removed([]control.Removal{{User: "alice", UID: all}})
		waitUntil(t, func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.uids[all] == 1 })
		for uid, n := range h.uids {
			if n != 1 {
				t.Errorf("removal %d is told of %d times", uid, n)
			}
		}
		if len(h.uids) != all+1 || h.lost != 3 || h.sum != 2 {
			t.Errorf("%d removals, %d lost, %v counted", len(h.uids), h.lost, h.sum)
		}
	}
}
