package search

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/message"
	"mailstead/imapserver/wire"
)

func sorted(list []Found, by ...wire.SortCriterion) string {
	s := NewSorter(by)
	for i := range list {
		s.Add(&list[i])
	}
	return fmt.Sprint(s.Sorted())
}

func TestSort(t *testing.T) {
	at := func(sec int64) time.Time { return time.Unix(sec, 0).UTC() }
	list := []Found{
		{Num: 1, Arrival: 30, Size: 300, Score: 50, Overview: message.Overview{Sent: at(9), Subject: "b", From: "Zoe", FromName: "anna", To: "x", ToName: "x@b", Cc: "c"}},
		{Num: 2, Arrival: 10, Size: 1 << 40, Score: 100, Overview: message.Overview{Subject: "A", From: "ann", FromName: "Zoe", To: "", ToName: "", Cc: ""}},
		{Num: 3, Arrival: 20, Size: 0, Score: 1, Overview: message.Overview{Sent: at(-5), Subject: "a", From: "\u00c4nn", FromName: "\u00e4nn", To: "w", ToName: "w"}},
		{Num: 4, Arrival: 20, Size: 300, Score: 99, Overview: message.Overview{Sent: at(9), Subject: "ab", From: "ANN", FromName: "", To: "x\x00", ToName: "X@B", Cc: "C"}},
	}
	for _, c := range []struct {
		by      wire.SortCriterion
		want    string
		reverse string
	}{
		{wire.SortCriterion{Key: wire.SortArrival}, "[2 3 4 1]", "[1 3 4 2]"},
		{wire.SortCriterion{Key: wire.SortDate}, "[3 1 4 2]", "[2 1 4 3]"},
		{wire.SortCriterion{Key: wire.SortSize}, "[3 1 4 2]", "[2 1 4 3]"},
		{wire.SortCriterion{Key: wire.SortSubject}, "[2 3 4 1]", "[1 4 2 3]"},
		{wire.SortCriterion{Key: wire.SortFrom}, "[2 4 3 1]", "[1 3 2 4]"},
		{wire.SortCriterion{Key: wire.SortDisplayFrom}, "[4 1 3 2]", "[2 3 1 4]"},
		{wire.SortCriterion{Key: wire.SortTo}, "[2 3 1 4]", "[4 1 3 2]"},
		{wire.SortCriterion{Key: wire.SortDisplayTo}, "[2 3 1 4]", "[1 4 3 2]"},
		{wire.SortCriterion{Key: wire.SortCc}, "[2 3 1 4]", "[1 4 2 3]"},
		{wire.SortCriterion{Key: wire.SortRelevancy}, "[2 4 1 3]", "[3 1 4 2]"},
	} {
		if have := sorted(list, c.by); have != c.want {
			t.Errorf("%s: have %s, want %s", c.by.Key, have, c.want)
		}
		if have := sorted(list, wire.SortCriterion{Key: c.by.Key, Reverse: true}); have != c.reverse {
			t.Errorf("REVERSE %s: have %s, want %s", c.by.Key, have, c.reverse)
		}
	}
	if have := sorted(list, wire.SortCriterion{Key: wire.SortSubject}, wire.SortCriterion{Key: wire.SortArrival, Reverse: true}); have != "[3 2 4 1]" {
		t.Errorf("SUBJECT REVERSE ARRIVAL: %s", have)
	}
	if have := sorted(nil, wire.SortCriterion{Key: wire.SortDate}); have != "[]" {
		t.Errorf("of nothing: %s", have)
	}
}

// A sort by a text is that by its folded octets, whatever is in it.
func TestSortTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	list := make([]Found, 300)
	for i := range list {
		s := make([]byte, r.IntN(4))
		for k := range s {
			s[k] = "\x00\x01aAb\x7f"[r.IntN(6)]
		}
		list[i] = Found{Num: uint32(i), Overview: message.Overview{Subject: string(s)}}
	}
	want := slices.Clone(list)
	slices.SortStableFunc(want, func(a, b Found) int {
		return slices.Compare(fold(a.Overview.Subject), fold(b.Overview.Subject))
	})
	var nums []uint32
	for _, f := range want {
		nums = append(nums, f.Num)
	}
	if have := sorted(list, wire.SortCriterion{Key: wire.SortSubject}); have != fmt.Sprint(nums) {
		t.Errorf("have %s, want %v", have, nums)
	}
}

// A key has a bound, however often a criterion is given and whatever folding makes of a
// text.
func TestSortBound(t *testing.T) {
	by := []wire.SortCriterion{{Key: wire.SortSubject, Reverse: true}, {Key: wire.SortFrom}}
	for range 500 {
		by = append(by, wire.SortCriterion{Key: wire.SortSubject}, wire.SortCriterion{Key: wire.SortFrom, Reverse: true})
	}
	list := []Found{
		{Num: 1, Overview: message.Overview{Subject: "a", From: "b"}}, {Num: 2, Overview: message.Overview{Subject: "b"}},
		{Num: 3, Overview: message.Overview{Subject: "a", From: "a"}},
		{Num: 4, Overview: message.Overview{Subject: strings.Repeat("\ufdfa", 340), From: strings.Repeat("\x00", 1000)}},
	}
	if have := sorted(list, by...); have != "[4 2 3 1]" {
		t.Errorf("have %s", have)
	}
	s := NewSorter(by)
	if s.Add(&list[3]); len(s.keys) > 4*maxSortText {
		t.Errorf("a key of %d octets", len(s.keys))
	}
}
