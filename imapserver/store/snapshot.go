package store

import (
	"cmp"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// record is one message.
type record struct {
	uid    imap.UID
	sub    maildir.Sub // Cur or New
	modseq ModSeq
	date   int64  // INTERNALDATE, Unix seconds
	base   string // of the file name; never changes
	set    *flagset
	size   *atomic.Int64 // RFC822.SIZE, or sizeUnknown; set once
}

// sizeUnknown says that no one has read the message yet.
const sizeUnknown = -1

// name is the message's file name.
func (r *record) name() string { return r.base + r.set.suffix }

// newSizes gives n cells for sizes; cells lie together, since a message at a
// time would cost three times the memory.
func newSizes(n int) []atomic.Int64 {
	cells := make([]atomic.Int64, n)
	for i := range cells {
		cells[i].Store(sizeUnknown)
	}
	return cells
}

// chunkLen is how many messages a chunk has at most: what a change to one
// message copies, beside one pointer for every chunk.
const chunkLen = 256

// chunk is a run of messages in UID order. Immutable, never empty.
type chunk []record

// snapshot is the messages of a mailbox at one moment, in UID order. It is
// immutable and shared by all who look at the mailbox; the next one shares with
// it the chunks in which nothing has changed.
type snapshot struct {
	chunks  []chunk
	starts  []int // starts[i] is how many messages stand before chunks[i]
	len     int
	unseen  int
	deleted int

	uidValidity uint32
	uidNext     imap.UID
	modseq      ModSeq // highest
}

// at gives message i, from 0.
func (s *snapshot) at(i int) *record {
	c := sort.Search(len(s.starts), func(c int) bool { return s.starts[c] > i }) - 1
	return &s.chunks[c][i-s.starts[c]]
}

// search gives the position of the first message whose UID is not below uid.
func (s *snapshot) search(uid imap.UID) (c, i int) {
	c = sort.Search(len(s.chunks), func(c int) bool {
		ch := s.chunks[c]
		return ch[len(ch)-1].uid >= uid
	})
	if c == len(s.chunks) {
		return c, 0
	}
	ch := s.chunks[c]
	return c, sort.Search(len(ch), func(i int) bool { return ch[i].uid >= uid })
}

// find gives the message with that UID, or nil.
func (s *snapshot) find(uid imap.UID) *record {
	if c, i := s.search(uid); c < len(s.chunks) && s.chunks[c][i].uid == uid {
		return &s.chunks[c][i]
	}
	return nil
}

// index gives how many messages have a UID below uid, and whether the next one
// has it.
func (s *snapshot) index(uid imap.UID) (int, bool) {
	c, i := s.search(uid)
	if c == len(s.chunks) {
		return s.len, false
	}
	return s.starts[c] + i, s.chunks[c][i].uid == uid
}

// all calls fn for every message in order, until it returns false.
func (s *snapshot) all(fn func(*record) bool) {
	for _, ch := range s.chunks {
		for i := range ch {
			if !fn(&ch[i]) {
				return
			}
		}
	}
}

// edit makes the next snapshot.
type edit struct {
	s     snapshot // in the making; its chunks are the old one's until they are changed
	owned map[int]bool
}

// edit starts from s.
func (s *snapshot) edit() *edit {
	e := &edit{s: *s, owned: make(map[int]bool)}
	e.s.chunks = slices.Clone(s.chunks)
	e.s.starts = nil
	return e
}

// set replaces the message with the same UID, which must be there.
func (e *edit) set(r record) {
	c, i := e.s.search(r.uid)
	if !e.owned[c] {
		e.s.chunks[c] = slices.Clone(e.s.chunks[c])
		e.owned[c] = true
	}
	e.count(&e.s.chunks[c][i], -1)
	e.s.chunks[c][i] = r
	e.count(&r, 1)
}

// add appends a message, whose UID is above all others.
func (e *edit) add(r record) {
	last := len(e.s.chunks) - 1
	switch {
	case last < 0:
		e.s.chunks = append(e.s.chunks, nil) // most mailboxes are small
		last++
		e.owned[last] = true
	case len(e.s.chunks[last]) >= chunkLen:
		e.s.chunks = append(e.s.chunks, make(chunk, 0, chunkLen))
		last++
		e.owned[last] = true
	case !e.owned[last]:
		old := e.s.chunks[last]
		e.s.chunks[last] = append(make(chunk, 0, min(chunkLen, 2*len(old)+1)), old...)
		e.owned[last] = true
	}
	e.s.chunks[last] = append(e.s.chunks[last], r)
	e.count(&r, 1)
}

// addAll adds messages in the order of their UIDs, which need not be above all
// others.
func (e *edit) addAll(records []record) {
	if last := len(e.s.chunks) - 1; last >= 0 && len(records) > 0 {
		if ch := e.s.chunks[last]; ch[len(ch)-1].uid >= records[0].uid {
			records = slices.Concat(slices.Concat(e.s.chunks...), records)
			slices.SortFunc(records, func(a, b record) int { return cmp.Compare(a.uid, b.uid) })
			e.s.chunks, e.owned = nil, make(map[int]bool)
			e.s.len, e.s.unseen, e.s.deleted = 0, 0, 0
		}
	}
	for _, r := range records {
		e.add(r)
	}
}

// addRuns is addAll of messages in runs of chunkLen, but for the last, which become chunks
// where they can: they are not copied.
func (e *edit) addRuns(runs [][]record) {
	if len(runs) > 0 && len(e.s.chunks) > 0 {
		e.addAll(slices.Concat(runs...))
		return
	}
	for _, run := range runs {
		e.s.chunks = append(e.s.chunks, run)
		for i := range run {
			e.count(&run[i], 1)
		}
	}
}

// remove takes out the messages with those UIDs. Nothing may be set or added
// after it.
func (e *edit) remove(gone map[imap.UID]bool) {
	if len(gone) == 0 {
		return
	}
	kept := e.s.chunks[:0]
	for c, ch := range e.s.chunks {
		n := 0
		for i := range ch {
			if gone[ch[i].uid] {
				e.count(&ch[i], -1)
				n++
			}
		}
		switch n {
		case 0:
		case len(ch):
			continue
		default:
			if !e.owned[c] {
				ch = slices.Clone(ch)
			}
			ch = slices.DeleteFunc(ch, func(r record) bool { return gone[r.uid] })
		}
		kept = append(kept, ch)
	}
	clear(e.s.chunks[len(kept):])
	e.s.chunks = kept
	if e.s.len*4 < len(kept)*chunkLen && len(kept) > 4 {
		e.pack()
	}
}

// pack joins chunks that removals have left short.
func (e *edit) pack() {
	var packed []chunk
	for _, ch := range e.s.chunks {
		if n := len(packed) - 1; n >= 0 && len(packed[n])+len(ch) <= chunkLen {
			packed[n] = append(packed[n][:len(packed[n]):len(packed[n])], ch...)
		} else {
			packed = append(packed, ch)
		}
	}
	e.s.chunks = packed
}

func (e *edit) count(r *record, by int) {
	e.s.len += by
	if r.set.sys&maildir.Seen == 0 {
		e.s.unseen += by
	}
	if r.set.sys&maildir.Trashed != 0 {
		e.s.deleted += by
	}
}

// done gives the snapshot. The edit must not be used any more.
func (e *edit) done() *snapshot {
	e.s.starts = make([]int, len(e.s.chunks))
	n := 0
	for c, ch := range e.s.chunks {
		e.s.starts[c] = n
		n += len(ch)
	}
	s := e.s
	return &s
}

// difference is what has changed from one snapshot to a later one.
type difference struct {
	gone    []int     // positions in the older one, ascending
	changed []*record // in the later one: flags differ
	added   []*record // in the later one
}

// diff compares. Chunks that both have cost nothing.
func diff(old, now *snapshot) difference {
	var d difference
	var o, n cursor
	for {
		for o.i == 0 && n.i == 0 && o.c < len(old.chunks) && n.c < len(now.chunks) &&
			sameChunk(old.chunks[o.c], now.chunks[n.c]) {
			o.c++
			n.c++
		}
		or, nr := o.rec(old), n.rec(now)
		switch {
		case or == nil && nr == nil:
			return d
		case nr == nil || or != nil && or.uid < nr.uid:
			d.gone = append(d.gone, old.starts[o.c]+o.i)
			o.next(old)
		case or == nil || nr.uid < or.uid:
			d.added = append(d.added, nr)
			n.next(now)
		default:
			if or.modseq != nr.modseq {
				d.changed = append(d.changed, nr)
			}
			o.next(old)
			n.next(now)
		}
	}
}

func sameChunk(a, b chunk) bool { return len(a) == len(b) && &a[0] == &b[0] }

// cursor is a place in a snapshot.
type cursor struct{ c, i int }

func (k *cursor) rec(s *snapshot) *record {
	if k.c == len(s.chunks) {
		return nil
	}
	return &s.chunks[k.c][k.i]
}

func (k *cursor) next(s *snapshot) {
	if k.i++; k.i == len(s.chunks[k.c]) {
		k.c++
		k.i = 0
	}
}

// newSize gives one cell.
func newSize(n int64) *atomic.Int64 {
	c := new(atomic.Int64)
	c.Store(n)
	return c
}
