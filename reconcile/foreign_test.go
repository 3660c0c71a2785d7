package reconcile

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// withForeign is a table in which a plain resource is foreign unless its content
// begins with "ours", and the copy of an own one unless the inventory has it.
func (m *memory) withForeign() []Kind {
	table := m.table()
	look := func(seen func(Ask) *Foreign) func(context.Context, []Ask) []Seen {
		return func(ctx context.Context, asks []Ask) []Seen {
			out := m.observe(ctx, asks)
			for i, a := range asks {
				out[i].Foreign = seen(a)
			}
			return out
		}
	}
	table[0].Observe = look(func(a Ask) *Foreign {
		if r, ok := m.have[a.Ref]; ok && (len(r.Get("content")) < 4 || r.Get("content")[:4] != "ours") {
			return &Foreign{Reason: "it is theirs"}
		}
		return nil
	})
	table[1].Observe = look(func(a Ask) *Foreign {
		copied := slices.ContainsFunc(a.Was, func(w Resource) bool { return w.Get("copy") == a.Get("copy") })
		if _, ok := m.have[Ref{"file", a.Get("copy")}]; ok && !copied {
			return &Foreign{Reason: "the copy is theirs", Attrs: []string{"copy"}}
		}
		return nil
	})
	return table
}

func (m *memory) compareForeign(state string, take []string, want ...Resource) *Plan {
	m.t.Helper()
	p, err := Compare(m.t.Context(), Inputs{Want: want, Table: m.withForeign(), State: state, Take: take})
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

func (m *memory) applyForeign(state string, p *Plan) *Report {
	m.t.Helper()
	r, err := Apply(m.t.Context(), p, Options{Table: m.withForeign(), State: state})
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// A file that somebody else wrote is not replaced before the operator says so,
// and what needs it waits, too.
func TestForeign(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.have[Ref{"plain", "it's"}] = res("plain", "it's", "content", "theirs")
	m.have[Ref{"plain", "marked"}] = res("plain", "marked", "content", "ours, of an inventory that was lost")
	m.have[Ref{"plain", "same"}] = res("plain", "same", "content", "the same")
	needs := res("unit", "u", "x", "1")
	needs.Needs = []Ref{{"plain", "it's"}}
	want := []Resource{res("plain", "it's", "content", "ours"), res("plain", "marked", "content", "ours"), res("plain", "same", "content", "the same"), needs}
	p := m.compareForeign(state, nil, want...)
	if diff := cmp.Diff([]Waiting{
		{Ref: Ref{"plain", "it's"}, Origin: "host.cue:1:1", Reason: "it is theirs", Command: `mailstead apply --take 'plain/it'\''s'`},
		{Ref: needs.Ref, Origin: "host.cue:1:1", Reason: "waits for plain/it's"},
	}, p.Blocked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.applyForeign(state, p)
	if have := m.have[Ref{"plain", "it's"}]; have.Get("content") != "theirs" {
		t.Fatal("it was overwritten")
	}
	p = m.compareForeign(state, []string{"plain/it*"}, want...)
	if len(p.Blocked) > 0 || len(p.Changes) != 2 || !p.Changes[0].Taken || p.Changes[0].Reason != "content differs; it is theirs, and is replaced" {
		t.Errorf("%+v", p)
	}
	if err := m.applyForeign(state, p).Err(); err != nil {
		t.Fatal(err)
	}
	// From then on it is ours, whoever edits it.
	m.have[Ref{"plain", "it's"}] = res("plain", "it's", "content", "edited")
	if p := m.compareForeign(state, nil, want...); len(p.Blocked) > 0 || len(p.Changes) != 1 || p.Changes[0].Drift == nil || p.Changes[0].Taken {
		t.Errorf("edited later: %+v", p)
	}
}

// What has come between plan and apply is not replaced either.
func TestForeignSincePlan(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	cert := res("own", "c", "content", "1", "copy", "/copy")
	p := m.compareForeign(state, nil, cert)
	m.have[Ref{"file", "/copy"}] = res("file", "/copy", "content", "theirs")
	r := m.applyForeign(state, p)
	if err := r.Err(); !errors.Is(err, ErrChanged) {
		t.Errorf("%v", err)
	}
	if _, ok := m.have[cert.Ref]; ok {
		t.Error("it was applied")
	}
}

// What somebody else's file is in the way of a part of, gets all the rest.
func TestForeignPart(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.have[Ref{"file", "/copy"}] = res("file", "/copy", "content", "theirs")
	cert := res("own", "c", "content", "1", "copy", "/copy")
	needs := res("unit", "u", "x", "1")
	needs.Needs = []Ref{cert.Ref}
	p := m.compareForeign(state, nil, cert, needs)
	waits := []Waiting{{Ref: cert.Ref, Origin: "host.cue:1:1", Reason: "the copy is theirs", Command: "mailstead apply --take 'own/c'", Attrs: []string{"copy"}}}
	if diff := cmp.Diff(waits, p.Blocked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s := saved(t, p) // it goes through a file as well
	b, err := s.Bind(BindInputs{Key: planKey, Now: p, Want: []Resource{cert, needs}, Table: m.withForeign(), State: state})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.applyForeign(state, &b.Plan).Err(); err != nil {
		t.Fatal(err)
	}
	have := m.have[cert.Ref]
	if have.Get("content") != "1" || have.Get("copy") != "" {
		t.Errorf("%+v", have)
	}
	// Having gone past it once has not made it ours.
	p = m.compareForeign(state, nil, cert, needs)
	if diff := cmp.Diff(waits, p.Blocked); diff != "" || !p.Empty() {
		t.Errorf("the second time (-want +got):\n%s%+v", diff, p.Changes)
	}
	m.applyForeign(state, m.compareForeign(state, []string{"own"}, cert, needs))
	if have := m.have[cert.Ref]; have.Get("copy") != "/copy" {
		t.Errorf("with --take: %+v", have)
	}
	if p := m.compareForeign(state, nil, cert, needs); !p.Empty() || len(p.Blocked) > 0 {
		t.Errorf("afterwards: %+v", p)
	}
}
