package session

import (
	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// writeESearch writes the answer of RFC 4731 to a search of the selected
// mailbox.
func (s *session) writeESearch(tag string, c *wire.Search, r *result) {
	s.beginESearch(tag)
	s.w.Raw(")")
	s.writeResults(c, r)
}

// beginESearch writes an ESEARCH response up to where its correlators end.
func (s *session) beginESearch(tag string) {
	s.w.Raw("* ESEARCH (TAG ")
	s.w.String(tag)
}

// writeResults writes the items that were asked for, and ends the response.
// Without a match, only COUNT and PARTIAL have something to say.
func (s *session) writeResults(c *wire.Search, r *result) {
	if c.UID {
		s.w.Raw(" UID")
	}
	n, o := len(r.seqs), c.Return
	if o.Min && n > 0 {
		s.writeItem("MIN", r.number(0, c.UID))
	}
	if o.Max && n > 0 {
		s.writeItem("MAX", r.number(n-1, c.UID))
	}
	if o.Count {
		s.writeItem("COUNT", uint32(n))
	}
	first, last := 0, n // of what RELEVANCY is about
	if o.All && n > 0 {
		s.w.Raw(" ALL ")
		s.writeSet(r, 0, n, c.UID)
	}
	if o.Partial != nil {
		first, last = window(o.Partial, n)
		s.writePartial(r, o.Partial, c.UID)
	}
	if o.Relevancy {
		s.writeScores(r.scores[first:last])
	}
	if c.Key.Uses(wire.SearchModSeq) && len(r.named(o)) > 0 {
		s.w.Raw(" MODSEQ ")
		s.w.Number(uint64(r.modseq(o)))
	}
	s.w.CRLF()
}

// modseq gives the highest mod-sequence of the messages that the answer names
// (RFC 4731 §3.2).
func (r *result) modseq(o *wire.SearchReturn) (highest store.ModSeq) {
	for _, seq := range r.named(o) {
		highest = max(highest, r.view.At(seq).ModSeq)
	}
	return highest
}

func (s *session) writeItem(name string, n uint32) {
	s.w.Raw(" ")
	s.w.Raw(name)
	s.w.Raw(" ")
	s.w.Number(uint64(n))
}

// writeSet writes the matches from first up to, not including, last.
func (s *session) writeSet(r *result, first, last int, uid bool) {
	nums := make([]uint32, 0, last-first)
	for i := first; i < last; i++ {
		nums = append(nums, r.number(i, uid))
	}
	s.w.Raw(imap.SeqSet(appendRuns(nil, nums)).String())
}

// window gives the matches of a range, of n (RFC 9394 §3.1): from first up to,
// not including, last.
func window(p *wire.PartialRange, n int) (first, last int) {
	low, high := p.Bounds()
	if p.Backward {
		return max(n-int(high), 0), max(n-int(low)+1, 0)
	}
	return min(int(low)-1, n), min(int(high), n)
}

// writePartial writes the matches of a range, with the range as it was given.
func (s *session) writePartial(r *result, p *wire.PartialRange, uid bool) {
	sign := ""
	if p.Backward {
		sign = "-"
	}
	s.w.Raw(" PARTIAL (" + sign)
	s.w.Number(uint64(p.From))
	s.w.Raw(":" + sign)
	s.w.Number(uint64(p.To))
	s.w.Raw(" ")
	if first, last := window(p, len(r.seqs)); first < last {
		s.writeSet(r, first, last, uid)
	} else {
		s.w.Raw("NIL")
	}
	s.w.Raw(")")
}

// writeScores writes how well each match does match (RFC 6203 §4).
func (s *session) writeScores(scores []uint8) {
	s.w.Raw(" RELEVANCY (")
	for i, n := range scores {
		if i > 0 {
			s.w.Raw(" ")
		}
		s.w.Number(uint64(n))
	}
	s.w.Raw(")")
}

// codeNotSaved says that "$" could not be set (RFC 5182 §2.5).
const codeNotSaved imap.ResponseCode = "NOTSAVED"

// save makes what a search has found what "$" means. It is kept as ranges of
// UIDs: what is expunged leaves it by itself, and no later message has a UID in a
// range of earlier ones.
func (s *session) save(r *result, o *wire.SearchReturn) error {
	s.selected.saved = nil
	set := uidRanges(r.view, r.named(o))
	if len(set) > s.Limits.Saved {
		return no(codeNotSaved, "too many ranges of messages")
	}
	s.selected.saved = set
	return nil
}

// named gives the matches that the answer names, or counts: SAVE is about these (RFC
// 5182 §2.4, RFC 9394 §3.2).
func (r *result) named(o *wire.SearchReturn) []store.SeqNum {
	if o.All || o.Count || !o.Min && !o.Max && o.Partial == nil {
		return r.seqs
	}
	n := len(r.seqs)
	if n == 0 {
		return nil
	}
	var some []store.SeqNum
	if o.Partial != nil {
		first, last := window(o.Partial, n)
		some = append(some, r.seqs[first:last]...)
	}
	if o.Min {
		some = append(some, r.seqs[0])
	}
	if o.Max {
		some = append(some, r.seqs[n-1])
	}
	return some
}

// unsave does what a search has to do that was to set "$" and failed with NO
// (RFC 5182 §2.1).
func (s *session) unsave(c *wire.Search) {
	if s.selected != nil && c.Return != nil && c.Return.Save {
		s.selected.saved = nil
	}
}
