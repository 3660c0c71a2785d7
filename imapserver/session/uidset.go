package session

import (
	"cmp"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// These work on sets of UIDs that ascend, are apart and have no "*", in time in
// proportion to the ranges of both.

// contains tells whether a UID is in a set.
func contains(set imap.UIDSet, uid imap.UID) bool {
	i, found := slices.BinarySearchFunc(set, uid, func(r imap.UIDRange, uid imap.UID) int { return cmp.Compare(r.Start, uid) })
	return found || i > 0 && uid <= set[i-1].Stop
}

// with gives a set and another.
func with(set, more imap.UIDSet) imap.UIDSet {
	if len(more) == 0 {
		return set
	}
	all := slices.Concat(set, more)
	slices.SortFunc(all, func(a, b imap.UIDRange) int { return cmp.Compare(a.Start, b.Start) })
	out := all[:1]
	for _, r := range all[1:] {
		if top := &out[len(out)-1]; r.Start-1 <= top.Stop {
			top.Stop = max(top.Stop, r.Stop)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// without gives a set less another.
func without(set, less imap.UIDSet) imap.UIDSet {
	if len(less) == 0 {
		return set
	}
	var out imap.UIDSet
	for _, r := range set {
		for len(less) > 0 && less[0].Stop < r.Start {
			less = less[1:]
		}
		for _, cut := range less {
			if cut.Start > r.Stop {
				break
			}
			if cut.Start > r.Start {
				out = append(out, imap.UIDRange{Start: r.Start, Stop: cut.Start - 1})
			}
			if r.Start = cut.Stop + 1; r.Start > r.Stop || r.Start == 0 {
				break
			}
		}
		if r.Start <= r.Stop && r.Start != 0 {
			out = append(out, r)
		}
	}
	return out
}
