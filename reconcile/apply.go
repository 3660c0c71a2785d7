package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// ErrChanged says that a resource is no longer what the plan was made for. The
// others are applied all the same.
var ErrChanged = errors.New("changed since the plan was made")

// ErrBehind says that another apply has been at work since the plan was made.
// Nothing was begun: what the two want could otherwise end up mixed.
var ErrBehind = errors.New("another apply has changed this host since the plan was made")

// Options say how to apply.
type Options struct {
	Table    []Kind // the one that the plan was made with
	State    string // state directory with the inventory and the lock; "" for neither
	Wait     time.Duration
	Lock     *Lock       // the caller's, who keeps it; nil: Apply takes it and gives it back
	Saved    *Saved      // the saved plan that is carried out, which Bind has bound and the caller spends; nil for none
	Progress func(Event) // called from Apply's goroutine; nil for none
}

// Event is a step of an Apply: once with State Started, and once with how it ended.
type Event struct {
	Index, Total int // Index counts from 0
	Outcome
}

// Apply makes the changes of a plan, in their order. Every resource is looked at
// again before it is changed: is it already as wanted, nothing is done; is it not
// what the plan says, it fails with ErrChanged. A failure ends only what needs
// the resource. If ctx ends, the change at work is finished and no other begun.
//
// The error says why nothing was begun (a LockedError if someone else is at
// work, ErrBehind if someone else was) or why the end could not be recorded. What failed is in the Report.
func Apply(ctx context.Context, p *Plan, o Options) (*Report, error) {
	a := &applier{ctx: ctx, plan: p, opts: o, inv: &Inventory{entries: map[Ref]entry{}},
		failed: map[Ref]bool{}, untouched: map[Ref]bool{}, made: map[Ref]bool{}}
	a.report.Blocked, a.report.Unreadable = p.Blocked, p.Unreadable
	if o.State != "" {
		l, err := o.Lock, error(nil)
		if l == nil {
			if l, err = TakeLock(ctx, o.State, o.Wait); err != nil {
				return nil, err
			}
			defer l.Release()
		}
		if a.inv, err = ReadInventory(o.State); err != nil {
			return nil, err
		}
		if p.behind(a.inv) {
			return nil, ErrBehind
		}
	}
	if err := o.beginSaved(); err != nil {
		return nil, err
	}
	if err := a.begin(); err != nil {
		return nil, err
	}
	defer a.journal.close()
	for first := 0; first < len(p.Changes); {
		last := a.group(first)
		a.apply(first, last)
		first = last
	}
	if err := a.end(); err != nil {
		return &a.report, err
	}
	if p.Inventory != "" {
		p.Inventory = a.inv.digest()
	}
	return &a.report, nil
}

type applier struct {
	ctx       context.Context
	plan      *Plan
	opts      Options
	inv       *Inventory
	journal   *journal
	report    Report
	before    map[Ref]entry // of the inventory, as it was when the run began
	failed    map[Ref]bool  // did not end well, so that what needs it is skipped
	untouched map[Ref]bool  // nothing was done to it
	made      map[Ref]bool  // was changed by this run
}

func (a *applier) kind(name string) (Kind, error) {
	for _, k := range a.opts.Table {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("no such kind: %s", name)
}

// begin records what may be on the host from now on.
func (a *applier) begin() error {
	var begun []Change
	for _, c := range a.plan.Changes {
		if k, err := a.kind(c.Ref.Kind); err != nil {
			return err
		} else if !k.Live {
			begun = append(begun, c)
		}
	}
	if len(begun) == 0 {
		return nil
	}
	a.before = maps.Clone(a.inv.entries)
	a.inv.begin(begun)
	a.inv.run = &run{Begun: time.Now().UTC(), Changes: len(a.plan.Changes)}
	if err := a.inv.write(a.opts.State); err != nil || a.opts.State == "" {
		return err
	}
	a.journal = openJournal(a.opts.State, *a.inv.run)
	return nil
}

// end records what is on the host now. What nothing was done to is not ours by
// having been planned.
func (a *applier) end() error {
	changed := len(a.plan.Forget) > 0 || len(a.plan.Record) > 0
	for _, o := range a.report.Outcomes {
		ref := o.Change.Ref
		if k, _ := a.kind(ref.Kind); k.Live {
			continue
		}
		old, had := a.before[ref]
		switch {
		case o.State == Done:
			a.inv.settle(o.Change)
		case a.untouched[ref] && had:
			a.inv.entries[ref] = old
		case a.untouched[ref]:
			delete(a.inv.entries, ref)
		}
		changed = true
	}
	a.inv.run = nil
	for _, ref := range a.plan.Forget {
		delete(a.inv.entries, ref)
	}
	for _, r := range a.plan.Record {
		a.inv.entries[r.Ref] = newEntry(r)
	}
	if !changed {
		return nil
	}
	return a.inv.write(a.opts.State)
}

// group gives the end of the run of changes that settle together.
func (a *applier) group(first int) int {
	k, err := a.kind(a.plan.Changes[first].Ref.Kind)
	last := first + 1
	if err != nil || k.Settle == nil && k.ApplyAll == nil {
		return last
	}
	for last < len(a.plan.Changes) && a.plan.Changes[last].Ref.Kind == k.Name {
		last++
	}
	return last
}

// apply makes the changes of one kind from first up to last.
func (a *applier) apply(first, last int) {
	k, _ := a.kind(a.plan.Changes[first].Ref.Kind)
	if k.ApplyAll != nil {
		a.applyAll(k, first, last)
		return
	}
	var unsettled []int
	var changes []Change
	for i := first; i < last; i++ {
		c := a.plan.Changes[i]
		if o, stop := a.skip(c); stop {
			a.untouched[c.Ref] = true
			a.finish(i, o)
			continue
		}
		a.journal.note(i, c.Ref, false)
		a.tell(i, Outcome{Change: c, State: Started})
		o, made := a.one(k, c)
		if made && k.Settle != nil {
			unsettled = append(unsettled, i)
			changes = append(changes, o.Change)
			continue
		}
		a.finish(i, o)
	}
	if len(unsettled) > 0 {
		a.settle(k, unsettled, changes)
	}
}

// skip tells whether a change is not even begun.
func (a *applier) skip(c Change) (Outcome, bool) {
	if a.ctx.Err() != nil {
		return Outcome{Change: c, State: Skipped, Note: "interrupted"}, true
	}
	if c.Want != nil {
		for _, n := range c.Want.Needs {
			if a.failed[n] {
				return Outcome{Change: c, State: Skipped, Note: fmt.Sprintf("needs %s", n)}, true
			}
		}
	}
	return Outcome{}, false
}

// one looks at a resource again and changes it. It tells whether there was
// something to change.
func (a *applier) one(k Kind, c Change) (o Outcome, made bool) {
	// An interrupted run finishes the change that it is at.
	ctx := context.WithoutCancel(a.ctx)
	o, act := a.examine(k, c, k.Observe(ctx, []Ask{c.ask()})[0])
	if !act {
		return o, false
	}
	return o.ended(k.Apply(ctx, o.Change))
}

// examine judges what was seen of a resource right before its change. It tells
// whether the change is to be made, with what was seen in it.
func (a *applier) examine(k Kind, c Change, seen Seen) (o Outcome, act bool) {
	o = Outcome{Change: c, State: Done}
	switch {
	case c.Stale != "":
		a.untouched[c.Ref] = true
		o.State, o.Err = Failed, fmt.Errorf("%w: %s", ErrChanged, c.Stale)
	case seen.Err != nil:
		a.untouched[c.Ref] = true
		o.State, o.Err = Failed, seen.Err
	case settled(seen.Have, c.Want):
		o.Note = "already so"
	case c.Want == nil && !a.owned(c.Ref):
		a.untouched[c.Ref] = true
		o.State, o.Err = Failed, fmt.Errorf("%w: the inventory has it no longer, so it is not ours to remove", ErrChanged)
	case seen.Foreign != nil && c.Want != nil && !c.Taken && !(&Inventory{entries: a.before}).owns(c.Ref, seen):
		a.untouched[c.Ref] = true
		o.State, o.Err = Failed, fmt.Errorf("%w: %s", ErrChanged, seen.Foreign.Reason)
	case !k.Live && !a.expected(c, seen.Have):
		a.untouched[c.Ref] = true
		o.State, o.Err = Failed, fmt.Errorf("%w: %s", ErrChanged, drift(c.Have, seen.Have))
	default:
		o.Change.Have = seen.Have
		a.made[c.Ref] = true
		return o, true
	}
	return o, false
}

// ended is the outcome of a change once it was made, and tells whether it was.
func (o Outcome) ended(err error) (Outcome, bool) {
	var kept Kept
	switch {
	case errors.As(err, &kept):
		o.Note = kept.Error()
	case err != nil:
		o.State, o.Err = Failed, err
	default:
		return o, true
	}
	return o, false
}

// owned tells whether the inventory had a resource when the run began.
func (a *applier) owned(ref Ref) bool {
	_, had := a.before[ref]
	return had
}

// expected tells whether a resource is what the plan says that it is, as far as
// others go: this run itself may have changed what it stands in, and this one or
// one that was killed have made the state directory for the lock. What runs may
// start and stop by itself.
func (a *applier) expected(c Change, have *Resource) bool {
	if c.Have == nil && slices.ContainsFunc(c.Want.Needs, func(n Ref) bool { return a.made[n] }) {
		return true
	}
	if (c.Have == nil) != (have == nil) {
		return c.Have == nil && c.Ref.Name == a.opts.State
	}
	return !slices.ContainsFunc(differences(c.Have, have), func(x difference) bool { return !x.Runs && !x.Shared })
}

func settled(have, want *Resource) bool {
	if want == nil || have == nil {
		return have == nil && want == nil
	}
	return len(differences(have, want)) == 0
}

// drift says what happened to a resource behind the plan's back.
func drift(planned, have *Resource) string {
	switch {
	case have == nil:
		return "it is gone"
	case planned == nil:
		return "it exists now"
	}
	return reason(differences(have, planned))
}

// settle ends a group of changes.
func (a *applier) settle(k Kind, made []int, changes []Change) {
	a.journal.note(made[len(made)-1], changes[len(changes)-1].Ref, true)
	errs := k.Settle(context.WithoutCancel(a.ctx), changes)
	for i, n := range made {
		o := Outcome{Change: changes[i], State: Done}
		if errs[i] != nil {
			o.State, o.Err = Failed, errs[i]
		}
		a.finish(n, o)
	}
}

func (a *applier) finish(i int, o Outcome) {
	if o.State != Done {
		a.failed[o.Change.Ref] = true
	}
	a.report.Outcomes = append(a.report.Outcomes, o)
	a.tell(i, o)
}

func (a *applier) tell(i int, o Outcome) {
	if a.opts.Progress != nil {
		a.opts.Progress(Event{Index: i, Total: len(a.plan.Changes), Outcome: o})
	}
}
