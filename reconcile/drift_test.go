package reconcile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDrift(t *testing.T) {
	applied := func() Resource { return res("plain", "a", "content", "1", "mode", "1", "runs", "1", "leaf", "1") }
	flags := func(r Resource) Resource {
		for i := range r.Attrs {
			r.Attrs[i].Runs = r.Attrs[i].Name == "runs"
			r.Attrs[i].Follow = r.Attrs[i].Name == "leaf"
		}
		return r
	}
	with := func(r Resource, name, value string) Resource {
		for i := range r.Attrs {
			if r.Attrs[i].Name == name {
				r.Attrs[i].Value = value
			}
		}
		return r
	}
	none := Resource{}
	for name, tc := range map[string]struct {
		want, have Resource
		drift      *Drift
	}{
		"edited":                     {applied(), with(applied(), "mode", "2"), &Drift{"mode is 2, and was 1", true}},
		"its content":                {applied(), with(applied(), "content", "2"), &Drift{"content is not what was applied", true}},
		"removed":                    {applied(), none, &Drift{"it was removed", true}},
		"the description is another": {with(applied(), "mode", "2"), applied(), nil},
		"both, of one attribute":     {with(applied(), "mode", "2"), with(applied(), "mode", "3"), &Drift{"mode is 3, and was 1", false}},
		"both, of two":               {with(applied(), "mode", "2"), with(applied(), "content", "2"), &Drift{"content is not what was applied", false}},
		"both, to the same":          {with(with(applied(), "mode", "2"), "content", "2"), with(applied(), "mode", "2"), nil},
		"it does not run":            {applied(), with(applied(), "runs", "2"), nil},
		"it was renewed":             {applied(), with(applied(), "leaf", "2"), nil},
		"looked for elsewhere":       {with(applied(), "mode", "2"), none, nil},
		"unwanted":                   {none, with(applied(), "mode", "2"), &Drift{"mode is 2, and was 1", false}},
		"unwanted, as it was":        {none, applied(), nil},
	} {
		m := newMemory(t)
		state := memoryDir(t)
		m.mustApply(state, m.compare(state, []Resource{flags(applied())}))
		if tc.have.Ref == none.Ref {
			delete(m.have, applied().Ref)
		} else {
			m.have[tc.have.Ref] = flags(tc.have)
		}
		var want []Resource
		if tc.want.Ref != none.Ref {
			want = append(want, flags(tc.want))
		}
		p := m.compare(state, want)
		if len(p.Changes) != 1 {
			t.Errorf("%s: %d changes", name, len(p.Changes))
			continue
		}
		if diff := cmp.Diff(tc.drift, p.Changes[0].Drift); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What is not ours is never called drift, nor what was left half done by us.
func TestDriftOnlyOfOurs(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.have[Ref{"plain", "theirs"}] = res("plain", "theirs", "mode", "1")
	want := []Resource{res("plain", "theirs", "mode", "2"), res("plain", "ours", "mode", "2")}
	for _, c := range m.compare(state, want).Changes {
		if c.Drift != nil {
			t.Errorf("%s: %+v", c.Ref, c.Drift)
		}
	}
	m.mustApply(state, m.compare(state, want))
	stopAt(m, state, []Resource{res("plain", "theirs", "mode", "3"), res("plain", "ours", "mode", "3")}, 1)
	for _, c := range m.compare(state, []Resource{res("plain", "theirs", "mode", "4"), res("plain", "ours", "mode", "4")}).Changes {
		if c.Drift != nil {
			t.Errorf("after an interruption: %s: %+v", c.Ref, c.Drift)
		}
	}
}
