package search

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// cost is what must be read to answer a key.
type cost int

const (
	costNone   cost = iota // nothing beyond Message
	costSize               // the size, which mostly is known, or how the message came
	costHeader             // the message's header
	costText               // the message; all of it is decoded
)

// node is a key made ready to be matched.
type node struct {
	cost  cost
	match func(*target) (bool, error)
}

// known makes a node of a test that needs nothing but Message.
func known(test func(*Message) bool) node {
	return node{costNone, func(t *target) (bool, error) { return test(t.m), nil }}
}

type compiler struct {
	p     *Program
	frame Frame
	fuzzy bool // inside FUZZY
}

func (c *compiler) node(k wire.SearchKey) node {
	switch k.Op {
	case wire.SearchAll:
		return known(func(*Message) bool { return true })
	case wire.SearchAnd:
		return all(c.nodes(k.Keys), false)
	case wire.SearchOr:
		return all(c.nodes(k.Keys), true)
	case wire.SearchNot:
		return negate(all(c.nodes(k.Keys), false))
	case wire.SearchFlag:
		return known(func(m *Message) bool { return hasFlag(m.Flags, k.Flag) })
	case wire.SearchRecent:
		return known(func(m *Message) bool { return m.Recent })
	case wire.SearchModSeq:
		return known(func(m *Message) bool { return m.ModSeq >= k.ModSeq })
	case wire.SearchSeq:
		set := newRanges(len(k.SeqSet), func(i int) (uint32, uint32) { return k.SeqSet[i].Start, k.SeqSet[i].Stop }, c.frame.Seq)
		return known(func(m *Message) bool { return set.contains(m.Seq) })
	case wire.SearchUID:
		set := newRanges(len(k.UIDSet), func(i int) (uint32, uint32) {
			return uint32(k.UIDSet[i].Start), uint32(k.UIDSet[i].Stop)
		}, uint32(c.frame.UID))
		return known(func(m *Message) bool { return set.contains(uint32(m.UID)) })
	case wire.SearchBefore, wire.SearchOn, wire.SearchSince:
		test := dayTest(k.Op, k.Date)
		return known(func(m *Message) bool { return test(dayOf(m.InternalDate)) })
	case wire.SearchSentBefore, wire.SearchSentOn, wire.SearchSentSince:
		c.p.dated = true
		return sent(dayTest(k.Op, k.Date))
	case wire.SearchLarger:
		return sized(func(n int64) bool { return n > k.Size })
	case wire.SearchSmaller:
		return sized(func(n int64) bool { return n < k.Size })
	case wire.SearchSavedBefore, wire.SearchSavedOn, wire.SearchSavedSince:
		test := dayTest(k.Op, k.Date)
		return arrived(func(saved time.Time, _ string) bool { return test(dayOf(saved)) })
	case wire.SearchEmailID:
		return arrived(func(_ time.Time, id string) bool { return id == k.Text })
	case wire.SearchSaved:
		set := newRanges(len(c.frame.Saved), func(i int) (uint32, uint32) {
			return uint32(c.frame.Saved[i].Start), uint32(c.frame.Saved[i].Stop)
		}, 0)
		return known(func(m *Message) bool { return set.contains(uint32(m.UID)) })
	case wire.SearchOlder: // RFC 5032 §2: the very second is both
		return known(func(m *Message) bool { return m.InternalDate.Unix() <= c.p.now.Add(-k.Interval).Unix() })
	case wire.SearchYounger:
		return known(func(m *Message) bool { return m.InternalDate.Unix() >= c.p.now.Add(-k.Interval).Unix() })
	}
	return c.stringNode(k)
}

// stringNode makes a node of a key that looks for a string, or of FUZZY.
func (c *compiler) stringNode(k wire.SearchKey) node {
	switch k.Op {
	case wire.SearchHeader:
		return c.text(costHeader, k.Text, func(pattern []byte) int { return c.p.headers.add(k.Header, pattern) }, (*target).inHeader)
	case wire.SearchBody, wire.SearchText:
		if k.Text == "" { // which every message contains
			return known(func(*Message) bool { return true })
		}
		header := k.Op == wire.SearchText
		return c.text(costText, k.Text, func(pattern []byte) int { return c.p.texts.add(pattern, header) }, (*target).inText)
	case wire.SearchFuzzy:
		outer := c.fuzzy
		c.fuzzy = true
		n := all(c.nodes(k.Keys), false)
		c.fuzzy = outer
		return n
	}
	panic("search: no such key: " + string(k.Op)) // the parser makes no others
}

func (c *compiler) nodes(keys []wire.SearchKey) []node {
	list := make([]node, len(keys))
	for i, k := range keys {
		list[i] = c.node(k)
	}
	return list
}

// text makes a node of a string that is looked for. add gives a folded pattern
// a number, by which in says whether it was found.
func (c *compiler) text(cost cost, s string, add func(pattern []byte) int, in func(*target, int) (bool, error)) node {
	if c.fuzzy && s != "" {
		f := newFuzzyKey(s, add, in)
		c.p.fuzzies = append(c.p.fuzzies, f)
		return node{cost, f.match}
	}
	n := add(fold(s))
	return node{cost, func(t *target) (bool, error) { return in(t, n) }}
}

// all makes AND of its nodes; where stop is true, OR. It asks the cheap ones
// first and goes on until one of them answers stop.
func all(list []node, stop bool) node {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b node) int { return cmp.Compare(a.cost, b.cost) })
	whole := node{match: func(t *target) (bool, error) {
		for _, n := range list {
			if ok, err := n.match(t); ok == stop || err != nil {
				return ok, err
			}
		}
		return !stop, nil
	}}
	if len(list) > 0 {
		whole.cost = list[len(list)-1].cost
	}
	return whole
}

func negate(n node) node {
	return node{n.cost, func(t *target) (bool, error) {
		ok, err := n.match(t)
		return !ok && err == nil, err
	}}
}

func sent(test func(day) bool) node {
	return node{costHeader, func(t *target) (bool, error) {
		d, err := t.sentDay()
		return err == nil && d != day{} && test(d), err
	}}
}

func sized(test func(int64) bool) node {
	return node{costSize, func(t *target) (bool, error) {
		n, err := t.readSize()
		return err == nil && test(n), err
	}}
}

func arrived(test func(saved time.Time, emailID string) bool) node {
	return node{costSize, func(t *target) (bool, error) {
		saved, id, err := t.arrival()
		return err == nil && test(saved, id), err
	}}
}

func hasFlag(flags []imap.Flag, want imap.Flag) bool {
	return slices.ContainsFunc(flags, func(f imap.Flag) bool { return strings.EqualFold(string(f), string(want)) })
}

// day is a date without time and zone: RFC 9051 §6.4.4 disregards them.
type day struct {
	year  int
	month time.Month
	day   int
}

func dayOf(t time.Time) day {
	y, m, d := t.Date()
	return day{y, m, d}
}

func (d day) compare(e day) int {
	return cmp.Or(cmp.Compare(d.year, e.year), cmp.Compare(d.month, e.month), cmp.Compare(d.day, e.day))
}

func dayTest(op wire.SearchOp, date time.Time) func(day) bool {
	want := dayOf(date)
	switch op {
	case wire.SearchBefore, wire.SearchSentBefore, wire.SearchSavedBefore:
		return func(d day) bool { return d.compare(want) < 0 }
	case wire.SearchSince, wire.SearchSentSince, wire.SearchSavedSince:
		return func(d day) bool { return d.compare(want) >= 0 }
	}
	return func(d day) bool { return d == want }
}
