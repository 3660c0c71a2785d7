package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/search"
)

// Bounds of a segment: what is held in memory while one is made, and what is
// read of it for one gram.
const (
	memberBits   = 10
	maxMembers   = 1 << memberBits
	maxPairs     = 1 << 20 // grams of all members, at 8 octets
	maxTextGrams = 1 << 16 // of one message; one with more is always a candidate
	textPageLen  = 3900    // so that a page's row fits into a page of SQLite
)

// member is a message of a segment.
type member struct {
	uid imap.UID
	// bind is a digest of what never changes of its file name. Should the UID
	// be another message's one day, as when an old index was restored, then the
	// segment says nothing of it.
	bind uint64
	open bool // it has too many grams, or could not be read: nothing is known of them
}

// segment is the grams of up to maxMembers messages. It is written once, as a
// head and pages, each with a checksum.
//
// The head is whether it is full, the members and the first gram of each page. A page is grams in
// ascending order, each with the members that have it: a list of their distances
// or, where that is shorter, one bit for each member.
type segment struct {
	id      int64
	full    bool // there was no room for more
	members []member
	firsts  []search.Gram
}

// words is how many words have a bit for each member.
func (s *segment) words() int { return (len(s.members) + 63) / 64 }

// pageOf gives the page on which a gram would stand, or -1.
func (s *segment) pageOf(g search.Gram) int {
	i, found := slices.BinarySearch(s.firsts, g)
	if found {
		return i
	}
	return i - 1
}

// textSource is which mailbox a segment is of.
type textSource struct {
	mailbox  int64 // its row in the index
	validity uint32
}

var errTextDamaged = errors.New("text index is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal adds a checksum, which is also one of where the data belongs.
func seal(data []byte, place ...int64) []byte {
	return binary.LittleEndian.AppendUint32(data, sum(data, place))
}

// unseal takes the checksum off.
func unseal(data []byte, place ...int64) ([]byte, error) {
	n := len(data) - 4
	if n < 0 || sum(data[:n], place) != binary.LittleEndian.Uint32(data[n:]) {
		return nil, errTextDamaged
	}
	return data[:n], nil
}

func sum(data []byte, place []int64) uint32 {
	var key []byte
	for _, p := range place {
		key = binary.LittleEndian.AppendUint64(key, uint64(p))
	}
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, data)
}

// encodeHead gives the head of the segment.
func (s *segment) encodeHead(of textSource) []byte {
	b := binary.AppendUvarint([]byte{bit(s.full)}, uint64(len(s.members)))
	last := imap.UID(0)
	for _, m := range s.members {
		b = binary.AppendUvarint(b, uint64(m.uid-last)<<1|uint64(bit(m.open)))
		b = binary.LittleEndian.AppendUint64(b, m.bind)
		last = m.uid
	}
	b = binary.AppendUvarint(b, uint64(len(s.firsts)))
	first := search.Gram(0)
	for _, g := range s.firsts {
		b = binary.AppendUvarint(b, uint64(g-first))
		first = g
	}
	return seal(b, s.id, of.mailbox, int64(of.validity))
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// decodeHead reads what encodeHead gave.
func decodeHead(data []byte, id int64, of textSource) (*segment, error) {
	data, err := unseal(data, id, of.mailbox, int64(of.validity))
	if err != nil {
		return nil, err
	}
	d := textDecoder{rest: data}
	s := &segment{id: id, full: d.bytes(1)[0] == 1}
	s.members = make([]member, d.count(maxMembers))
	last := imap.UID(0)
	for i := range s.members {
		n := d.uvarint()
		last += imap.UID(n >> 1)
		s.members[i] = member{uid: last, bind: d.uint64(), open: n&1 != 0}
	}
	s.firsts = make([]search.Gram, d.count(maxPairs))
	first := search.Gram(0)
	for i := range s.firsts {
		first += search.Gram(d.uvarint())
		s.firsts[i] = first
	}
	return s, d.end()
}

// textDecoder reads heads and pages. After an error it gives zeros.
type textDecoder struct {
	rest []byte
	bad  bool
}

func (d *textDecoder) uvarint() uint64 {
	n, k := binary.Uvarint(d.rest)
	if k <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[k:]
	return n
}

// count reads a number of things, of which each takes an octet at least.
func (d *textDecoder) count(most int) int {
	n := d.uvarint()
	if n > uint64(most) || n > uint64(len(d.rest)) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *textDecoder) bytes(n int) []byte {
	if n > len(d.rest) {
		d.bad, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *textDecoder) uint64() uint64 { return binary.LittleEndian.Uint64(d.bytes(8)) }

func (d *textDecoder) end() error {
	if d.bad || len(d.rest) > 0 {
		return errTextDamaged
	}
	return nil
}

// find reads, of a page whose checksum has been taken off, which of the members
// have the gram.
func (s *segment) find(page []byte, want search.Gram) ([]uint64, error) {
	having := make([]uint64, s.words())
	octets := (len(s.members) + 7) / 8
	d := textDecoder{rest: page}
	gram := search.Gram(0)
	for len(d.rest) > 0 && gram <= want {
		gram += search.Gram(d.uvarint())
		n := d.uvarint()
		if n >= uint64(octets) {
			for i, b := range d.bytes(octets) {
				if gram == want {
					having[i/8] |= uint64(b) << (i % 8 * 8)
				}
			}
			continue
		}
		slot := uint64(math.MaxUint64) // one before the first
		for range n {
			if slot += d.uvarint(); gram == want && slot < uint64(len(s.members)) {
				having[slot/64] |= 1 << (slot % 64)
			}
		}
	}
	if d.bad {
		return nil, errTextDamaged
	}
	return having, nil
}

// segmentMaker gathers messages in UID order for a segment.
type segmentMaker struct {
	members []member
	pairs   []uint64 // a gram, then a member
	spare   []uint64 // for sorting
}

// reset makes room for the next segment.
func (m *segmentMaker) reset() { m.members, m.pairs = nil, m.pairs[:0] }

func (m *segmentMaker) full() bool {
	return len(m.members) == maxMembers || len(m.pairs) > maxPairs-maxTextGrams
}

// add takes a message; known is false if its grams are too many or not to be had.
func (m *segmentMaker) add(uid imap.UID, base string, grams []search.Gram, known bool) {
	slot := uint64(len(m.members))
	m.members = append(m.members, member{uid: uid, bind: baseHash(base), open: !known})
	if !known {
		return
	}
	for _, g := range grams {
		m.pairs = append(m.pairs, uint64(g)*maxMembers|slot)
	}
}

// make gives the segment, and to put its pages, numbered from 0.
func (m *segmentMaker) make(id int64, put func(n int, page []byte) error) (*segment, error) {
	m.sort()
	s := &segment{id: id, full: m.full(), members: m.members}
	var page []byte
	flush := func() error {
		n := len(s.firsts) - 1
		err := put(n, seal(page, id, int64(n)))
		page = page[:0]
		return err
	}
	last := search.Gram(0)
	for rest := m.pairs; len(rest) > 0; {
		gram := search.Gram(rest[0] / maxMembers)
		n := 1
		for n < len(rest) && search.Gram(rest[n]/maxMembers) == gram {
			n++
		}
		if len(page) > textPageLen-maxMembers/8-8 {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		if len(page) == 0 {
			last = 0
			s.firsts = append(s.firsts, gram)
		}
		page = binary.AppendUvarint(page, uint64(gram-last))
		page = s.appendMembers(page, rest[:n])
		last, rest = gram, rest[n:]
	}
	if len(page) > 0 {
		return s, flush()
	}
	return s, nil
}

// sort sorts the pairs by gram: half of its bits, then the other half. Those of
// one gram stay in the order of the members.
func (m *segmentMaker) sort() {
	const half = 13
	if cap(m.spare) < len(m.pairs) {
		m.spare = make([]uint64, cap(m.pairs))
	}
	for _, shift := range [...]int{memberBits, memberBits + half} {
		var starts [1<<half + 1]int
		for _, p := range m.pairs {
			starts[p>>shift&(1<<half-1)+1]++
		}
		for i := range 1 << half {
			starts[i+1] += starts[i]
		}
		sorted := m.spare[:len(m.pairs)]
		for _, p := range m.pairs {
			at := &starts[p>>shift&(1<<half-1)]
			sorted[*at] = p
			*at++
		}
		m.pairs, m.spare = sorted, m.pairs
	}
}

// appendMembers writes who has a gram.
func (s *segment) appendMembers(page []byte, pairs []uint64) []byte {
	page = binary.AppendUvarint(page, uint64(len(pairs)))
	octets := (len(s.members) + 7) / 8
	if len(pairs) < octets {
		last := -1
		for _, p := range pairs {
			slot := int(p % maxMembers)
			page = binary.AppendUvarint(page, uint64(slot-last))
			last = slot
		}
		return page
	}
	start := len(page)
	page = append(page, make([]byte, octets)...)
	for _, p := range pairs {
		slot := p % maxMembers
		page[start+int(slot/8)] |= 1 << (slot % 8)
	}
	return page
}
