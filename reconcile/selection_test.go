package reconcile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	file := Ref{"file", "/etc/pam.d/x"}
	for pattern, want := range map[string]bool{
		"file": true, "*": true, "f*": true, "fil": false, "files": false, "": false,
		"file/*": true, "file//etc/pam.d/x": true, "file//etc/*": true, "*/x": true, "*//etc/*.d/?": true,
		"file//etc/pam.d/?x": false, "file/etc": false, "file//etc/pam.d/": false, "*/y": false,
		"**/x**": true, "?ile/*": true, "file//etc/pam.d/x?": false,
	} {
		if got := Match(pattern, file); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
	if Match(strings.Repeat("*a", 2000)+"*b/", Ref{"k", strings.Repeat("a", 20000)}) {
		t.Error("a hostile pattern matches")
	}
	if !Match("folder/jürgen/?ntwürfe", Ref{"folder", "jürgen/Entwürfe"}) {
		t.Error("a letter is more than one character")
	}
}

func TestNarrow(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.mustApply(state, m.compare(state, []Resource{res("plain", "old", "x", "1"), res("own", "old", "x", "1")}))
	needs := func(r Resource, of ...Ref) Resource {
		r.Needs = of
		return r
	}
	waits := res("own", "waits", "x", "1")
	waits.Blocked = &Block{Reason: "it waits"}
	want := []Resource{
		res("plain", "a", "x", "1"), res("plain", "b", "x", "1"), waits,
		needs(res("own", "a", "x", "1"), Ref{"plain", "a"}),
		needs(res("unit", "a", "x", "1"), Ref{"own", "a"}),
		needs(res("unit", "b", "x", "1"), Ref{"plain", "b"}),
	}
	for _, tc := range []struct {
		name                       string
		s                          Selection
		changes, leftOut, deferred []string
		waiting                    int
	}{
		{"everything", Selection{}, []string{"plain/a", "plain/b", "own/a", "unit/a", "unit/b", "own/old", "plain/old"}, nil, nil, 1},
		{"a kind", Selection{Only: []string{"plain"}}, []string{"plain/a", "plain/b", "plain/old"}, []string{"own/a", "unit/a", "unit/b", "own/old"}, nil, 0},
		{"what others need", Selection{Except: []string{"plain/a", "*/old"}}, []string{"plain/b", "unit/b"}, []string{"plain/a", "own/old", "plain/old"},
			[]string{"own/a: needs plain/a, which is left out", "unit/a: needs own/a, which is deferred"}, 1},
		{"both", Selection{Only: []string{"*/b", "own"}, Except: []string{"own/old"}}, []string{"plain/b", "unit/b"}, []string{"plain/a", "unit/a", "own/old", "plain/old"},
			[]string{"own/a: needs plain/a, which is left out"}, 1},
	} {
		whole := m.compare(state, want)
		p := whole.Narrow(tc.s)
		var changes, leftOut, deferred []string
		for _, c := range p.Changes {
			changes = append(changes, c.Ref.String())
		}
		for _, a := range p.LeftOut {
			leftOut = append(leftOut, a.Ref.String())
		}
		for _, a := range p.Deferred {
			deferred = append(deferred, a.Ref.String()+": "+a.Reason)
		}
		if diff := cmp.Diff([][]string{tc.changes, tc.leftOut, tc.deferred}, [][]string{changes, leftOut, deferred}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if len(p.Blocked) != tc.waiting {
			t.Errorf("%s: %d wait", tc.name, len(p.Blocked))
		}
		if len(whole.LeftOut) > 0 || len(whole.Changes) != 7 {
			t.Errorf("%s: the whole plan is not what it was", tc.name)
		}
	}
	s := Selection{Only: []string{"plain/a", "plian"}, Except: []string{"own/old"}, Take: []string{"x/*"}}
	if diff := cmp.Diff([]string{"plian", "x/*"}, s.Unmatched(m.compare(state, want), want)); diff != "" {
		t.Errorf("meant for nothing (-want +got):\n%s", diff)
	}
}
