package imapserver

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
	"mailstead/imapserver/spawn"
)

// hearing is where all processes tell what happens: auth, or the one process that
// there is.
type hearing struct {
	log    *slog.Logger
	counts metrics.Counts
	record *record // nil: there is none
	fault  func(user string, remote netip.Addr)

	mu      sync.Mutex
	workers map[teller]*handoff.Conn
	ended   bool
	telling sync.WaitGroup
}

// teller is a worker that tells.
type teller struct {
	number uint64 // 0: of one that was there before, which is known by whose mail it has
	id     spawn.Identity
}

func newHearing(log *slog.Logger, dir string, fault func(user string, remote netip.Addr)) *hearing {
	h := &hearing{log: log, fault: fault, workers: map[teller]*handoff.Conn{}}
	if dir != "" {
		h.record = newRecord(log, dir, func(n int) { h.counts.Add(metrics.Unrecorded, float64(n)) })
	}
	return h
}

// hear takes what a process has told. of says of whom it may tell.
func (h *hearing) hear(data []byte, of func(user string) bool) {
	var t told
	if json.Unmarshal(data, &t) != nil {
		return
	}
	h.take(&t, of)
}

func (h *hearing) take(t *told, of func(user string) bool) {
	h.counts.Merge(t.Counts)
	if t.Lost > 0 {
		h.counts.Add(metrics.Unrecorded, float64(t.Lost))
	}
	for _, f := range t.Faults {
		if of(f.User) {
			h.fault(f.User, f.Remote)
		}
	}
	some := t.Removals[:0:0]
	for _, r := range t.Removals {
		if of(r.User) {
			some = append(some, bounded(r))
		}
	}
	h.record.add(some, time.Now())
}

// maxRecorded bounds the strings of a removal: those of clients and mail are shorter.
const maxRecorded = 1024

func bounded(r control.Removal) control.Removal {
	for _, s := range []*string{&r.User, &r.Mailbox, &r.MessageID, &r.Command, &r.To, &r.By, &r.Session, &r.Listener, &r.Address, &r.Client} {
		*s = (*s)[:min(len(*s), maxRecorded)]
	}
	return r
}

// follow has a worker tell, if it does not yet: what it has told then comes until it
// ends.
func (h *hearing) follow(worker teller, link *spawnLink, of func(user string) bool) {
	theirs, err := h.channel(worker, of)
	if err != nil {
		h.log.Error("worker not heard", "uid", worker.id.UID, "err", err)
	}
	if theirs == nil {
		return
	}
	defer theirs.Close()
	link.tell(&handoff.Look{UID: worker.id.UID, GID: worker.id.GID, Follow: true, Answer: theirs}) // which may wait for spawn
}

// channel makes that over which a worker is heard, and gives the worker's end; nil if
// there is one already.
func (h *hearing) channel(worker teller, of func(user string) bool) (theirs *os.File, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.workers[worker] != nil || h.ended || worker.number == 0 && h.hears(worker.id) {
		return nil, nil
	}
	ours, theirs, err := handoff.Pair()
	if err != nil {
		return nil, err
	}
	h.workers[worker] = ours
	h.telling.Go(func() {
		defer ours.Close()
		for {
			m, err := ours.Receive()
			t, ok := m.(*handoff.Told)
			if err != nil || !ok {
				break
			}
			h.hear(t.Data, of)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.workers, worker)
	})
	return theirs, nil
}

// hears tells whether a worker of that identity tells. The caller holds mu.
func (h *hearing) hears(id spawn.Identity) bool {
	for w := range h.workers {
		if w.id == id {
			return true
		}
	}
	return false
}

// numbers gives those of the workers that tell.
func (h *hearing) numbers() map[uint64]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[uint64]bool, len(h.workers))
	for w := range h.workers {
		all[w.number] = true
	}
	return all
}

// close ends the record. Workers that still tell find nobody, and keep it for who
// follows.
func (h *hearing) close() {
	h.mu.Lock()
	h.ended = true
	for _, c := range h.workers {
		c.Close()
	}
	h.mu.Unlock()
	h.telling.Wait()
	h.record.close()
}
