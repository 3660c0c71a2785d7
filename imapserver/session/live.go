package session

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/search"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// noUpdate says that a search is not kept up to date (RFC 5267 §4.3.1).
func noUpdate(tag string) imap.ResponseCode { return imap.ResponseCode(`NOUPDATE "` + tag + `"`) }

// liveSearch is a search whose results are kept up to date: the client is told
// what comes and what goes (RFC 5267 §4.3). The passing of time alone changes no
// result of OLDER and YOUNGER (RFC 5032 §2).
type liveSearch struct {
	tag     string
	uid     bool // results are told as UIDs
	matcher matcher
	flags   bool             // flags matter: what has changed is looked at
	matches imap.UIDSet      // ascending and apart, without "*"; may have UIDs in it that no message has
	next    imap.UID         // messages from here on have not been looked at
	missed  []imap.UID       // could not be read, and are looked at again; ascending
	items   []wire.FetchItem // of a new message that comes; nil: none
}

// liveNews is what has happened to the results of a search since the client was told.
type liveNews struct {
	*liveSearch
	come, gone []store.SeqNum
	fresh      []store.SeqNum // of those that have come, new messages of which items are told
}

// maxMissed is how many messages that cannot be read one search looks at again and again.
const maxMissed = 100

// checkLive refuses a search under the tag of one that is kept up to date.
func (s *session) checkLive(tag string, c *wire.Search) error {
	if c.Return != nil && c.Return.Update && s.findLive(tag) >= 0 {
		return bad("this tag is that of a search that is kept up to date")
	}
	return nil
}

func (s *session) findLive(tag string) int {
	return slices.IndexFunc(s.selected.live, func(l *liveSearch) bool { return l.tag == tag })
}

// keepLive keeps what a search has found up to date, if it can: an order of
// SORT it cannot keep up.
func (s *session) keepLive(tag string, c *wire.Search, r *result) {
	v := s.selected
	matches := uidRanges(v.view, r.seqs)
	if r.sorted || len(v.live) >= s.Limits.Live || len(matches) > s.Limits.Saved {
		s.w.Status("*", imap.StatusResponseTypeNo, noUpdate(tag), "results are not kept up to date")
		return
	}
	key := v.fix(c.Key)
	peek(c.Return.Fetch)
	v.live = append(v.live, &liveSearch{
		tag: tag, uid: c.UID, items: c.Return.Fetch, matches: matches, next: v.view.UIDNext(),
		flags:   key.Uses(wire.SearchFlag) || key.Uses(wire.SearchModSeq),
		matcher: matcher{view: v.view, program: search.Compile(key, search.Frame{})},
	})
}

// dropNumbered ends the updates of searches that are told by sequence number.
func (s *session) dropNumbered() {
	if s.selected == nil {
		return
	}
	s.selected.live = slices.DeleteFunc(s.selected.live, func(l *liveSearch) bool {
		if !l.uid {
			s.w.Status("*", imap.StatusResponseTypeNo, noUpdate(l.tag), "UIDONLY is enabled")
		}
		return !l.uid
	})
}

// cancelUpdate is CANCELUPDATE (RFC 5267 §4.3.5).
func (s *session) cancelUpdate(c *wire.CancelUpdate) (imap.ResponseCode, error) {
	for _, tag := range c.Tags {
		if s.findLive(tag) < 0 {
			return "", no(imap.ResponseCodeClientBug, "no search with this tag is kept up to date")
		}
	}
	v := s.selected
	v.live = slices.DeleteFunc(v.live, func(l *liveSearch) bool { return slices.Contains(c.Tags, l.tag) })
	return "", nil
}

// fix gives a key that means the same later: numbers of messages are those of now
// (RFC 5267 §4.3), as is what "$" stands for.
func (v *selection) fix(k wire.SearchKey) wire.SearchKey {
	switch k.Op {
	case wire.SearchSaved:
		return wire.SearchKey{Op: wire.SearchUID, UIDSet: v.saved}
	case wire.SearchSeq:
		return wire.SearchKey{Op: wire.SearchUID, UIDSet: v.fixSeqs(k.SeqSet)}
	case wire.SearchUID:
		k.UIDSet = v.fixUIDs(k.UIDSet)
	}
	keys := make([]wire.SearchKey, len(k.Keys))
	for i := range k.Keys {
		keys[i] = v.fix(k.Keys[i])
	}
	k.Keys = keys
	return k
}

func (v *selection) fixSeqs(set imap.SeqSet) imap.UIDSet {
	total := uint32(v.view.Len())
	var spans []span
	for _, r := range set {
		first, last := cmp.Or(r.Start, total), min(cmp.Or(r.Stop, total), total)
		if r.Stop == 0 { // "n:*" has the last message in it even where n is beyond
			first = min(first, total)
		}
		if first > 0 && first <= last {
			spans = addSpan(spans, store.SeqNum(first), store.SeqNum(last))
		}
	}
	return uidRanges(v.view, numbers(spans))
}

// fixUIDs gives a set without "*". What comes later is in "n:*" too.
func (v *selection) fixUIDs(set imap.UIDSet) (fixed imap.UIDSet) {
	last := imap.UID(0)
	if n := v.view.Len(); n > 0 {
		last = v.view.UIDAt(store.SeqNum(n))
	}
	for _, r := range set {
		switch {
		case r.Stop != 0:
		case r.Start != 0:
			r.Stop = math.MaxUint32
			if last != 0 {
				r.Start = min(r.Start, last)
			}
		case last != 0:
			r = imap.UIDRange{Start: last, Stop: last}
		default:
			continue
		}
		fixed = append(fixed, r)
	}
	return fixed
}

// noteLive takes note of what has changed, for tellLive.
func (v *selection) noteLive(updates []store.Update) {
	if len(v.live) == 0 {
		v.changed = nil
		return
	}
	for _, u := range updates {
		if u.Kind == store.UpdateFlags {
			v.changed = append(v.changed, u.UID)
		}
	}
	if len(v.changed) > 2*v.view.Len()+fewChanged { // with NOTIFY NONE, nobody is told for as long as the client likes
		slices.Sort(v.changed)
		v.changed = slices.Clip(slices.Compact(v.changed))
	}
}

// fewChanged is how many changed messages are noted whatever there is in the mailbox.
const fewChanged = 1000

// tellRemoved tells which results are about to be expunged, as long as their
// numbers are right (RFC 5267 §4.3.4). Those of updates are: they are told from
// the last message to the first.
func (s *session) tellRemoved(updates []store.Update) {
	for _, l := range s.selected.live {
		var gone imap.UIDSet
		var nums []uint32
		for _, u := range slices.Backward(updates) {
			if u.Kind != store.UpdateExpunge || !contains(l.matches, u.UID) {
				continue
			}
			gone = append(gone, imap.UIDRange{Start: u.UID, Stop: u.UID})
			if l.uid {
				nums = append(nums, uint32(u.UID))
			} else {
				nums = append(nums, uint32(u.Seq))
			}
		}
		l.matches = without(l.matches, gone)
		s.writeLive(l, "REMOVEFROM", nums)
	}
}

// tellLive looks at what is new and at what has changed, and tells which results
// that has made and unmade. What UPDATE wants to know of new ones comes before (RFC 5465
// §7), and then what NOTIFY wants to know with it, which alone would follow (§5.2).
func (s *session) tellLive(ctx context.Context, p *progress) error {
	v := s.selected
	changed := slices.Compact(slices.Sorted(slices.Values(v.changed)))
	v.changed = nil
	var news []liveNews
	fresh := false
	for _, l := range slices.Clone(v.live) {
		n, err := s.refresh(ctx, p, l, changed)
		if err == nil && len(l.matches) > s.Limits.Saved {
			err = errors.New("too many ranges of messages")
		}
		if ctx.Err() != nil || fatal(err) {
			return cmp.Or(ctx.Err(), err)
		}
		if err != nil {
			s.Log.Error("search is not kept up to date any more", "user", s.User, "err", err)
			v.live = slices.DeleteFunc(v.live, func(k *liveSearch) bool { return k == l })
			s.w.Status("*", imap.StatusResponseTypeNo, noUpdate(l.tag), "results are not kept up to date any more")
			continue
		}
		news, fresh = append(news, n), fresh || len(n.fresh) > 0
	}
	if fresh {
		if err := s.tellFresh(ctx, news); err != nil {
			return err
		}
	}
	for _, n := range news {
		s.writeLive(n.liveSearch, "ADDTO", n.numbers(n.come))
		s.writeLive(n.liveSearch, "REMOVEFROM", n.numbers(n.gone))
	}
	return nil
}

// refresh brings one search up to date. What cannot be read stays what it was to the client,
// until it can.
func (s *session) refresh(ctx context.Context, p *progress, l *liveSearch, changed []imap.UID) (liveNews, error) {
	view, n := s.selected.view, liveNews{liveSearch: l}
	l.matcher.program.SetTime(time.Now())
	var missed error
	again := l.missed
	l.missed = nil
	look := func(seq store.SeqNum, uid imap.UID) error {
		score, err := l.matcher.match(ctx, seq)
		switch was := contains(l.matches, uid); {
		case err != nil:
			missed = err
			l.missed = append(l.missed, uid)
			if len(l.missed) > maxMissed {
				return err
			}
		case score > 0 && !was:
			n.come = append(n.come, seq)
		case score == 0 && was:
			n.gone = append(n.gone, seq)
		}
		return cmp.Or(ctx.Err(), p.look())
	}
	if !l.flags {
		changed = nil
	}
	for _, uid := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(changed, again)))) {
		if seq, ok := view.Seq(uid); ok && uid < l.next {
			if err := look(seq, uid); err != nil {
				return n, err
			}
		}
	}
	first, _ := view.Seq(l.next)
	old := len(n.come)
	for seq := first; seq <= store.SeqNum(view.Len()); seq++ {
		if err := look(seq, view.UIDAt(seq)); err != nil {
			return n, err
		}
	}
	if l.items != nil {
		n.fresh = n.come[old:]
	}
	if missed != nil && len(again) == 0 {
		s.Log.Error("a search that is kept up to date leaves out what cannot be read", "user", s.User, "err", missed)
	}
	l.next = max(l.next, view.UIDNext())
	l.matches = without(with(l.matches, uidRanges(view, n.come)), uidRanges(view, n.gone))
	return n, nil
}

// numbers is how the client knows messages.
func (l *liveSearch) numbers(seqs []store.SeqNum) []uint32 {
	r := result{view: l.matcher.view, seqs: seqs}
	nums := make([]uint32, len(seqs))
	for i := range seqs {
		nums[i] = r.number(i, l.uid)
	}
	return nums
}

// writeLive tells that results have come or gone. Position 0 leaves it to the
// client to keep them in order (RFC 5267 §4.3.3).
func (s *session) writeLive(l *liveSearch, item string, nums []uint32) {
	if len(nums) == 0 {
		return
	}
	s.beginESearch(l.tag)
	s.w.Raw(")")
	if l.uid {
		s.w.Raw(" UID")
	}
	s.w.Raw(" " + item + " (0 ")
	s.w.Raw(imap.SeqSet(appendRuns(nil, nums)).String())
	s.w.Raw(")\r\n")
}
