package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// returnAfter is when a host whose apply was cut short returns. An apply that is
// at work is waited for.
const returnAfter = 30 * time.Second

// cutShort is why the host leaves a generation that was begun only.
const cutShort = "its apply was cut short"

// trial is a host on its way from one generation to another. Until its end is
// known it is written down as an attempt, and systemd is to return the host
// should nobody bring it to an end.
type trial struct {
	attempt
	c      *console
	g      generations
	l      *look // of the generation to come
	boot   bool
	after  time.Duration
	disarm func() // takes the return back

	found  *attempt // that had not come to its end before; nil for none
	again  bool     // To was applied before: by rollback
	leaves []int    // generations that the host leaves for To
	reason string   // why it does
}

// applyGeneration makes the changes of a plan as a generation of their own.
// A plan without any makes none, unless it finds one that was not brought to its
// end; nor does a part of one, after which the host is as no description says.
func (l *look) applyGeneration(ctx context.Context, o applyOptions, c *console, plan *reconcile.Plan) error {
	g := generationsOf(l.host.Paths.State)
	left, err := g.trying()
	if err != nil {
		return err
	}
	if l.partly {
		return l.applyPart(ctx, c, plan, o.wait)
	}
	if len(plan.Changes) == 0 && left == nil {
		return l.recorded(ctx, l.apply(ctx, c, plan, o.wait), o.wait)
	}
	if l.lock, err = reconcile.TakeLock(ctx, l.host.Paths.State, o.wait); err != nil {
		return notApplied(err)
	}
	defer l.unlock()
	if err := l.current(); err != nil { // another apply may have been at work
		return err
	}
	if left, err = g.trying(); err != nil {
		return err
	}
	if len(plan.Changes) == 0 && left == nil {
		return l.recorded(ctx, l.apply(ctx, c, plan, 0), 0)
	}
	t := &trial{c: c, g: g, l: l, boot: o.boot, after: cmp.Or(o.returnAfter, returnAfter), reason: cutShort, found: left}
	if left != nil && !g.has(left.To, proven) {
		t.leaves = []int{left.To}
	}
	if err := t.prepare(ctx, plan); err != nil {
		return err
	}
	if err := t.begin(ctx); err != nil {
		return err
	}
	return t.end(ctx, l.apply(ctx, c, plan, o.wait))
}

// applyPart makes the changes of a part of a plan. What was left out on purpose the
// deploy hook must not do, nor undo what was done: it is told before the first change.
func (l *look) applyPart(ctx context.Context, c *console, plan *reconcile.Plan, wait time.Duration) (err error) {
	if slices.ContainsFunc(plan.Changes, departs) {
		if l.lock, err = reconcile.TakeLock(ctx, l.host.Paths.State, wait); err != nil {
			return notApplied(err)
		}
		defer l.unlock()
		if err := l.current(); err != nil {
			return err
		}
		if err := markApplied(l.host.Paths.State, func(a *applied) { a.Partly, a.HandedBack = true, false }); err != nil {
			return err
		}
	}
	return l.recorded(ctx, l.apply(ctx, c, plan, wait), wait)
}

// departs tells whether a change makes other than was applied last what the deploy
// hook would make so again. The certificates and what runs follow from the rest.
func departs(c reconcile.Change) bool {
	mends := c.Drift != nil && c.Drift.Only
	return slices.Contains(servingKinds, c.Ref.Kind) && c.Ref.Kind != "certificate" && c.Ref.Kind != "daemon" && !mends
}

// recorded keeps what was wanted for the deploy hook, which so can mend what
// failed. A saved plan that was applied whole is spent.
func (l *look) recorded(ctx context.Context, failed error, wait time.Duration) error {
	if !l.partly && (failed == nil || exitCodeOf(failed) == exitPartial) {
		if err := recordApplied(ctx, l, wait); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed == nil {
		failed = l.spend(ctx, wait)
	}
	return failed
}

// prepare stages a new generation and checks it whole.
func (t *trial) prepare(ctx context.Context, plan *reconcile.Plan) error {
	if err := t.g.takeOver(ctx, t.l); err != nil {
		return err
	}
	now, err := t.g.current()
	if err != nil {
		return err
	}
	if t.From, err = t.g.proven(now); err != nil {
		return err
	}
	if t.To, err = t.g.next(); err != nil {
		return err
	}
	if _, err = t.g.stage(t.l, plan, t.To); err != nil {
		return err
	}
	if t.boot {
		return nil
	}
	if err := t.l.checkStaged(ctx, t.g, t.To, plan); err != nil {
		return hint(errors.Join(fmt.Errorf("nothing was applied: %w", err), t.g.remove(t.To)), "nothing on the host was touched")
	}
	return nil
}

// next gives the number of the generation to come.
func (g generations) next() (int, error) {
	all, err := g.list()
	if err != nil || len(all) == 0 {
		return 1, err
	}
	return all[len(all)-1] + 1, nil
}

// begin writes the attempt down, and has systemd return the host if nobody
// brings it to its end.
func (t *trial) begin(ctx context.Context) error {
	t.ID, t.disarm = rand.Text(), func() {}
	if t.boot || t.again && t.From == t.To { // it ends in To in any case, the power being cut again
		if err := t.leave(); err != nil {
			return err
		}
	}
	if err := t.g.setTrying(t.attempt); err != nil {
		return err
	}
	if t.boot || t.l.opts.Rootless || t.l.facts.Systemd == 0 {
		return nil
	}
	t.disarm = t.l.arm(ctx, t.c, t.ID, fmt.Sprintf("Mailstead: return from generation %d, unless it is proven", t.To), t.after,
		"rollback", "--attempt", t.ID, "--state", t.l.host.Paths.State)
	return nil
}

// end brings an attempt to its end: proven, or given up. failed is how the
// changes ended.
func (t *trial) end(ctx context.Context, failed error) error {
	// Whoever interrupts has a host that serves, all the same.
	ctx = context.WithoutCancel(ctx)
	defer t.disarm()
	if code := exitCodeOf(failed); failed != nil && code != exitPartial {
		return errors.Join(failed, t.abandon())
	}
	proved, problem := false, error(nil)
	if !t.boot {
		proved, problem = t.l.proveServing(ctx)
	}
	if problem != nil {
		return t.giveUp(ctx, problem, failed)
	}
	if err := t.settle(ctx, proved); err != nil {
		return errors.Join(failed, err)
	}
	return t.l.recorded(ctx, failed, 0)
}

// abandon ends an attempt that has changed nothing. One that was found is as open as
// it was: its timer goes by its name.
func (t *trial) abandon() (err error) {
	if t.found != nil {
		err = t.g.setTrying(*t.found)
	} else {
		err = t.g.clearTrying()
	}
	if !t.again {
		err = errors.Join(err, t.g.remove(t.To))
	}
	return err
}

// settle says that the generation is in force.
func (t *trial) settle(ctx context.Context, proved bool) error {
	gen, err := t.g.read(t.To)
	if err != nil {
		return err
	}
	gen.Left = nil
	if now := time.Now().UTC().Truncate(time.Second); proved {
		gen.Proved = &now
	}
	if err := t.g.write(gen); err != nil {
		return err
	}
	if err := t.g.setCurrent(t.To); err != nil {
		return err
	}
	if err := t.g.clearTrying(); err != nil {
		return err
	}
	if err := t.leave(); err != nil {
		return err
	}
	return t.g.prune(t.To, t.From)
}

// leave notes the generations that the host leaves.
func (t *trial) leave() error {
	for _, n := range t.leaves {
		if err := t.g.leave(n, t.To, t.reason); err != nil {
			return err
		}
	}
	return nil
}

// leave says why a generation is not to be in force.
func (g generations) leave(n, to int, reason string) error {
	gen, err := g.read(n)
	if err != nil {
		return err
	}
	gen.Left = &departure{At: time.Now().UTC().Truncate(time.Second), To: to, Reason: reason}
	return g.write(gen)
}

// giveUp returns to the generation before, because this one does not serve. What
// failed of the changes is likely to be the reason.
func (t *trial) giveUp(ctx context.Context, problem, failed error) error {
	seen := fmt.Errorf("generation %d does not serve: %w", t.To, causes(failed, problem))
	if t.again && (t.From == 0 || t.From == t.To) {
		return &exitError{code: exitPartial, err: seen}
	}
	fmt.Fprintf(t.c.err, "mailstead: error: %s\n", visibleLines(seen.Error()))
	if err := t.g.goBack(ctx, t.c, t.attempt, t.l.lock, problem.Error()); err != nil {
		return err
	}
	if t.From == 0 {
		return &exitError{code: exitReturned, err: hint(fmt.Errorf("generation %d does not serve, and there is none to return to: the daemon was stopped", t.To),
			"mend what is said above and apply again")}
	}
	return &exitError{code: exitReturned, err: hint(fmt.Errorf("generation %d does not serve; the host has returned to generation %d, which does", t.To, t.From),
		"%q shows what it was to change", fmt.Sprintf("mailstead diff %d %d", t.From, t.To))}
}

// causes puts what failed of the changes, if anything did, before what is seen of it.
func causes(failed, seen error) error {
	if failed == nil {
		return seen
	}
	return fmt.Errorf("%w\nwhat a client sees: %w", failed, seen)
}

// goBack ends an attempt that cannot stand: the host is made again what it was in
// the generation before, by an ordinary plan, and has to serve; or, where there
// is none, the daemon is stopped.
func (g generations) goBack(ctx context.Context, c *console, a attempt, lock *reconcile.Lock, reason string) error {
	if err := g.undo(ctx, c, a, lock); err != nil {
		return &exitError{code: exitPartial, err: hint(fmt.Errorf("return from generation %d: %w", a.To, err), "mend that, then %q", "mailstead rollback")}
	}
	var err error
	if a.From != a.To {
		err = g.leave(a.To, a.From, reason)
	}
	if err == nil && a.From != 0 {
		err = g.setCurrent(a.From)
	}
	if err == nil {
		err = g.clearTrying()
	}
	if err == nil {
		err = g.prune(a.From)
	}
	return err
}

// undo makes the host what it was.
func (g generations) undo(ctx context.Context, c *console, a attempt, lock *reconcile.Lock) error {
	if a.From == 0 {
		was, err := g.readHost(a.To)
		if err != nil || was.Rootless {
			return err
		}
		var h kind.Host
		defer h.Close()
		for _, unit := range ownServices(was.host()) {
			err = errors.Join(err, h.StopService(ctx, unit))
		}
		return err
	}
	l, err := g.lookAt(ctx, c, a.From, false)
	if err != nil {
		return err
	}
	defer l.close()
	l.lock = lock
	plan, err := l.compare(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nReturning to generation %d:\n\n", a.From)
	writePlan(c, c.out, plan, false)
	failed := l.apply(ctx, c, plan, 0)
	if _, err := l.proveServing(ctx); err != nil {
		return fmt.Errorf("generation %d does not serve either: %w", a.From, causes(failed, err))
	}
	if failed != nil { // it serves all the same
		fmt.Fprintf(c.err, "mailstead: warning: %s\n", visibleLines(failed.Error()))
	}
	return recordApplied(ctx, l, 0)
}

// ownServices are the services that serve a host, those that clients meet first.
func ownServices(host *schema.Host) (units []string) {
	for _, l := range host.Listeners {
		units = append(units, render.LoginUnit(l.Name))
	}
	return append(units, render.ServiceUnit, render.SpawnUnit)
}
