package reconcile

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
)

// memory is a host that exists only here. It knows who made what, so that a test
// can see what an apply did that it must not do.
type memory struct {
	t      *testing.T
	have   map[Ref]Resource
	ours   map[Ref]bool // made or changed by an apply
	writes int
	halves bool // a change is made in two steps
	// crash is asked before and after each write; it may fail or panic.
	crash func(stage string) error
}

var errInjected = errors.New("injected")

func newMemory(t *testing.T) *memory {
	return &memory{t: t, have: map[Ref]Resource{}, ours: map[Ref]bool{}, crash: func(string) error { return nil }}
}

// table has one kind of each sort: plain, ours by its name, kept, kept and ensured once (in
// batches), settling with removal first, and live.
func (m *memory) table() []Kind {
	return []Kind{
		{Name: "plain", Observe: m.observe, Apply: m.apply},
		{Name: "own", Observe: m.observe, Apply: m.apply, Adopt: true},
		{Name: "kept", Observe: m.observe, Apply: m.apply, Keep: true},
		{Name: "once", Observe: m.observe, Apply: m.apply, ApplyAll: m.applyAll, Together: "use", Keep: true, Once: true},
		{Name: "unit", Observe: m.observe, Apply: m.apply, Settle: m.settle, DeleteFirst: true},
		{Name: "live", Observe: m.observe, Apply: m.apply, Live: true},
	}
}

func (m *memory) observe(_ context.Context, asks []Ask) []Seen {
	out := make([]Seen, len(asks))
	for i, a := range asks {
		if r, ok := m.have[a.Ref]; ok {
			r.Attrs = slices.Clone(r.Attrs)
			out[i].Have = &r
		}
	}
	return out
}

func (m *memory) apply(_ context.Context, c Change) error {
	if err := m.crash("before"); err != nil {
		return err
	}
	m.writes++
	if m.halves {
		m.half(c)
		if err := m.crash("half"); err != nil {
			return err
		}
	}
	if c.Want == nil {
		if !m.ours[c.Ref] {
			m.t.Errorf("%s was removed, and nobody here made it", c.Ref)
		}
		if c.Ref.Kind == "kept" || c.Ref.Kind == "once" {
			m.t.Errorf("%s was removed", c.Ref)
		}
		delete(m.have, c.Ref)
		delete(m.ours, c.Ref)
	} else {
		m.have[c.Ref] = Resource{Ref: c.Ref, Attrs: slices.Clone(c.Want.Attrs)}
		m.ours[c.Ref] = true
	}
	return m.crash("after")
}

func (m *memory) applyAll(ctx context.Context, cs []Change) []error {
	errs := make([]error, len(cs))
	for i, c := range cs {
		errs[i] = m.apply(ctx, c)
	}
	return errs
}

// half makes the first half of a change: one attribute as it is wanted, or one gone.
func (m *memory) half(c Change) {
	r := Resource{Ref: c.Ref}
	if have, ok := m.have[c.Ref]; ok {
		r.Attrs = slices.Clone(have.Attrs)
	} else {
		m.ours[c.Ref] = true
	}
	switch {
	case c.Want == nil:
		r.Attrs = r.Attrs[:1]
	case len(r.Attrs) == 0:
		r.Attrs = slices.Clone(c.Want.Attrs[:1])
	default:
		last := c.Want.Attrs[len(c.Want.Attrs)-1]
		r.Attrs = slices.DeleteFunc(r.Attrs, func(a Attr) bool { return a.Name == last.Name })
		r.Attrs = append(r.Attrs, last)
	}
	m.have[c.Ref] = r
}

func (m *memory) settle(_ context.Context, cs []Change) []error {
	errs := make([]error, len(cs))
	for i := range cs {
		errs[i] = m.crash("settle")
	}
	return errs
}

func (m *memory) compare(state string, want []Resource) *Plan {
	m.t.Helper()
	p, err := Compare(m.t.Context(), Inputs{Host: "test", Want: want, Table: m.table(), State: state})
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

func (m *memory) mustApply(state string, p *Plan) *Report {
	m.t.Helper()
	r, err := Apply(m.t.Context(), p, Options{Table: m.table(), State: state})
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// memoryDir is a directory that costs no disk where the host has such: the laws
// are about many runs, each of which syncs.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mailstead-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// res makes a resource of pairs of names and values.
func res(kind, name string, pairs ...string) Resource {
	r := Resource{Ref: Ref{kind, name}, Origin: "host.cue:1:1"}
	for i := 0; i < len(pairs); i += 2 {
		r.Attrs = append(r.Attrs, Attr{Name: pairs[i], Value: pairs[i+1]})
	}
	return r
}
