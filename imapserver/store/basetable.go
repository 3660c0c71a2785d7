package store

import (
	"hash/maphash"

	"github.com/emersion/go-imap/v2"
)

// baseTable finds messages by the base of their file name. It holds UIDs only,
// four bytes where a map would hold a hundred, and looks the names up in the
// snapshot. UIDs that are no longer there do no harm. The zero value fills
// itself at first use.
type baseTable struct {
	seed  maphash.Seed
	slots []imap.UID // 0 is free; length a power of two
	used  int
}

// find gives the message with that base, or nil.
func (t *baseTable) find(s *snapshot, base []byte) *record {
	t.fill(s)
	r, _ := t.locate(s, base)
	return r
}

// locate gives the message with that base and its position in s, or nil. The
// table must have been filled: several goroutines may call it.
func (t *baseTable) locate(s *snapshot, base []byte) (*record, int) {
	for i := maphash.Bytes(t.seed, base); ; i++ {
		uid := t.slots[i&uint64(len(t.slots)-1)]
		if uid == 0 {
			return nil, 0
		}
		c, k := s.search(uid)
		if c == len(s.chunks) {
			continue
		}
		if r := &s.chunks[c][k]; r.uid == uid && r.base == string(base) {
			return r, s.starts[c] + k
		}
	}
}

// add enters a message that s has, or is about to have.
func (t *baseTable) add(base string, uid imap.UID) {
	if t.slots == nil {
		return
	}
	i := maphash.String(t.seed, base)
	for t.slots[i&uint64(len(t.slots)-1)] != 0 {
		i++
	}
	t.slots[i&uint64(len(t.slots)-1)] = uid
	if t.used++; t.used*4 >= len(t.slots)*3 {
		*t = baseTable{}
	}
}

// fill makes the table where there is none. One that gets too full, be it of
// messages that are gone, is thrown away.
func (t *baseTable) fill(s *snapshot) {
	if t.slots != nil {
		return
	}
	n := 64
	for n < 2*s.len {
		n *= 2
	}
	t.slots = make([]imap.UID, n)
	t.seed = maphash.MakeSeed()
	s.all(func(r *record) bool {
		t.add(r.base, r.uid)
		return true
	})
}
