package session

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// Sets of ranges say the same as sets of numbers do.
func TestUIDSets(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 2000 {
		const n = 30
		some := func() (set imap.UIDSet, in map[imap.UID]bool) {
			in = map[imap.UID]bool{}
			for uid := imap.UID(1 + r.IntN(4)); uid < n; uid += imap.UID(2 + r.IntN(6)) {
				last := min(uid+imap.UID(r.IntN(5)), n)
				set = append(set, imap.UIDRange{Start: uid, Stop: last})
				for ; uid <= last; uid++ {
					in[uid] = true
				}
			}
			return set, in
		}
		a, inA := some()
		b, inB := some()
		both, less := with(a, b), without(a, b)
		for uid := imap.UID(1); uid <= n+1; uid++ {
			if have, want := contains(both, uid), inA[uid] || inB[uid]; have != want {
				t.Fatalf("%v with %v is %v: %d is in it: %v", a, b, both, uid, have)
			}
			if have, want := contains(less, uid), inA[uid] && !inB[uid]; have != want {
				t.Fatalf("%v without %v is %v: %d is in it: %v", a, b, less, uid, have)
			}
		}
		checkApart(t, both)
		checkApart(t, less)
	}
	all := imap.UIDSet{{Start: 1, Stop: math.MaxUint32}}
	if set := without(all, imap.UIDSet{{Start: 2, Stop: math.MaxUint32}}); len(set) != 1 || set[0].Stop != 1 {
		t.Errorf("up to the highest number: %v", set)
	}
}

func checkApart(t *testing.T, set imap.UIDSet) {
	t.Helper()
	for i, r := range set {
		if r.Start > r.Stop || i > 0 && r.Start <= set[i-1].Stop {
			t.Fatalf("%v is no proper set", set)
		}
	}
}
