package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mailstead/imapserver/oracle"
)

var planKey = []byte("the host's own key")

// saved sends a plan through a file.
func saved(t *testing.T, p *Plan) *Saved {
	t.Helper()
	return savedWith(t, p, Selection{})
}

func savedWith(t *testing.T, p *Plan, selection Selection) *Saved {
	t.Helper()
	out := p.Save(planKey, time.Now())
	out.Selection, out.Description = selection, Description{Paths: []string{"/etc/x"}, Host: "h"}
	out.Seal(planKey)
	var file bytes.Buffer
	if err := out.Encode(&file); err != nil {
		t.Fatal(err)
	}
	s, err := ReadPlan(&file)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := s.Check([][]byte{[]byte("another"), planKey}); err != nil || string(key) != string(planKey) {
		t.Fatalf("%q %v", key, err)
	}
	return s
}

func (m *memory) bind(state string, s *Saved, want []Resource) (*Bound, error) {
	return s.Bind(BindInputs{Key: planKey, Now: m.compare(state, want), Want: want, Table: m.table(), State: state})
}

// carryOut binds and applies a saved plan, and spends it if it was applied whole.
func (m *memory) carryOut(state string, s *Saved, want []Resource) (*Report, error) {
	r, err := m.attempt(state, s, want)
	if err == nil && r.Err() == nil && len(r.Blocked) == 0 {
		err = s.Spend(state)
	}
	return r, err
}

// attempt is carryOut up to where it could be spent.
func (m *memory) attempt(state string, s *Saved, want []Resource) (*Report, error) {
	b, err := m.bind(state, s, want)
	if err != nil {
		return nil, err
	}
	return Apply(context.Background(), &b.Plan, Options{Table: m.table(), State: state, Saved: s})
}

// killed carries out a saved plan and ends at its nth step, by an error or by
// the end of the process.
func (m *memory) killed(state string, s *Saved, want []Resource, n int, kill bool) {
	m.crash = func(string) error {
		if n--; n >= 0 {
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
	if _, err := m.attempt(state, s, want); err != nil {
		m.t.Fatal(err)
	}
}

// TestSavedLaws goes through random plans that are saved, and carried out after
// having been stopped at random steps, or right before they could be spent. The plan then is done whole and never
// again; afterwards nothing is left to do.
func TestSavedLaws(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		m := newMemory(t)
		state := memoryDir(t)
		strangers(rnd, m)
		m.mustApply(state, m.compare(state, describe(rnd)))
		want := describe(rnd)
		p := m.compare(state, want)
		if p.Empty() {
			continue
		}
		s := saved(t, p)
		m.halves = true
		for range rnd.IntN(4) {
			m.killed(state, s, want, rnd.IntN(3*len(p.Changes)+1), rnd.IntN(2) == 0)
		}
		r, err := m.carryOut(state, s, want)
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if p := m.compare(state, want); len(p.Changes) > 0 {
			t.Errorf("seed %d: afterwards there is to do: %+v", seed, p.Changes)
		}
		// What it did may be undone by others: it is spent all the same.
		m.have = map[Ref]Resource{}
		var spent *SpentError
		if _, err := m.carryOut(state, s, want); !errors.As(err, &spent) || spent.Done.IsZero() {
			t.Fatalf("seed %d: applied twice: %v", seed, err)
		}
		if t.Failed() {
			return
		}
	}
}

// TestSavedStale changes the object of one step after another behind the plan's
// back, and what is in no plan: that step is left alone and named, and the
// others are done.
func TestSavedStale(t *testing.T) {
	tried := 0
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 13))
		m := newMemory(t)
		state := memoryDir(t)
		m.mustApply(state, m.compare(state, describe(rnd)))
		want := describe(rnd)
		p := m.compare(state, want)
		var victims []Change
		for _, c := range p.Changes {
			if c.Ref.Kind != "live" {
				victims = append(victims, c)
			}
		}
		if len(victims) == 0 {
			continue
		}
		s := saved(t, p)
		v := victims[rnd.IntN(len(victims))]
		if rnd.IntN(4) == 0 && v.Have != nil && v.Want != nil {
			delete(m.have, v.Ref)
		} else {
			m.have[v.Ref] = res(v.Ref.Kind, v.Ref.Name, "content", "edited", "mode", "edited")
		}
		edited, there := m.have[v.Ref]
		free := res("plain", "in no plan", "content", fmt.Sprint(seed))
		m.have[free.Ref] = free
		r, err := m.carryOut(state, s, want)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, o := range r.Outcomes {
			switch {
			case o.Change.Ref == v.Ref && (o.State != Failed || !errors.Is(o.Err, ErrChanged)):
				t.Errorf("seed %d: %s was changed, and the step is %s %v", seed, v.Ref, o.State, o.Err)
			case o.Change.Ref != v.Ref && o.State == Failed,
				o.State == Skipped && !strings.HasPrefix(o.Note, "needs "):
				t.Errorf("seed %d: %s is %s: %v%s", seed, o.Change.Ref, o.State, o.Err, o.Note)
			}
		}
		if now, ok := m.have[v.Ref]; ok != there || ok && len(differences(&edited, &now)) > 0 {
			t.Errorf("seed %d: %s was touched: %v", seed, v.Ref, now)
		}
		if t.Failed() {
			return
		}
		tried++
	}
	if tried < 100 {
		t.Errorf("only %d plans were tried", tried)
	}
}

func TestSavedWantedOtherwise(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.mustApply(state, m.compare(state, []Resource{res("plain", "goes", "x", "1"), res("plain", "stays", "x", "1")}))
	secret := res("own", "users", "content", "hash one")
	secret.Attrs[0].Secret = true
	want := []Resource{
		res("plain", "stays", "x", "1"), res("plain", "a", "content", "one\ntwo\n", "mode", "0600"), res("plain", "b", "x", "1"), res("plain", "c", "x", "1"), secret,
	}
	s := saved(t, m.compare(state, want))
	other := res("own", "users", "content", "hash two")
	other.Attrs[0].Secret = true
	_, err := m.carryOut(state, s, []Resource{
		res("plain", "stays", "x", "2"), // not in the plan
		res("plain", "a", "content", "one\n2\n", "mode", "0644"), res("plain", "c", "x", "1"), other, res("plain", "goes", "x", "1"),
	})
	const text = `what is wanted has changed since the plan was made:
  plain/a: line 2 is 2 now, and was two; mode is 0644 now, and was 0600 (host.cue:1:1)
  plain/b: the description asks for it no longer
  own/users: content is another one (host.cue:1:1)
  plain/goes: the plan removes it, and host.cue:1:1 asks for it`
	if err == nil {
		t.Fatal("it was applied")
	}
	if diff := cmp.Diff(text, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, ok := m.have[Ref{"plain", "c"}]; ok {
		t.Error("something was done all the same")
	}
}

// TestSavedFollow: what somebody else renews is no change of plan, and a renewal
// that nobody has brought in yet comes along.
func TestSavedFollow(t *testing.T) {
	cert := func(leaf string) Resource {
		r := res("plain", "certificate", "leaf", leaf, "path", "/p")
		r.Attrs[0].Follow = true
		return r
	}
	for name, tc := range map[string]struct {
		installed string
		except    []string
		then      string
	}{
		"not brought in":               {"1", nil, "2"},
		"brought in":                   {"2", nil, "2"},
		"not brought in, and left out": {"1", []string{"plain/certificate"}, "1"},
	} {
		m := newMemory(t)
		state := memoryDir(t)
		m.mustApply(state, m.compare(state, []Resource{cert("1")}))
		a := res("plain", "a", "x", "1")
		s := savedWith(t, m.compare(state, []Resource{cert("1"), a}), Selection{Except: tc.except})
		m.have[Ref{"plain", "certificate"}] = cert(tc.installed)
		r, err := m.carryOut(state, s, []Resource{cert("2"), a})
		if err != nil || r.Err() != nil {
			t.Fatalf("%s: %v %v", name, err, r)
		}
		have := m.have[Ref{"plain", "certificate"}]
		if have.Get("leaf") != tc.then {
			t.Errorf("%s: certificate %s is there", name, have.Get("leaf"))
		}
	}
}

// What somebody has brought part of the way to where the plan goes is no obstacle.
func TestSavedReached(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.mustApply(state, m.compare(state, []Resource{res("plain", "a", "content", "1", "mode", "1")}))
	want := []Resource{res("plain", "a", "content", "2", "mode", "2")}
	s := saved(t, m.compare(state, want))
	m.have[Ref{"plain", "a"}] = res("plain", "a", "content", "1", "mode", "2")
	if r, err := m.carryOut(state, s, want); err != nil || r.Err() != nil {
		t.Error(err, r)
	}
}

// A step that would mean more to people than the plan says is not what they
// agreed to.
func TestSavedImpact(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	unit := func(v string) Resource {
		r := res("unit", "u", "content", v)
		r.Attrs[0].Impact = Restart
		return r
	}
	daemon := res("live", "d", "x", "1")
	m.mustApply(state, m.compare(state, []Resource{unit("1"), daemon}))
	delete(m.have, daemon.Ref)
	want := []Resource{unit("2"), daemon}
	s := saved(t, m.compare(state, want))
	m.have[daemon.Ref] = daemon
	b, err := m.bind(state, s, want)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Changes[0].Stale; got != "it would mean restart now, and the plan says live" {
		t.Errorf("%q", got)
	}
}

// The list of applied plans does not grow for ever, and what it has forgotten is
// refused.
func TestPlansForgotten(t *testing.T) {
	f := &plansJSON{Version: plansVersion}
	var first *Saved
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range maxPlans + 3 {
		s := &Saved{ID: fmt.Sprint(i), Made: start.Add(time.Duration(i) * time.Minute)}
		if i == 0 {
			first = s
		}
		f.begin(s, start)
	}
	if len(f.Plans) != maxPlans || f.find("3") == nil {
		t.Errorf("%d plans are kept", len(f.Plans))
	}
	var spent *SpentError
	if _, err := f.check(first); !errors.As(err, &spent) {
		t.Errorf("a forgotten plan: %v", err)
	}
	if begun, err := f.check(&Saved{ID: "new", Made: start.Add(5 * time.Minute)}); err != nil || begun {
		t.Errorf("a plan of the same age that was never begun: %v %v", begun, err)
	}
}

func TestSavedAltered(t *testing.T) {
	m := newMemory(t)
	secret := res("plain", "s", "content", "hunter2\xff")
	secret.Attrs[0].Secret = true
	binary := res("plain", "b", "content", "\xff\x00binary")
	m.have[binary.Ref] = binary
	p := m.compare("", []Resource{secret, res("plain", "b", "content", "text")})
	for name, alter := range map[string]func(*Saved){
		"have":   func(s *Saved) { s.Changes[1].Have.Attrs[0].Value = "x" },
		"want":   func(s *Saved) { s.Changes[1].Want.Attrs[0].Value = "x" },
		"op":     func(s *Saved) { s.Changes[0].Op = Delete },
		"impact": func(s *Saved) { s.Changes[0].Impact = Restart },
		"less":   func(s *Saved) { s.Changes = s.Changes[1:] },
		"host":   func(s *Saved) { s.Host = "other" },
		"time":   func(s *Saved) { s.Made = s.Made.Add(time.Second) },
		"taken":  func(s *Saved) { s.Changes[0].Taken = true },
		"take":   func(s *Saved) { s.Selection.Take = []string{"*"} },
		"paths":  func(s *Saved) { s.Description.Paths = []string{"/tmp/x"} },
		"record": func(s *Saved) { s.Record = append(s.Record, res("plain", "x")) },
		"forget": func(s *Saved) { s.Forget = append(s.Forget, Ref{"plain", "x"}) },
	} {
		s := saved(t, p)
		alter(s)
		if _, err := s.Check([][]byte{planKey}); !errors.Is(err, ErrAltered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := saved(t, p)
	if _, err := s.Check([][]byte{[]byte("another")}); !errors.Is(err, ErrForeignKey) {
		t.Errorf("%v", err)
	}
	var file bytes.Buffer
	if err := s.Encode(&file); err != nil || strings.Contains(file.String(), "hunter2") {
		t.Errorf("%v, or a secret is in the file", err)
	}
}

// TestSavedWhole alters every value of a file that has all there can be, and leaves out
// every one: what its reader goes by, and what Bind does, is what was saved.
func TestSavedWhole(t *testing.T) {
	whole := wholePlan(t)
	fields := slices.Sorted(maps.Keys(jsonFields(reflect.TypeFor[Saved]())))
	if d := cmp.Diff(fields, slices.Sorted(maps.Keys(whole))); d != "" {
		t.Fatalf("fields of Saved (-program +file):\n%s", d)
	}
	refused := func(what string) {
		data, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ReadPlan(bytes.NewReader(data))
		if err == nil {
			_, err = s.Check([][]byte{planKey})
		}
		if err == nil {
			t.Errorf("%s: nobody sees it", what)
		}
	}
	var alter func(at string, value any, set func(any))
	alter = func(at string, value any, set func(any)) {
		switch v := value.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				inner := v[name]
				alter(at+"."+name, inner, func(x any) { v[name] = x })
				delete(v, name)
				refused(at + " without " + name)
				v[name] = inner
			}
			return
		case []any:
			for i := range v {
				alter(fmt.Sprintf("%s[%d]", at, i), v[i], func(x any) { v[i] = x })
			}
			set(v[1:])
		case string:
			set(v + " ")
		case float64:
			set(v + 1)
		case bool:
			set(!v)
		}
		refused(at)
		set(value)
	}
	alter("", whole, func(any) {})
}

// wholePlan gives a saved plan in which no field is empty, as JSON has it.
func wholePlan(t *testing.T) (whole map[string]any) {
	t.Helper()
	a := Resource{
		Ref: Ref{"plain", "a"}, Origin: "host.cue:1:1", Needs: []Ref{{"plain", "b"}}, Blocked: &Block{Reason: "r", Command: "c"}, Unreadable: "u",
		Attrs: []Attr{{Name: "content", Value: "x", Impact: Live, Runs: true, Follow: true}, {Name: "password", Value: "hunter2", Secret: true}},
	}
	p := Plan{
		Host:      "h",
		Changes:   []Change{{Ref: a.Ref, Op: Update, Have: &a, Want: &a, Origin: "o", Reason: "r", Impact: Live, Drift: &Drift{"r", true}, Taken: true}},
		Unchanged: map[string]int{"plain": 1}, Blocked: []Waiting{{a.Ref, "o", "r", "c", []string{"content"}}},
		Unreadable: []Unread{{a.Ref, "o", "r"}}, LeftOut: []Aside{{a.Ref, "o", "r"}}, Deferred: []Aside{{a.Ref, "o", "r"}},
		Notes: []string{"n"}, Record: []Resource{a}, Forget: []Ref{a.Ref},
		People: &People{
			Sessions: Sessions{1, map[string]int{"imaps": 1}, true, "u"}, LastKnown: true, Users: 1, Were: 1,
			Vanish: []string{"v"}, Elsewhere: []string{"e"}, Password: []string{"p"}, Moved: []string{"m"}, Lost: []Loss{{"w", 1}},
			MessagesRemoved: 1, Purges: []Purge{{"u", "f", 1}}, PurgesUnknown: "u", Inboxes: []Inbox{{"u", 1, 1}},
		},
	}
	s := p.Save(planKey, time.Now())
	s.Program, s.Description = "1.0", Description{Paths: []string{"/etc/x"}, Host: "h", Tags: []string{"t"}, Rootless: true}
	s.Selection = Selection{Only: []string{"o"}, Except: []string{"e"}, Take: []string{"t"}}
	s.Summary = json.RawMessage(`{"changes": 1}`)
	s.Seal(planKey)
	var file bytes.Buffer
	if err := errors.Join(s.Encode(&file), json.Unmarshal(file.Bytes(), &whole)); err != nil {
		t.Fatal(err)
	}
	return whole
}

// A file has U+FFFD for what is no text, and fits its id all the same.
func TestSavedNoText(t *testing.T) {
	saved(t, &Plan{Notes: []string{"/etc/\xff", "\ufffd", `\ufffd`, `\\ufffd`, "<&\u2028"}})
}

// FuzzReadPlan: whatever a file holds, it is refused or read the same way again,
// and what it makes Apply do is something that Compare has found.
func FuzzReadPlan(f *testing.F) {
	want := []Resource{res("plain", "a", "content", "1"), res("unit", "b", "content", "1")}
	table := []Kind{{Name: "plain"}, {Name: "unit"}}
	for i := range table {
		table[i].Observe = func(_ context.Context, asks []Ask) []Seen { return make([]Seen, len(asks)) }
	}
	now, err := Compare(context.Background(), Inputs{Host: "h", Want: want, Table: table})
	if err != nil {
		f.Fatal(err)
	}
	var file bytes.Buffer
	whole := now.Save(planKey, time.Unix(1795000000, 0))
	whole.Seal(planKey)
	if err := whole.Encode(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"format_version": 2}`))
	f.Add([]byte(`{"format_version": 1, "changes": [{"ref": {"kind": "plain", "name": "a"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s *Saved
		var err error
		if oracle.Cost(t, len(data), func() { s, err = ReadPlan(bytes.NewReader(data)) }); err != nil {
			return
		}
		var again bytes.Buffer
		if err := s.Encode(&again); err != nil {
			t.Fatal(err)
		}
		same, err := ReadPlan(&again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, same, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		s.Check([][]byte{planKey})
		b, err := s.Bind(BindInputs{Key: planKey, Now: now, Want: want, Table: table})
		if err != nil {
			return
		}
		for _, c := range b.Changes {
			if len(differences(c.Want, &want[0])) > 0 && len(differences(c.Want, &want[1])) > 0 {
				t.Errorf("%+v", c)
			}
		}
	})
}

// TestPlanFilePage: the page about the file has a row for each field, and none besides.
func TestPlanFilePage(t *testing.T) {
	page, err := os.ReadFile("../docs/plan-file.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := strings.Split(string(page), "| field | what |\n|---|---|\n")[1:]
	if len(tables) != 3 {
		t.Fatalf("the page has %d tables", len(tables))
	}
	for i, of := range []reflect.Type{reflect.TypeFor[Saved](), reflect.TypeFor[People](), reflect.TypeFor[Change]()} {
		rows, _, _ := strings.Cut(tables[i], "\n\n")
		want := jsonFields(of)
		got := map[string]string{}
		for row := range strings.Lines(rows) {
			names, text, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
			for _, name := range inCode(names) {
				got[name] = text
			}
		}
		if d := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); d != "" {
			t.Errorf("fields of %v (-program +page):\n%s", of, d)
		}
		if of != reflect.TypeFor[People]() {
			continue
		}
		for name, field := range want { // what lies deeper is named in the row
			for inner := range jsonFields(field) {
				if !slices.Contains(inCode(got[name]), inner) {
					t.Errorf("the row of %s does not name %q", name, inner)
				}
			}
		}
	}
}

func inCode(text string) (names []string) {
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			names = append(names, part)
		}
	}
	return names
}

// jsonFields gives the fields of a struct, or of the elements of a list of some, as JSON has them.
func jsonFields(of reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	if of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return fields
	}
	for _, f := range reflect.VisibleFields(of) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}
