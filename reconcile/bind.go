package reconcile

import (
	"fmt"
	"slices"
	"strings"
)

// BindInputs are what a saved plan is held against.
type BindInputs struct {
	Key   []byte     // the one that Check gave
	Now   *Plan      // what Compare says now
	Want  []Resource // what is wanted now
	Table []Kind
	State string // state directory; "" for none
	// Passing is what is wanted only while something runs: a plan holds with it and
	// without, and it goes along.
	Passing Ref
}

// Bound is a saved plan as it can be carried out now.
type Bound struct {
	Plan
	Begun bool // an earlier apply of it was stopped part-way
	Other int  // changes that Compare finds and the plan does not have
}

// WantedError says what is wanted otherwise than when a plan was made.
type WantedError struct {
	Faults []string // a resource each
}

func (e *WantedError) Error() string {
	return "what is wanted has changed since the plan was made:\n  " + strings.Join(e.Faults, "\n  ")
}

// Bind makes of a saved plan one that Apply can carry out: its changes, with the
// values of the host, secrets among them. Nothing is in it that the saved plan
// does not have, but for a certificate that was renewed since, which is no
// change of plan.
//
// Where a resource is not what the plan saw, its change is there as Stale. The
// error is a WantedError if the description wants something else of a resource
// than the plan, a SpentError if the plan was applied whole.
func (s *Saved) Bind(in BindInputs) (*Bound, error) {
	plans, err := readPlans(in.State)
	if err != nil {
		return nil, err
	}
	b := &binder{BindInputs: in, saved: make(map[Ref]*Change, len(s.Changes)), waits: map[Ref][]string{}, live: map[string]bool{}}
	if b.out.Begun, err = plans.check(s); err != nil {
		return nil, err
	}
	if b.inv, err = ReadInventory(in.State); err != nil {
		return nil, err
	}
	for _, k := range in.Table {
		b.live[k.Name] = k.Live
	}
	for i := range s.Changes {
		b.saved[s.Changes[i].Ref] = &s.Changes[i]
	}
	for _, w := range s.Blocked {
		b.waits[w.Ref] = w.Attrs
	}
	if err := b.wanted(s); err != nil {
		return nil, err
	}
	b.fill(s)
	return &b.out, nil
}

type binder struct {
	BindInputs
	inv   *Inventory
	saved map[Ref]*Change
	waits map[Ref][]string // attributes that somebody else's file was in the way of
	live  map[string]bool
	out   Bound
}

// wanted compares what is wanted now of every resource of the plan with what the
// plan wants of it.
func (b *binder) wanted(s *Saved) error {
	want := make(map[Ref]*Resource, len(b.Want))
	for i := range b.Want {
		want[b.Want[i].Ref] = &b.Want[i]
	}
	var faults []string
	for i := range s.Changes {
		c := &s.Changes[i]
		if fault := b.otherwise(c, want[c.Ref]); fault != "" {
			faults = append(faults, fmt.Sprintf("%s: %s", c.Ref, fault))
		}
	}
	if len(faults) > 0 {
		return &WantedError{Faults: faults}
	}
	return nil
}

// otherwise says what is wanted of a resource that the plan does not want, "" if
// it is the same. What waits or cannot be read now is not compared.
func (b *binder) otherwise(c *Change, now *Resource) string {
	switch {
	case now == nil && (c.Want == nil || c.Ref == b.Passing):
		return ""
	case c.Want == nil:
		return fmt.Sprintf("the plan removes it, and %s asks for it", now.Origin)
	case now == nil:
		return "the description asks for it no longer"
	case now.Blocked != nil || now.Unreadable != "":
		return ""
	}
	diffs := slices.DeleteFunc(differences(c.Want.without(b.waits[c.Ref]), now.without(b.waits[c.Ref]).masked(b.Key)), func(x difference) bool { return x.Follow })
	if len(diffs) == 0 {
		return ""
	}
	phrases := make([]string, len(diffs))
	for i, x := range diffs {
		phrases[i] = x.sincePlan()
	}
	return fmt.Sprintf("%s (%s)", strings.Join(phrases, "; "), now.Origin)
}

// sincePlan says a difference between what was planned and what is there now.
func (x difference) sincePlan() string {
	switch {
	case x.Secret:
		return x.Name + " is another one"
	case x.Name == contentAttr && !isDigest(x.have) && !isDigest(x.want):
		return firstDifference(x.have, x.want)
	case !x.inHave:
		return fmt.Sprintf("%s is %s now, and was not there", x.Name, show(x.want))
	case !x.inWant:
		return fmt.Sprintf("%s was %s, and is gone", x.Name, show(x.have))
	}
	return fmt.Sprintf("%s is %s now, and was %s", x.Name, show(x.want), show(x.have))
}

// firstDifference names the first line in which two texts differ.
func firstDifference(was, now string) string {
	const most = 60
	a, b := strings.Split(was, "\n"), strings.Split(now, "\n")
	for i := range max(len(a), len(b)) {
		line := func(l []string) string {
			if i >= len(l) {
				return "the end"
			}
			if r := []rune(l[i]); len(r) > most {
				return show(string(r[:most])) + "..."
			}
			return show(l[i])
		}
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d is %s now, and was %s", i+1, line(b), line(a))
		}
	}
	return ""
}

// fill takes over what the plan has of what there is to do now.
func (b *binder) fill(s *Saved) {
	now, out := b.Now, &b.out.Plan
	out.Host, out.Unchanged, out.Notes, out.Inventory = now.Host, now.Unchanged, s.Notes, now.Inventory
	out.Changes = []Change{}
	for _, c := range now.Changes {
		saved := b.saved[c.Ref]
		switch {
		case saved != nil:
			c.Stale, c.Taken = b.stale(saved, c), c.Taken || saved.Taken
			out.Changes = append(out.Changes, c)
		case len(s.Changes) > 0 && (c.follows() || c.Ref == b.Passing) && s.Selection.picks(c.Ref):
			out.Changes = append(out.Changes, c)
		default:
			b.out.Other++
		}
	}
	for _, w := range now.Blocked {
		if b.saved[w.Ref] != nil {
			out.Blocked = append(out.Blocked, w)
		}
	}
	for _, u := range now.Unreadable {
		if b.saved[u.Ref] != nil {
			out.Unreadable = append(out.Unreadable, u)
		}
	}
	kept := make(map[Ref]bool)
	for _, r := range s.Record {
		kept[r.Ref] = true
	}
	for _, ref := range s.Forget {
		kept[ref] = true
	}
	for _, r := range now.Record {
		if kept[r.Ref] || b.saved[r.Ref] != nil {
			out.Record = append(out.Record, r)
		}
	}
	for _, ref := range now.Forget {
		if kept[ref] || b.saved[ref] != nil {
			out.Forget = append(out.Forget, ref)
		}
	}
}

// follows tells whether nothing differs but what somebody else renews.
func (c Change) follows() bool {
	return c.Have != nil && c.Want != nil && !slices.ContainsFunc(differences(c.Have, c.Want), func(x difference) bool { return !x.Follow })
}

// stale says what has happened to a resource since it was planned, "" if nothing
// that matters: what is already as it is wanted does not, nor does what an
// earlier apply of the same plan has left half done.
func (b *binder) stale(saved *Change, now Change) string {
	e, known := b.inv.entry(now.Ref)
	interrupted := b.out.Begun && known && e.Pending
	if !b.live[now.Ref.Kind] && !interrupted {
		switch {
		case saved.Have == nil && now.Have != nil:
			return "it exists now"
		case saved.Have != nil && now.Have == nil:
			return "it is gone"
		}
	}
	if saved.Have != nil && now.Have != nil {
		if text := b.changed(saved, now, interrupted); text != "" {
			return text
		}
	}
	if !b.out.Begun && graver(saved.Impact, now.Impact) != saved.Impact {
		return fmt.Sprintf("it would mean %s now, and the plan says %s", now.Impact, saved.Impact)
	}
	return ""
}

// changed compares what there is of a resource with what the plan saw.
func (b *binder) changed(saved *Change, now Change, interrupted bool) string {
	var phrases []string
	for _, x := range differences(saved.Have, now.Have.masked(b.Key)) {
		reached := x.inWant && saved.Want != nil && same(Attr{Name: x.Name, Value: saved.Want.Get(x.Name)}, Attr{Name: x.Name, Value: x.want})
		half := interrupted && x.Name != contentAttr
		if x.Runs || x.Shared || x.Follow || reached || half {
			continue
		}
		phrases = append(phrases, x.sincePlan())
	}
	return strings.Join(phrases, "; ")
}
