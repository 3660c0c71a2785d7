package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err == unix.ENOENT {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func outcomes(r *Report) []string {
	var out []string
	for _, o := range r.Outcomes {
		s := o.Change.Ref.String() + " " + string(o.State)
		if o.Note != "" {
			s += " (" + o.Note + ")"
		}
		if o.Err != nil {
			s += ": " + o.Err.Error()
		}
		out = append(out, s)
	}
	return out
}

func TestApplyChangedSincePlan(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	for _, name := range []string{"gone", "other", "done"} {
		r := res("plain", name, "mode", "0600")
		m.have[r.Ref] = r
	}
	want := []Resource{
		res("plain", "gone", "mode", "0644"), res("plain", "other", "mode", "0644"),
		res("plain", "done", "mode", "0644"), res("plain", "new", "mode", "0644"), res("plain", "free", "mode", "0644"),
	}
	p := m.compare(state, want)
	delete(m.have, Ref{"plain", "gone"})
	m.have[Ref{"plain", "other"}] = res("plain", "other", "mode", "0666")
	m.have[Ref{"plain", "done"}] = res("plain", "done", "mode", "0644")
	m.have[Ref{"plain", "new"}] = res("plain", "new", "mode", "0666")
	r := m.mustApply(state, p)
	wantOutcomes := []string{
		"plain/gone failed: changed since the plan was made: it is gone",
		"plain/other failed: changed since the plan was made: mode 0666, want 0600",
		"plain/done done (already so)",
		"plain/new failed: changed since the plan was made: it exists now",
		"plain/free done",
	}
	if diff := cmp.Diff(wantOutcomes, outcomes(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !errors.Is(r.Err(), ErrChanged) {
		t.Errorf("%v is not ErrChanged", r.Err())
	}
	// What was not touched has not become ours by having been planned.
	p = m.compare(state, nil)
	var removed []string
	for _, c := range p.Changes {
		removed = append(removed, c.Ref.Name)
	}
	if diff := cmp.Diff([]string{"free", "done"}, removed); diff != "" {
		t.Errorf("removed when nobody wants them (-want +got):\n%s", diff)
	}
}

func TestApplySkipsWhatNeedsAFailure(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	needs := func(r Resource, name string) Resource {
		r.Needs = []Ref{{"plain", name}}
		return r
	}
	want := []Resource{
		res("plain", "a", "x", "1"),
		needs(res("plain", "b", "x", "1"), "a"),
		needs(res("plain", "c", "x", "1"), "b"),
		res("plain", "d", "x", "1"),
	}
	n := 0
	m.crash = func(string) error {
		if n++; n == 1 {
			return errInjected
		}
		return nil
	}
	r := m.mustApply(state, m.compare(state, want))
	wantOutcomes := []string{"plain/a failed: injected", "plain/b skipped (needs plain/a)", "plain/c skipped (needs plain/b)", "plain/d done"}
	if diff := cmp.Diff(wantOutcomes, outcomes(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	const text = `1 of 4 changes made
  plain/a: injected
  plain/b: skipped (needs plain/a)
  plain/c: skipped (needs plain/b)
  plain/d: done`
	if diff := cmp.Diff(text, r.Err().Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestApplyInterrupted(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	want := []Resource{res("plain", "a", "x", "1"), res("plain", "b", "x", "1")}
	ctx, cancel := context.WithCancel(t.Context())
	p := m.compare(state, want)
	m.crash = func(stage string) error { cancel(); return nil }
	r, err := Apply(ctx, p, Options{Table: m.table(), State: state})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"plain/a done", "plain/b skipped (interrupted)"}, outcomes(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.Err() == nil {
		t.Error("an interrupted apply is reported as whole")
	}
	if p := m.compare(state, nil); len(p.Changes) != 1 || p.Changes[0].Ref.Name != "a" {
		t.Errorf("the inventory does not hold what was done: %+v", p.Changes)
	}
}

// TestInventoryBeforeAction looks at the inventory from inside a change.
func TestInventoryBeforeAction(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.mustApply(state, m.compare(state, []Resource{res("plain", "a", "place", "old")}))
	m.crash = func(stage string) error {
		inv, err := ReadInventory(state)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := inv.entry(Ref{"plain", "a"})
		if !ok || !e.Pending || e.Attrs[0].Value != "new" || len(e.Before) != 1 || e.Before[0].Attrs[0].Value != "old" {
			t.Errorf("%s the change the inventory has %+v", stage, e)
		}
		return nil
	}
	m.mustApply(state, m.compare(state, []Resource{res("plain", "a", "place", "new")}))
}

// TestWasAccumulates: an interrupted move leaves two old places to be seen to.
func TestWasAccumulates(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.mustApply(state, m.compare(state, []Resource{res("plain", "a", "place", "1")}))
	m.crash = func(string) error { return errInjected }
	m.mustApply(state, m.compare(state, []Resource{res("plain", "a", "place", "2")}))
	m.crash = func(string) error { return nil }
	p := m.compare(state, []Resource{res("plain", "a", "place", "3")})
	var was []string
	for _, w := range p.Changes[0].Was {
		was = append(was, w.Get("place"))
	}
	if diff := cmp.Diff([]string{"2", "1"}, was); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnce(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	folder := func(use string) []Resource {
		f := res("once", "Sent", "use", use)
		f.Needs = []Ref{{"kept", "alice"}}
		return []Resource{res("kept", "alice", "place", "home"), f}
	}
	changes := func(want []Resource) (refs []string) {
		t.Helper()
		p := m.compare(state, want)
		for _, c := range p.Changes {
			refs = append(refs, string(c.Op)+" "+c.Ref.String())
		}
		if err := m.mustApply(state, p).Err(); err != nil {
			t.Fatal(err)
		}
		return refs
	}
	check := func(what string, want []string, got []string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("made", []string{"create kept/alice", "create once/Sent"}, changes(folder("sent")))
	delete(m.have, Ref{"once", "Sent"})
	check("a client deletes it", nil, changes(folder("sent")))
	check("the description changes", []string{"create once/Sent"}, changes(folder("trash")))
	delete(m.have, Ref{"once", "Sent"})
	delete(m.have, Ref{"kept", "alice"})
	check("all mail is gone", []string{"create kept/alice", "create once/Sent"}, changes(folder("trash")))

	// One that was there before us is ensured by being seen.
	m = newMemory(t)
	state = memoryDir(t)
	for _, r := range folder("sent") {
		m.have[r.Ref] = r
	}
	if p := m.compare(state, folder("sent")); len(p.Changes) != 0 || len(p.Record) != 1 || p.Empty() {
		t.Errorf("found in place: %+v", p)
	}
	check("found in place", nil, changes(folder("sent")))
	delete(m.have, Ref{"once", "Sent"})
	check("deleted later", nil, changes(folder("sent")))
}

func TestSettleFailure(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	want := []Resource{res("unit", "a", "content", "1"), res("unit", "b", "content", "1")}
	n := 0
	m.crash = func(stage string) error {
		if stage != "settle" {
			return nil
		}
		if n++; n == 2 {
			return errors.New("start: it failed\nline of the journal")
		}
		return nil
	}
	r := m.mustApply(state, m.compare(state, want))
	if diff := cmp.Diff([]string{"unit/a done", "unit/b failed: start: it failed\nline of the journal"}, outcomes(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.Contains(r.Err().Error(), "\n  unit/b: start: it failed\n    line of the journal\n") {
		t.Errorf("the report does not keep the lines of a fault together:\n%v", r.Err())
	}
}

func TestApplyKept(t *testing.T) {
	state := memoryDir(t)
	gone := res("plain", "dir", "mode", "0755")
	table := []Kind{{
		Name:    "plain",
		Observe: func(_ context.Context, asks []Ask) []Seen { return []Seen{{Have: &gone}} },
		Apply:   func(context.Context, Change) error { return Kept("it is not empty") },
	}}
	inv := &Inventory{entries: map[Ref]entry{gone.Ref: newEntry(gone)}}
	if err := inv.write(state); err != nil {
		t.Fatal(err)
	}
	compare := func() *Plan {
		p, err := Compare(t.Context(), Inputs{Table: table, State: state})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	r, err := Apply(t.Context(), compare(), Options{Table: table, State: state})
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	if diff := cmp.Diff([]string{"plain/dir done (it is not empty)"}, outcomes(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p := compare(); !p.Empty() {
		t.Errorf("it is not let go of: %+v", p)
	}
}

// TestStateDirectory: the lock makes the directory in which the plan's first
// change was to make it.
func TestStateDirectory(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	want := Resource{Ref: Ref{"directory", state}, Attrs: []Attr{{Name: "mode", Value: "0700"}}}
	table := []Kind{{
		Name: "directory",
		Observe: func(_ context.Context, asks []Ask) []Seen {
			st, err := os.Stat(state)
			if err != nil {
				return []Seen{{}}
			}
			return []Seen{{Have: &Resource{Ref: want.Ref, Attrs: []Attr{{Name: "mode", Value: "0" + strings.TrimLeft(octal(st.Mode()), "0")}}}}}
		},
		Apply: func(context.Context, Change) error { return os.Chmod(state, 0o700) },
	}}
	p, err := Compare(t.Context(), Inputs{Want: []Resource{want}, Table: table, State: state})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Apply(t.Context(), p, Options{Table: table, State: state})
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	if diff := cmp.Diff([]string{"directory/" + state + " done"}, outcomes(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func octal(m os.FileMode) string {
	const digits = "01234567"
	p := m.Perm()
	return string([]byte{digits[p>>6&7], digits[p>>3&7], digits[p&7]})
}

func TestProgress(t *testing.T) {
	m := newMemory(t)
	var got []string
	p := m.compare("", []Resource{res("plain", "a", "x", "1"), res("unit", "b", "x", "1")})
	_, err := Apply(t.Context(), p, Options{Table: m.table(), Progress: func(e Event) {
		got = append(got, e.Change.Ref.String()+" "+string(e.State))
		if e.Total != 2 || p.Changes[e.Index].Ref != e.Change.Ref {
			t.Errorf("event %+v", e)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"plain/a started", "plain/a done", "unit/b started", "unit/b done"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReportOfManyChanges(t *testing.T) {
	var r Report
	for i := range 60 {
		o := Outcome{Change: Change{Ref: Ref{"folder", fmt.Sprint(i)}}, State: Done}
		switch {
		case i == 0:
			o.State, o.Err = Failed, errInjected
		case i < 25:
			o.State = Skipped
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	const want = `35 of 60 changes made
  folder/0: injected
  folder: 24 skipped
  folder: 35 done`
	if diff := cmp.Diff(want, r.Err().Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A plan that waited for another apply is not begun: what one wants and what the
// other wants would be on the host side by side.
func TestApplyBehindAnother(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	first := []Resource{res("plain", "a", "mode", "1"), res("plain", "b", "mode", "1")}
	m.mustApply(state, m.compare(state, first))
	second := []Resource{res("plain", "a", "mode", "2"), res("plain", "b", "mode", "1")}
	third := []Resource{res("plain", "a", "mode", "1"), res("plain", "b", "mode", "3")}
	p := m.compare(state, third)
	m.mustApply(state, m.compare(state, second))
	writes := m.writes
	if r, err := Apply(t.Context(), p, Options{Table: m.table(), State: state}); !errors.Is(err, ErrBehind) || r != nil || m.writes != writes {
		t.Errorf("got %v, want ErrBehind", err)
	}
	m.mustApply(state, m.compare(state, third))
	checkApplied(t, 0, m, state, third)
}

// What the inventory does not have is not removed, whatever a plan says, and is
// not in it afterwards.
func TestApplyRemovesOnlyItsOwn(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	a := res("plain", "a", "mode", "1")
	m.have[a.Ref] = a
	p := &Plan{Changes: []Change{{Ref: a.Ref, Op: Delete, Have: &a}}}
	if got := outcomes(m.mustApply(state, p)); len(got) != 1 || !strings.Contains(got[0], "not ours to remove") {
		t.Errorf("%q", got)
	}
	if inv, err := ReadInventory(state); err != nil || len(inv.entries) > 0 {
		t.Errorf("%v %v", inv, err)
	}
}
