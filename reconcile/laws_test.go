package reconcile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// describe makes a random description: some of the names of each kind, with
// values out of few, so that descriptions overlap.
func describe(rnd *rand.Rand) []Resource {
	var want []Resource
	value := func() string { return fmt.Sprint(rnd.IntN(3)) }
	for n := range 4 {
		name := fmt.Sprint("n", n)
		if rnd.IntN(3) > 0 {
			want = append(want, res("plain", name, "content", value(), "mode", value()))
		}
		if rnd.IntN(2) > 0 {
			want = append(want, res("own", name, "content", value()))
		}
		if rnd.IntN(3) > 0 {
			want = append(want, res("kept", name, "place", value()))
			once := res("once", name, "use", value())
			once.Needs = []Ref{{"kept", name}}
			want = append(want, once)
		}
		if rnd.IntN(2) > 0 {
			want = append(want, res("unit", name, "content", value()))
		}
	}
	if rnd.IntN(4) > 0 {
		want = append(want, res("live", "daemon", "generation", value()))
	}
	return want
}

// strangers puts things on the host that somebody else made.
func strangers(rnd *rand.Rand, m *memory) {
	for n := range 4 {
		for _, kind := range []string{"plain", "kept", "once", "unit"} {
			if rnd.IntN(3) == 0 {
				r := res(kind, fmt.Sprint("n", n), "content", fmt.Sprint(rnd.IntN(3)))
				m.have[r.Ref] = r
			}
		}
	}
}

// TestLaws goes through random lives of a host: descriptions follow each other,
// strangers meddle, applies fail or are killed at random steps. After one apply
// without a fault the plan is empty, and applying it again writes nothing. What
// nobody here made is never removed (memory.apply sees to that).
func TestLaws(t *testing.T) {
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		m := newMemory(t)
		state := memoryDir(t)
		strangers(rnd, m)
		for range 5 {
			want := describe(rnd)
			for range rnd.IntN(3) {
				interrupt(rnd, m, state, want)
			}
			if rnd.IntN(4) == 0 {
				want = describe(rnd) // the description is edited after a crash
			}
			r := m.mustApply(state, m.compare(state, want))
			if err := r.Err(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			checkApplied(t, seed, m, state, want)
			if rnd.IntN(3) == 0 {
				checkLost(t, seed, m, state, want)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// interrupt applies with a fault: an error or the end of the process at some step.
func interrupt(rnd *rand.Rand, m *memory, state string, want []Resource) {
	at, kill := rnd.IntN(12), rnd.IntN(2) == 0
	m.crash = func(string) error {
		if at--; at >= 0 {
			return nil
		}
		if kill {
			panic(errInjected)
		}
		return errInjected
	}
	defer func() {
		m.crash = func(string) error { return nil }
		if p := recover(); p != nil && p != any(errInjected) {
			panic(p)
		}
	}()
	p := m.compare(state, want)
	if _, err := Apply(context.Background(), p, Options{Table: m.table(), State: state}); err != nil {
		m.t.Fatal(err)
	}
}

func checkApplied(t *testing.T, seed uint64, m *memory, state string, want []Resource) {
	t.Helper()
	for _, r := range want {
		have := m.have[r.Ref]
		if r.Ref.Kind != "once" && len(differences(&have, &r)) > 0 {
			t.Errorf("seed %d: %s is %v, want %v", seed, r.Ref, have.Attrs, r.Attrs)
		}
	}
	p := m.compare(state, want)
	if !p.Empty() {
		t.Errorf("seed %d: after apply the plan is not empty: %+v", seed, p)
	}
	before, writes := read(t, state), m.writes
	m.mustApply(state, p)
	if m.writes != writes {
		t.Errorf("seed %d: the second apply wrote %d times", seed, m.writes-writes)
	}
	if diff := cmp.Diff(before, read(t, state)); diff != "" {
		t.Errorf("seed %d: the second apply changed the inventory: %s", seed, diff)
	}
}

// checkLost loses the inventory: one apply later, what is ours by its name is
// known again, and goes with the description.
func checkLost(t *testing.T, seed uint64, m *memory, state string, want []Resource) {
	t.Helper()
	if err := os.RemoveAll(state + "/" + InventoryFile); err != nil {
		t.Fatal(err)
	}
	m.mustApply(state, m.compare(state, want))
	goes := map[Ref]bool{}
	for _, c := range m.compare(state, nil).Changes {
		goes[c.Ref] = c.Op == Delete
	}
	for _, r := range want {
		if r.Ref.Kind == "own" && !goes[r.Ref] {
			t.Errorf("seed %d: %s is foreign since the inventory was lost", seed, r.Ref)
		}
	}
}

// read gives the inventory file with its identity.
func read(t *testing.T, state string) string {
	t.Helper()
	inv, err := ReadInventory(state)
	if err != nil {
		t.Fatal(err)
	}
	data, err := inv.encode()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(inode(t, state+"/"+InventoryFile), "\n", string(data))
}

// TestConvergeFromEveryStep stops one apply at each of its steps in turn.
func TestConvergeFromEveryStep(t *testing.T) {
	first := []Resource{
		res("plain", "a", "content", "1"), res("plain", "b", "content", "1"),
		res("kept", "a", "place", "1"), res("unit", "a", "content", "1"), res("live", "daemon", "generation", "1"),
	}
	once := res("once", "a", "use", "sent")
	once.Needs = []Ref{{"kept", "a"}}
	second := []Resource{
		res("plain", "b", "content", "2"), res("plain", "c", "content", "1"),
		res("kept", "a", "place", "1"), once, res("unit", "b", "content", "1"), res("live", "daemon", "generation", "2"),
	}
	steps := 0
	for stop := 0; ; stop++ {
		m := newMemory(t)
		state := memoryDir(t)
		m.mustApply(state, m.compare(state, first))
		left := stop
		m.crash = func(string) error {
			if left--; left < 0 {
				panic(errInjected)
			}
			return nil
		}
		whole := func() bool {
			defer func() { recover() }()
			m.mustApply(state, m.compare(state, second))
			return true
		}()
		m.crash = func(string) error { return nil }
		if err := m.mustApply(state, m.compare(state, second)).Err(); err != nil {
			t.Fatalf("stopped at step %d: %v", stop, err)
		}
		var names []string
		for ref := range m.have {
			names = append(names, ref.String())
		}
		slices.Sort(names)
		want := []string{"kept/a", "live/daemon", "once/a", "plain/b", "plain/c", "unit/b"}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("stopped at step %d (-want +got):\n%s", stop, diff)
		}
		if p := m.compare(state, second); !p.Empty() {
			t.Errorf("stopped at step %d: the plan is not empty: %+v", stop, p)
		}
		if whole {
			steps = stop
			break
		}
	}
	if steps < 10 {
		t.Errorf("only %d steps were tried", steps)
	}
}
