package wire

import (
	"math"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// span is a range of a sequence set, first <= last; last is math.MaxUint32+1
// where the set says "*", which so sorts behind every number.
type span struct{ first, last uint64 }

const star = math.MaxUint32 + 1

// expectSpans reads a sequence set (RFC 9051 §9), sorts it and merges what
// touches: work and memory are in proportion to its text, whatever the numbers.
func (d *decoder) expectSpans() []span {
	var set []span
	for {
		s := span{first: d.expectSetNumber()}
		s.last = s.first
		if d.take(':') {
			s.last = d.expectSetNumber()
		}
		if d.err != nil {
			return nil
		}
		set = append(set, span{min(s.first, s.last), max(s.first, s.last)})
		if !d.take(',') {
			break
		}
	}
	set = mergeSpans(set)
	if len(set) > d.r.limits.Ranges {
		d.refuse(imap.StatusResponseTypeNo, imap.ResponseCodeLimit, "too many ranges in the sequence set")
		return nil
	}
	return set
}

func (d *decoder) expectSetNumber() uint64 {
	if d.take('*') {
		return star
	}
	return uint64(d.expectNonZero32())
}

func mergeSpans(set []span) []span {
	slices.SortFunc(set, func(a, b span) int {
		switch {
		case a.first < b.first:
			return -1
		case a.first > b.first:
			return 1
		}
		return 0
	})
	out := set[:1]
	for _, s := range set[1:] {
		// "9:*" has 5 in it where 5 is the last message, so "*" is merged
		// with a range up to "*" only, never with the numbers before it.
		if top := &out[len(out)-1]; s.first <= top.last+1 && s.first != star || top.last == star {
			top.last = max(top.last, s.last)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// wireNumber is a set's number as go-imap has it: "*" is zero.
func wireNumber(n uint64) uint32 {
	if n == star {
		return 0
	}
	return uint32(n)
}

// expectSeqSet and expectUIDSet read a set of numbers: ascending, disjoint, at
// least one range; zero stands for "*", and a range that ends in zero always
// has the last message in it.
func (d *decoder) expectSeqSet() imap.SeqSet {
	d.bySeq = true
	var set imap.SeqSet
	for _, s := range d.expectSpans() {
		set = append(set, imap.SeqRange{Start: wireNumber(s.first), Stop: wireNumber(s.last)})
	}
	return set
}

func (d *decoder) expectUIDSet() imap.UIDSet {
	var set imap.UIDSet
	for _, s := range d.expectSpans() {
		set = append(set, imap.UIDRange{Start: imap.UID(wireNumber(s.first)), Stop: imap.UID(wireNumber(s.last))})
	}
	return set
}

// expectSet reads the set of a command that has a UID form. "$" is
// imap.SearchRes() in both.
func (d *decoder) expectSet(uid bool) imap.NumSet {
	if d.takeSaved() {
		return imap.SearchRes()
	}
	if uid {
		return d.expectUIDSet()
	}
	return d.expectSeqSet()
}

// takeSaved takes "$", which stands for what a search has saved (RFC 5182).
func (d *decoder) takeSaved() bool {
	if !d.take('$') {
		return false
	}
	d.use(imap.CapSearchRes)
	return true
}
