package reconcile

import "context"

// batchSize is how many changes of a kind are looked at, and then made, at once.
// An interrupted run finishes so many, which takes a fraction of a second.
const batchSize = 500

// applyAll makes the changes of a kind with ApplyAll from first up to last. A new
// host has a hundred thousand of them, and asking about each by itself would take
// longer than making it.
func (a *applier) applyAll(k Kind, first, last int) {
	var unsettled []int
	var changes []Change
	together := func(i int) string {
		r := a.plan.Changes[i].target()
		return r.Get(k.Together)
	}
	for first < last {
		end := first + 1
		for end < min(first+batchSize, last) && together(end) == together(first) {
			end++
		}
		indices, made := a.batch(k, first, end)
		unsettled, changes = append(unsettled, indices...), append(changes, made...)
		first = end
	}
	if len(unsettled) > 0 {
		a.settle(k, unsettled, changes)
	}
}

// batch looks at the resources of some changes again and makes those changes. It
// gives the changes that were made and have to be settled.
func (a *applier) batch(k Kind, first, last int) (unsettled []int, made []Change) {
	ctx := context.WithoutCancel(a.ctx)
	begun := a.start(first, last)
	if len(begun) == 0 {
		return nil, nil
	}
	asks := make([]Ask, len(begun))
	for n, i := range begun {
		asks[n] = a.plan.Changes[i].ask()
	}
	var outcomes []Outcome
	var todo []Change
	var indices []int
	for n, seen := range k.Observe(ctx, asks) {
		o, act := a.examine(k, a.plan.Changes[begun[n]], seen)
		if !act {
			a.finish(begun[n], o)
			continue
		}
		outcomes, todo, indices = append(outcomes, o), append(todo, o.Change), append(indices, begun[n])
	}
	if len(todo) == 0 {
		return nil, nil
	}
	for n, err := range k.ApplyAll(ctx, todo) {
		o, done := outcomes[n].ended(err)
		if done && k.Settle != nil {
			unsettled, made = append(unsettled, indices[n]), append(made, o.Change)
			continue
		}
		a.finish(indices[n], o)
	}
	return unsettled, made
}

// start begins the changes of a batch, and gives those that are not skipped.
func (a *applier) start(first, last int) (begun []int) {
	for i := first; i < last; i++ {
		c := a.plan.Changes[i]
		if o, stop := a.skip(c); stop {
			a.untouched[c.Ref] = true
			a.finish(i, o)
			continue
		}
		if begun == nil {
			a.journal.note(i, c.Ref, false)
		}
		a.tell(i, Outcome{Change: c, State: Started})
		begun = append(begun, i)
	}
	return begun
}
