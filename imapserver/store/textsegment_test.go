package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/oracle"
	"mailstead/imapserver/search"
)

// made is a segment as it is stored.
type made struct {
	head  []byte
	pages [][]byte
}

const madeID = 77

var madeOf = textSource{mailbox: 3, validity: 4}

func makeSegment(t testing.TB, m *segmentMaker) made {
	t.Helper()
	var s made
	seg, err := m.make(madeID, func(n int, page []byte) error {
		if n != len(s.pages) {
			return fmt.Errorf("page %d after %d", n, len(s.pages))
		}
		if len(page) > textPageLen+4 {
			return fmt.Errorf("a page of %d octets", len(page))
		}
		s.pages = append(s.pages, slices.Clone(page))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.head = seg.encodeHead(madeOf)
	return s
}

// having asks a stored segment who has a gram.
func (s made) having(g search.Gram) (members []member, having []uint64, err error) {
	seg, err := decodeHead(s.head, madeID, madeOf)
	if err != nil {
		return nil, nil, err
	}
	n := seg.pageOf(g)
	if n < 0 {
		return seg.members, make([]uint64, seg.words()), nil
	}
	page, err := unseal(s.pages[n], madeID, int64(n))
	if err != nil {
		return nil, nil, err
	}
	having, err = seg.find(page, g)
	return seg.members, having, err
}

// TestSegment compares random segments with what was put into them.
func TestSegment(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for round := range 60 {
		var m segmentMaker
		type holder struct{ gram, slot int }
		has := make(map[holder]bool)
		spread := []int{3, 300, 1 << 25}[round%3]
		uid := imap.UID(0)
		var want []member
		for slot := range 1 + r.IntN(maxMembers) {
			uid += imap.UID(1 + r.IntN(1000))
			grams := make(map[search.Gram]bool)
			for range r.IntN(40) {
				g := search.Gram(r.IntN(spread))
				grams[g], has[holder{int(g), slot}] = true, true
			}
			base, known := fmt.Sprint("base", r.Uint32()), r.IntN(20) > 0
			if !known {
				maps.DeleteFunc(has, func(h holder, _ bool) bool { return h.slot == slot })
			}
			m.add(uid, base, slices.Collect(maps.Keys(grams)), known)
			want = append(want, member{uid, baseHash(base), !known})
		}
		s := makeSegment(t, &m)
		ask := []search.Gram{0, 1, 2, 1<<25 - 1}
		for h := range has {
			ask = append(ask, search.Gram(h.gram), search.Gram(r.IntN(spread)))
		}
		for _, g := range ask[:min(len(ask), 300)] {
			members, having, err := s.having(g)
			if err != nil || !slices.Equal(members, want) {
				t.Fatalf("%v; %d members, want %d", err, len(members), len(want))
			}
			for slot := range members {
				if have := having[slot/64]>>(slot%64)&1 == 1; have != has[holder{int(g), slot}] {
					t.Fatalf("member %d of %d has %x: %v", slot, len(members), g, have)
				}
			}
		}
	}
}

// TestSegmentDamaged flips every octet of a head and of a page, cuts them, and
// takes them for those of others.
func TestSegmentDamaged(t *testing.T) {
	var m segmentMaker
	for i := range 20 {
		m.add(imap.UID(i+1), fmt.Sprint(i), []search.Gram{1, search.Gram(i), 1 << 20}, i != 3)
	}
	s := makeSegment(t, &m)
	for i := range s.head {
		bad := slices.Clone(s.head)
		bad[i] ^= 0x10
		if _, err := decodeHead(bad, madeID, madeOf); err == nil {
			t.Errorf("octet %d of the head is not checked", i)
		}
		if _, err := decodeHead(s.head[:i], madeID, madeOf); err == nil {
			t.Errorf("a head of %d octets is taken", i)
		}
	}
	if _, err := decodeHead(s.head, madeID+1, madeOf); err == nil {
		t.Error("the head of another segment is taken")
	}
	if _, err := decodeHead(s.head, madeID, textSource{3, 5}); err == nil {
		t.Error("a head of another UIDVALIDITY is taken")
	}
	for i := range s.pages[0] {
		bad := slices.Clone(s.pages[0])
		bad[i] ^= 0x10
		if _, err := unseal(bad, madeID, 0); err == nil {
			t.Errorf("octet %d of the page is not checked", i)
		}
	}
	if _, err := unseal(s.pages[0], madeID, 1); err == nil {
		t.Error("another page is taken")
	}
}

// FuzzSegment reads what no checksum guards.
func FuzzSegment(f *testing.F) {
	var m segmentMaker
	for i := range 20 {
		m.add(imap.UID(i+1), fmt.Sprint(i), []search.Gram{1, search.Gram(i), 1 << 20}, i != 3)
	}
	s := makeSegment(f, &m)
	f.Add(s.head, s.pages[0], uint32(1))
	f.Fuzz(func(t *testing.T, head, page []byte, want uint32) {
		oracle.Cost(t, len(head)+len(page), func() {
			if seg, err := decodeHead(seal(head, madeID, madeOf.mailbox, int64(madeOf.validity)), madeID, madeOf); err == nil {
				_ = seg.pageOf(search.Gram(want))
				_, _ = seg.find(page, search.Gram(want))
			}
		})
	})
}
