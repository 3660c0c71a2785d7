package auth

import (
	"maps"
	"math"
	"sync"
	"time"
)

// quota is how many events a table lets pass in any minute and in any day.
type quota struct{ minute, day float64 }

// burst is the part of a quota that may be used at once; the rest comes back
// over the minute or the day, so that no span of that length sees more than
// the whole.
const burst = 0.8

// bucket counts events that leak away: one level for a minute, one for a day.
type bucket struct {
	minute, day float64
	at          int64 // of the levels: nanoseconds since 1970
}

func (b *bucket) leak(now time.Time, q quota) {
	passed := max(0, time.Duration(now.UnixNano()-b.at))
	b.minute = max(0, b.minute-(1-burst)*q.minute*passed.Minutes())
	b.day = max(0, b.day-(1-burst)*q.day*passed.Hours()/24)
	b.at = now.UnixNano()
}

func (b *bucket) full(q quota) bool {
	return b.minute+1 > burst*q.minute || b.day+1 > burst*q.day
}

// buckets is a bounded table of them. Where it is full, who has the fewest events of a
// handful gives way: a flood of sources with one each must neither wipe out what is
// known of the one that guesses, nor keep the next one from being counted.
type buckets[K comparable] struct {
	quota quota
	max   int

	mu    sync.Mutex
	m     map[K]bucket
	swept time.Time
}

func newBuckets[K comparable](q quota, max int) *buckets[K] {
	return &buckets[K]{quota: q, max: max, m: map[K]bucket{}}
}

// allow replaces the quota.
func (t *buckets[K]) allow(q quota) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quota = q
}

// full says whether k has used its quota up.
func (t *buckets[K]) full(k K, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, counted := t.m[k]
	if !counted {
		return false
	}
	b.leak(now, t.quota)
	return b.full(t.quota)
}

// until says for how long k has still used its quota up; 0 if it has not.
func (t *buckets[K]) until(k K, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, counted := t.m[k]
	if !counted {
		return 0
	}
	b.leak(now, t.quota)
	minutes := (b.minute + 1 - burst*t.quota.minute) / ((1 - burst) * t.quota.minute)
	days := (b.day + 1 - burst*t.quota.day) / ((1 - burst) * t.quota.day)
	return time.Duration(max(0, minutes*float64(time.Minute), days*24*float64(time.Hour)))
}

// level is the number of events of k that this minute still remembers.
func (t *buckets[K]) level(k K, now time.Time) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, counted := t.m[k]
	if !counted {
		return 0
	}
	b.leak(now, t.quota)
	return b.minute
}

// add counts an event of k.
func (t *buckets[K]) add(k K, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, counted := t.m[k]
	if !counted {
		if len(t.m) >= t.max && !t.sweep(now) {
			t.evict(now)
		}
		b.at = now.UnixNano()
	}
	b.leak(now, t.quota)
	b.minute++
	b.day++
	t.m[k] = b
}

// sweep removes what has leaked away, at most once a second; it says whether
// there is room.
func (t *buckets[K]) sweep(now time.Time) bool {
	if now.Sub(t.swept) < time.Second {
		return false
	}
	t.swept = now
	for k, b := range t.m {
		if b.leak(now, t.quota); b.day == 0 {
			delete(t.m, k)
		}
	}
	return len(t.m) < t.max
}

func (t *buckets[K]) evict(now time.Time) {
	var fewest K
	day := math.Inf(1)
	n := 0
	for k, b := range t.m { // in random order
		if b.leak(now, t.quota); b.day < day {
			fewest, day = k, b.day
		}
		if n++; n == 16 {
			break
		}
	}
	delete(t.m, fewest)
}

// memory is a bounded map of recent things. Where it is full, the oldest of a
// handful gives way.
type memory[K comparable, V any] struct {
	max int
	mu  sync.Mutex
	m   map[K]remembered[V]
}

type remembered[V any] struct {
	value V
	at    int64 // nanoseconds since 1970: a third of a Time
}

func newMemory[K comparable, V any](max int) *memory[K, V] {
	return &memory[K, V]{max: max, m: map[K]remembered[V]{}}
}

// get gives the zero value where k is not remembered.
func (t *memory[K, V]) get(k K) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.m[k]
	return r.value, ok
}

// recent is get of what was updated last after since.
func (t *memory[K, V]) recent(k K, since time.Time) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.m[k]
	if !ok || r.at <= since.UnixNano() {
		var none V
		return none, false
	}
	return r.value, true
}

// all gives what is remembered, by key.
func (t *memory[K, V]) all() map[K]V {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[K]V, len(t.m))
	for k, r := range t.m {
		all[k] = r.value
	}
	return all
}

// filter takes out what keep does not hold for, and says whether that was anything.
func (t *memory[K, V]) filter(keep func(K, V) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.m)
	maps.DeleteFunc(t.m, func(k K, r remembered[V]) bool { return !keep(k, r.value) })
	return len(t.m) < before
}

// forget takes k out.
func (t *memory[K, V]) forget(k K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, k)
}

// update replaces what is remembered of k by what change makes of it.
func (t *memory[K, V]) update(k K, now time.Time, change func(V) V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.m[k]
	if !ok && len(t.m) >= t.max {
		t.evict()
	}
	t.m[k] = remembered[V]{change(r.value), now.UnixNano()}
}

func (t *memory[K, V]) evict() {
	var oldest K
	var at int64
	n := 0
	for k, r := range t.m { // in random order
		if n == 0 || r.at < at {
			oldest, at = k, r.at
		}
		if n++; n == 16 {
			break
		}
	}
	delete(t.m, oldest)
}
