package search

import (
	"cmp"
	"slices"
)

// ranges is a set of numbers: ascending and apart.
type ranges []struct{ first, last uint32 }

// newRanges makes a set of n pairs of bounds, in any order; 0 is "*", the
// highest number in the mailbox. Where that is 0 too, "*" is nothing.
func newRanges(n int, bounds func(i int) (uint32, uint32), highest uint32) ranges {
	list := make(ranges, 0, n)
	for i := range n {
		a, b := bounds(i)
		if a == 0 {
			a = highest
		}
		if b == 0 {
			b = highest
		}
		if a == 0 || b == 0 {
			continue
		}
		list = append(list, struct{ first, last uint32 }{min(a, b), max(a, b)})
	}
	slices.SortFunc(list, func(a, b struct{ first, last uint32 }) int { return cmp.Compare(a.first, b.first) })
	merged := list[:0]
	for _, r := range list {
		if k := len(merged) - 1; k >= 0 && r.first <= merged[k].last {
			merged[k].last = max(merged[k].last, r.last)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

func (r ranges) contains(n uint32) bool {
	i, found := slices.BinarySearchFunc(r, n, func(e struct{ first, last uint32 }, n uint32) int {
		return cmp.Compare(e.first, n)
	})
	return found || i > 0 && n <= r[i-1].last
}
