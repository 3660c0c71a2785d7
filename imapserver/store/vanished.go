package store

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// HighestModSeq is the mod-sequence up to which the session has been told
// everything, as of the last Poll (RFC 7162 §3.2).
func (v *View) HighestModSeq() ModSeq {
	if v.omitted != 0 {
		return min(v.sure, v.omitted-1)
	}
	return v.sure
}

// Withholds tells whether the session knows of later changes than
// HighestModSeq, because others have been kept from it.
func (v *View) Withholds() bool { return v.told.modseq > v.HighestModSeq() }

// Omit says that the session is not told how the flags of message n have changed.
// HighestModSeq stays below that for as long as there is the View.
func (v *View) Omit(n SeqNum) {
	if m := v.told.at(int(n) - 1).modseq; v.omitted == 0 || m < v.omitted {
		v.omitted = m
	}
}

// Since gives the mod-sequence from which on to look for what has changed since
// n: n or, where that is not known any more, 0.
func (v *View) Since(n ModSeq) ModSeq {
	v.mb.mu.Lock()
	defer v.mb.mu.Unlock()
	if n < v.mb.floor {
		return 0
	}
	return n
}

// Known is what a client says that it knows of a mailbox (RFC 7162 §3.2.5).
// The sets are ascending, with no "*" in them.
type Known struct {
	UIDs imap.UIDSet // nil: all
	// SeqMatch and UIDMatch are as many sequence numbers and their UIDs; nil for
	// none.
	SeqMatch imap.SeqSet
	UIDMatch imap.UIDSet
}

// Vanished gives the UIDs, of those that the client knows, of messages that are
// gone since a mod-sequence that Since gave, ascending. There may be UIDs among
// them of messages that no one has ever seen. Those of messages that are in the
// view are not.
func (v *View) Vanished(since ModSeq, known Known) (imap.UIDSet, error) {
	top := v.told.uidNext - 1
	if top == 0 {
		return nil, nil
	}
	var gone imap.UIDSet
	if since == 0 {
		gone = v.told.gaps(v.matched(known) + 1)
	} else {
		var err error
		if gone, err = v.mb.expungedSince(since); err != nil {
			return nil, err
		}
		gone = without(mergeRanges(gone), v.told, top)
	}
	if known.UIDs == nil {
		return gone, nil
	}
	return intersect(gone, known.UIDs), nil
}

// expungedSince reads the ranges of UIDs, in no order.
func (mb *mailbox) expungedSince(since ModSeq) (set imap.UIDSet, err error) {
	mb.mu.Lock()
	id := mb.row.id
	mb.mu.Unlock()
	err = mb.a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT first, last FROM expunged WHERE mailbox = ? AND modseq > ?", &sqlitex.ExecOptions{
			Args: []any{id, int64(since)},
			ResultFunc: func(stmt *sqlite.Stmt) error {
				set = append(set, imap.UIDRange{Start: imap.UID(stmt.ColumnInt64(0)), Stop: imap.UID(stmt.ColumnInt64(1))})
				return nil
			},
		})
	})
	return set, err
}

// gaps gives the UIDs from first up that no message of the snapshot has.
func (s *snapshot) gaps(first imap.UID) (set imap.UIDSet) {
	next := first
	c, i := s.search(first)
	for ; c < len(s.chunks); c, i = c+1, 0 {
		for _, r := range s.chunks[c][i:] {
			if r.uid > next {
				set = append(set, imap.UIDRange{Start: next, Stop: r.uid - 1})
			}
			next = r.uid + 1
		}
	}
	if next < s.uidNext {
		set = append(set, imap.UIDRange{Start: next, Stop: s.uidNext - 1})
	}
	return set
}

// matched gives the highest UID up to which the client has just the messages
// that are there, as far as the pairs that it gave tell: a message that has kept
// its number has all before it that the client knows of.
func (v *View) matched(k Known) imap.UID {
	total := uint64(0)
	for _, r := range k.SeqMatch {
		total += uint64(r.Stop-r.Start) + 1
	}
	if total == 0 || total > math.MaxInt32 {
		return 0
	}
	matches := sort.Search(int(total), func(n int) bool {
		i, ok := v.told.index(nthUID(k.UIDMatch, n))
		return !ok || i+1 != int(nthSeq(k.SeqMatch, n))
	})
	if matches == 0 {
		return 0
	}
	return nthUID(k.UIDMatch, matches-1)
}

func nthUID(set imap.UIDSet, n int) imap.UID {
	for _, r := range set {
		if width := int(r.Stop-r.Start) + 1; n >= width {
			n -= width
			continue
		}
		return r.Start + imap.UID(n)
	}
	return 0
}

func nthSeq(set imap.SeqSet, n int) uint32 {
	for _, r := range set {
		if width := int(r.Stop-r.Start) + 1; n >= width {
			n -= width
			continue
		}
		return r.Start + uint32(n)
	}
	return 0
}

// mergeRanges sorts ranges and joins those that overlap or touch.
func mergeRanges(set imap.UIDSet) imap.UIDSet {
	if len(set) == 0 {
		return nil
	}
	slices.SortFunc(set, func(a, b imap.UIDRange) int { return cmp.Compare(a.Start, b.Start) })
	out := set[:1]
	for _, r := range set[1:] {
		if last := &out[len(out)-1]; r.Start <= last.Stop || r.Start == last.Stop+1 {
			last.Stop = max(last.Stop, r.Stop)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// without takes out what lies above top, and the UIDs of messages of s. Both are
// rare: a range is cut where a message stands in it.
func without(set imap.UIDSet, s *snapshot, top imap.UID) (out imap.UIDSet) {
	for _, r := range set {
		r.Stop = min(r.Stop, top)
		c, i := s.search(r.Start)
		for r.Start <= r.Stop {
			for ; c < len(s.chunks) && i == len(s.chunks[c]); c, i = c+1, 0 {
			}
			if c == len(s.chunks) || s.chunks[c][i].uid > r.Stop {
				out = append(out, r)
				break
			}
			uid := s.chunks[c][i].uid
			if uid > r.Start {
				out = append(out, imap.UIDRange{Start: r.Start, Stop: uid - 1})
			}
			r.Start = uid + 1
			i++
		}
	}
	return out
}

// intersect gives what is in both; both are ascending and apart.
func intersect(a, b imap.UIDSet) (out imap.UIDSet) {
	for len(a) > 0 && len(b) > 0 {
		if lo, hi := max(a[0].Start, b[0].Start), min(a[0].Stop, b[0].Stop); lo <= hi {
			out = append(out, imap.UIDRange{Start: lo, Stop: hi})
		}
		if a[0].Stop < b[0].Stop {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
