package reconcile

import (
	"strings"
	"testing"
)

// TestVanished: one thing that has gone is made again; where all that stood in the same
// place has gone, none is until the operator says so, and neither is a new one.
func TestVanished(t *testing.T) {
	for name, tc := range map[string]struct {
		gone, new   []string // names of what is removed, of what is wanted from then on
		take        []string
		made, waits int
	}{
		"one":            {gone: []string{"a"}, made: 1},
		"all":            {gone: []string{"a", "b"}, waits: 3}, // and what needs one
		"all, confirmed": {gone: []string{"a", "b"}, take: []string{"own/*"}, made: 2},
		"one confirmed":  {gone: []string{"a", "b"}, take: []string{"own/b"}, made: 1, waits: 2},
		"all and a new":  {gone: []string{"a", "b"}, new: []string{"n"}, waits: 4},
		"a new one":      {new: []string{"n"}, made: 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t)
			state := memoryDir(t)
			table := m.table()
			table[1].In = "plain"
			root := res("plain", "/mail", "x", "1")
			item := func(kind, name string, needs Ref) Resource {
				r := res(kind, name, "x", "1")
				r.Needs = []Ref{needs}
				return r
			}
			want := []Resource{root, item("own", "a", root.Ref), item("own", "b", root.Ref)}
			want = append(want, item("unit", "u", want[1].Ref))
			compare := func(take ...string) *Plan {
				p, err := Compare(t.Context(), Inputs{Want: want, Table: table, State: state, Take: take})
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			apply := func(p *Plan) {
				r, err := Apply(t.Context(), p, Options{Table: table, State: state})
				if err == nil {
					err = r.Err()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			p := compare()
			if len(p.Blocked) > 0 || len(p.Changes) != 4 {
				t.Fatalf("the first time: %+v", p)
			}
			apply(p)
			for _, name := range tc.gone {
				delete(m.have, Ref{"own", name})
			}
			for _, name := range tc.new {
				want = append(want, item("own", name, root.Ref))
			}
			p = compare(tc.take...)
			if len(p.Changes) != tc.made || len(p.Blocked) != tc.waits {
				t.Errorf("%d changes, %d wait: %+v", len(p.Changes), len(p.Blocked), p)
			}
			if tc.waits > 0 && !strings.HasPrefix(p.Blocked[0].Reason, "all that was in /mail is gone (2), whose file system may not be mounted: mount it, or give --take own ") {
				t.Errorf("%+v", p.Blocked[0])
			}
			apply(p)
			for _, name := range tc.gone {
				if _, ok := m.have[Ref{"own", name}]; ok != matchAny(tc.take, Ref{"own", name}) && len(tc.gone) > 1 {
					t.Errorf("%s is there: %v", name, ok)
				}
			}
		})
	}
}

// TestVanishedUnfinished: what an apply began and did not make is no sign of anything.
func TestVanishedUnfinished(t *testing.T) {
	root := res("plain", "/mail", "x", "1")
	want := res("own", "a", "x", "1")
	want.Needs = []Ref{root.Ref}
	inv := &Inventory{entries: map[Ref]entry{}}
	inv.begin([]Change{{Ref: want.Ref, Want: &want}})
	table := []Kind{{Name: "plain"}, {Name: "own", In: "plain"}}
	in := Inputs{Want: []Resource{root, want}, Table: table}
	if p := Diff(in, map[Ref]Seen{root.Ref: {Have: &root}}, inv); len(p.Blocked) > 0 || len(p.Changes) != 1 {
		t.Errorf("%+v", p)
	}
	moved := res("own", "a", "x", "1")
	moved.Needs, moved.Attrs[0].Impact = want.Needs, Data
	moved.Attrs[0].Value = "elsewhere"
	inv.settle(Change{Ref: want.Ref, Want: &want})
	in.Want[1] = moved
	if p := Diff(in, map[Ref]Seen{root.Ref: {Have: &root}}, inv); len(p.Blocked) > 0 {
		t.Errorf("mail that is wanted elsewhere: %+v", p.Blocked)
	}
	in.Want[1] = want
	if p := Diff(in, map[Ref]Seen{root.Ref: {Have: &root}}, inv); len(p.Blocked) != 1 {
		t.Errorf("made, and gone: %+v", p)
	}
}
