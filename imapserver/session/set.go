package session

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// span is a range of messages of the view, first <= last.
type span struct{ first, last store.SeqNum }

// errRange is the answer to numbers beyond the mailbox (RFC 9051 §9,
// seq-number). "*" and "n:*" of an empty mailbox are let pass, as nothing.
var errRange = bad("no message has this sequence number")

// spans gives the messages of a set, ascending and apart. Work is in
// proportion to the set's ranges, whatever their width.
func (v *selection) spans(set imap.NumSet) ([]span, error) {
	switch set := set.(type) {
	case imap.SeqSet:
		return seqSpans(v.view, set)
	case imap.UIDSet:
		if imap.IsSearchRes(set) {
			return uidSpans(v.view, v.saved), nil
		}
		return uidSpans(v.view, set), nil
	}
	return nil, nil
}

func seqSpans(view *store.View, set imap.SeqSet) ([]span, error) {
	total := store.SeqNum(view.Len())
	var list []span
	for _, r := range set {
		first, last := store.SeqNum(r.Start), store.SeqNum(r.Stop)
		if total == 0 && last == 0 {
			continue
		}
		if first > total || last > total {
			return nil, errRange
		}
		if first == 0 {
			first = total
		}
		if last == 0 {
			last = total
		}
		list = addSpan(list, first, last)
	}
	return list, nil
}

func uidSpans(view *store.View, set imap.UIDSet) []span {
	total := store.SeqNum(view.Len())
	if total == 0 {
		return nil
	}
	var list []span
	for _, r := range set {
		first, last := total, total
		if r.Start != 0 { // "n:*" has the last message in it even where n is beyond
			first, _ = view.Seq(r.Start)
		}
		if r.Stop != 0 {
			seq, found := view.Seq(r.Stop)
			if last = seq; !found {
				last--
			}
		} else {
			first = min(first, total)
		}
		if first <= last {
			list = addSpan(list, first, last)
		}
	}
	return list
}

// addSpan adds a span that starts no earlier than the last one.
func addSpan(list []span, first, last store.SeqNum) []span {
	if n := len(list); n > 0 && first <= list[n-1].last+1 {
		list[n-1].last = max(list[n-1].last, last)
		return list
	}
	return append(list, span{first, last})
}

// count gives how many messages the spans are.
func count(list []span) int {
	n := 0
	for _, sp := range list {
		n += int(sp.last-sp.first) + 1
	}
	return n
}

// cutSpans gives a range of the messages of the spans.
func cutSpans(list []span, p *wire.PartialRange) []span {
	from, to := window(p, count(list))
	var some []span
	for _, sp := range list {
		n := int(sp.last-sp.first) + 1
		if first, last := max(from, 0), min(to, n); first < last {
			some = append(some, span{sp.first + store.SeqNum(first), sp.first + store.SeqNum(last-1)})
		}
		from, to = from-n, to-n
	}
	return some
}

// numbers gives each message of the spans.
func numbers(list []span) []store.SeqNum {
	seqs := make([]store.SeqNum, 0, count(list))
	for _, sp := range list {
		for seq := sp.first; seq <= sp.last; seq++ {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// appendRuns adds numbers as a sequence set that keeps their order.
func appendRuns[N ~uint32](set []imap.SeqRange, nums []N) []imap.SeqRange {
	for _, n := range nums {
		if k := len(set); k > 0 && set[k-1].Stop+1 == uint32(n) {
			set[k-1].Stop++
			continue
		}
		set = append(set, imap.SeqRange{Start: uint32(n), Stop: uint32(n)})
	}
	return set
}

// uidRanges gives messages of a view as ranges of UIDs. Those that stand next to
// each other are one range, even where their UIDs do not.
func uidRanges(view *store.View, seqs []store.SeqNum) imap.UIDSet {
	if !slices.IsSorted(seqs) {
		seqs = slices.Sorted(slices.Values(seqs))
	}
	var list []span
	for _, seq := range seqs {
		list = addSpan(list, seq, seq)
	}
	set := make(imap.UIDSet, 0, len(list))
	for _, sp := range list {
		set = append(set, imap.UIDRange{Start: view.UIDAt(sp.first), Stop: view.UIDAt(sp.last)})
	}
	return set
}
