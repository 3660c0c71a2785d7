package search

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"mailstead/imapserver/message"
	"mailstead/imapserver/wire"
)

// Found is a message that is to be sorted or threaded.
type Found struct {
	Num      uint32 // what the answer calls it: its sequence number or its UID
	Arrival  int64  // INTERNALDATE, Unix seconds
	Size     int64  // RFC822.SIZE, octets; only if the Sorter needs it
	Score    int    // 1 to 100; only if the Sorter needs it
	Overview message.Overview
}

// sent is the sent date (RFC 5256 §2.2), Unix seconds.
func (f *Found) sent() int64 {
	if f.Overview.Sent.IsZero() {
		return f.Arrival
	}
	return f.Overview.Sent.Unix()
}

// Sorter puts messages into the order that SORT asks for (RFC 5256 §3). Of each
// message it keeps one string of octets that compares as the criteria do.
type Sorter struct {
	by    []wire.SortCriterion
	keys  []byte // of all messages, one after the other
	items []sortItem
}

type sortItem struct {
	from, to int // of keys
	num      uint32
}

// maxSortText is how many octets of a folded text are compared, as many as an
// Overview keeps of one: folding makes 33 of the three of U+FDFA.
const maxSortText = 1024

// NewSorter makes one for the criteria. One whose key came before decides nothing,
// and is left out.
func NewSorter(by []wire.SortCriterion) *Sorter {
	s := new(Sorter)
	for _, c := range by {
		if !s.uses(c.Key) {
			s.by = append(s.by, c)
		}
	}
	return s
}

// NeedsOverview, NeedsSize and NeedsScore tell what of a Found matters.
func (s *Sorter) NeedsOverview() bool {
	return slices.ContainsFunc(s.by, func(c wire.SortCriterion) bool {
		return c.Key != wire.SortArrival && c.Key != wire.SortSize && c.Key != wire.SortRelevancy
	})
}

// NeedsSent tells whether Overview.Sent matters, and of the Overview nothing else.
func (s *Sorter) NeedsSent() bool {
	return s.uses(wire.SortDate) && !slices.ContainsFunc(s.by, func(c wire.SortCriterion) bool {
		return c.Key != wire.SortDate && c.Key != wire.SortArrival && c.Key != wire.SortSize && c.Key != wire.SortRelevancy
	})
}

// NeedsSize tells whether Found.Size matters.
func (s *Sorter) NeedsSize() bool { return s.uses(wire.SortSize) }

// NeedsScore tells whether Found.Score matters.
func (s *Sorter) NeedsScore() bool { return s.uses(wire.SortRelevancy) }

func (s *Sorter) uses(key wire.SortKey) bool {
	return slices.ContainsFunc(s.by, func(c wire.SortCriterion) bool { return c.Key == key })
}

// Add adds a message. Messages come in the order of their sequence numbers.
func (s *Sorter) Add(f *Found) {
	item := sortItem{from: len(s.keys), num: f.Num}
	for _, c := range s.by {
		start := len(s.keys)
		s.keys = appendSortKey(s.keys, c.Key, f)
		if c.Reverse {
			for i := range s.keys[start:] {
				s.keys[start+i] ^= 0xff
			}
		}
	}
	item.to = len(s.keys)
	s.items = append(s.items, item)
}

// Sorted gives the numbers of the messages, and how many there are. Messages
// that compare as equal keep their order.
func (s *Sorter) Sorted() []uint32 {
	slices.SortFunc(s.items, func(a, b sortItem) int {
		return cmp.Or(bytes.Compare(s.keys[a.from:a.to], s.keys[b.from:b.to]), cmp.Compare(a.from, b.from))
	})
	nums := make([]uint32, len(s.items))
	for i, item := range s.items {
		nums[i] = item.num
	}
	return nums
}

// appendSortKey adds what a criterion compares of a message.
func appendSortKey(dst []byte, key wire.SortKey, f *Found) []byte {
	o := &f.Overview
	switch key {
	case wire.SortArrival:
		return appendSortNumber(dst, f.Arrival)
	case wire.SortCc:
		return appendSortText(dst, o.Cc)
	case wire.SortDate:
		return appendSortNumber(dst, f.sent())
	case wire.SortDisplayFrom:
		return appendSortText(dst, o.FromName)
	case wire.SortDisplayTo:
		return appendSortText(dst, o.ToName)
	case wire.SortFrom:
		return appendSortText(dst, o.From)
	case wire.SortRelevancy: // the highest comes first (RFC 6203 §6)
		return appendSortNumber(dst, -int64(f.Score))
	case wire.SortSize:
		return appendSortNumber(dst, f.Size)
	case wire.SortSubject:
		return appendSortText(dst, o.Subject)
	case wire.SortTo:
		return appendSortText(dst, o.To)
	}
	panic("search: no such sort key: " + string(key)) // the parser makes no others
}

// appendSortNumber adds a number so that octets compare as numbers do.
func appendSortNumber(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(n)^1<<63)
}

// appendSortText adds a text as i;unicode-casemap compares it (RFC 5051, RFC
// 5255 §4.2), with an end that sorts before everything else and does not come in it.
func appendSortText(dst []byte, text string) []byte {
	start := len(dst)
	dst, _ = appendFold(dst, []byte(text), true)
	dst = dst[:min(len(dst), start+maxSortText)]
	if bytes.IndexByte(dst[start:], 0) >= 0 {
		dst = append(dst[:start], bytes.ReplaceAll(dst[start:], []byte{0}, []byte{0, 1})...)
	}
	return append(dst, 0, 0)
}
