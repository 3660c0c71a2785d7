package search

import (
	"math/rand/v2"
	"testing"
)

// The forest says the same as walking up from parent to parent does.
func TestForest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var f forest
		n := 2 + r.IntN(40)
		parent := make([]int32, n)
		for i := range parent {
			f.add()
			parent[i] = none
		}
		root := func(i int32) int32 {
			for parent[i] != none {
				i = parent[i]
			}
			return i
		}
		for range 500 {
			a, b := int32(r.IntN(n)), int32(r.IntN(n))
			if have, want := f.root(a), root(a); have != want {
				t.Fatalf("root of %d is %d, want %d", a, have, want)
			}
			switch {
			case parent[b] != none && r.IntN(2) == 0:
				f.cut(b)
				parent[b] = none
			case parent[b] == none:
				below := root(a) == b
				if have := f.below(a, b); have != below {
					t.Fatalf("%d below %d: %v", a, b, have)
				}
				if !below {
					f.link(b, a)
					parent[b] = a
				}
			}
		}
	}
}
