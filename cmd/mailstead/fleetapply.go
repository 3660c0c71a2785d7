package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailstead/reconcile/target"
	"mailstead/schema"
)

// fleetApplyHelp says in the help of apply what happens on several hosts.
const fleetApplyHelp = `Of several hosts one is first, the canary: --canary, or the first by name that
something changes on. The others follow one by one, each after the one before it
has said that all is applied and that its daemon serves it. The first that
does not ends the run, and what was done where is reported. Nothing is done that
the plan did not show, and nothing at all while one of the hosts has no plan.
`

// checkFleet refuses what is for this machine alone.
func (o *applyOptions) checkFleet() error {
	switch {
	case o.saved != nil:
		return hint(errors.New("a saved plan is carried out on the host that it is for"), "run %q there", "mailstead apply "+o.file)
	case o.boot:
		return errors.New("--boot is for the machine that comes up")
	case !o.elsewhere():
		return hint(errors.New("several hosts are meant, and this is one machine"), "give --via ssh, or --host with one name")
	}
	return nil
}

// runFleetApply plans hosts that are not this machine, asks once, and applies
// them one after the other.
func runFleetApply(ctx context.Context, o applyOptions, c *console) error {
	if err := o.checkFleet(); err != nil {
		return err
	}
	hosts, err := o.loadHosts(&o.source)
	if err != nil {
		return err
	}
	r := &rollout{far: far{fleet: o.fleet, opts: o.opts, key: target.NewPlanKey()}, options: o, c: c}
	r.plans = r.planHosts(ctx, hosts, r.far.plan)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.order(); err != nil {
		return err
	}
	if err := r.show(); err != nil {
		return err
	}
	if !o.yes && slices.ContainsFunc(r.plans, func(p hostPlan) bool { return !p.plan.Empty() }) {
		if err := consent(ctx, c, applyQuestion); err != nil {
			return err
		}
	}
	unheard()
	return r.run(ctx)
}

// rollout is an apply on several hosts.
type rollout struct {
	far
	options applyOptions
	c       *console
	plans   []hostPlan // in the order of being applied
	canary  bool       // the first was chosen to be so
}

// order puts the canary first.
func (r *rollout) order() error {
	first := slices.IndexFunc(r.plans, func(p hostPlan) bool { return p.err == nil && !p.plan.Empty() })
	if name := r.options.canary; name != "" {
		first = slices.IndexFunc(r.plans, func(p hostPlan) bool { return p.host.Name == name })
		if first < 0 {
			return fmt.Errorf("--canary %q: not one of the hosts that are meant", name)
		}
	}
	r.canary = len(r.plans) > 1 && first >= 0
	if first > 0 {
		p := r.plans[first]
		r.plans = slices.Insert(slices.Delete(r.plans, first, first+1), 0, p)
	}
	return nil
}

// show writes the plans. Where a host has none, nothing is applied anywhere.
func (r *rollout) show() error {
	failed := 0
	for i := range r.plans {
		p := &r.plans[i]
		if p.err = r.options.invalid(p.err); p.err != nil {
			failed++
		}
	}
	switch {
	case r.several():
		writeFleet(r.c, r.c.out, r.plans, r.options.verbose)
	case failed > 0:
		return r.plans[0].err
	default:
		writePlan(r.c, r.c.out, &r.plans[0].plan.Plan, r.options.verbose)
	}
	if failed > 0 {
		return hint(fmt.Errorf("nothing was applied: %d of %d hosts could not be planned", failed, len(r.plans)), "leave them out with --host")
	}
	return nil
}

// run applies the hosts, and says at the first that is not well what was done
// and what was not begun.
func (r *rollout) run(ctx context.Context) error {
	changed := 0
	fmt.Fprintln(r.c.out)
	for i, p := range r.plans {
		name := p.host.Name
		if i == 0 && r.canary {
			name += " (canary)"
		}
		err := ctx.Err()
		if err == nil {
			err = r.apply(ctx, p, name)
		}
		if err != nil {
			r.writeStopped(i)
			return stopped(p.host, err, changed > 0)
		}
		if !p.plan.Empty() {
			changed++
		}
	}
	if len(r.plans) > 1 {
		fmt.Fprintf(r.c.out, "\nApplied: %s changed, %d had nothing to change.\n", counts(changed, "hosts"), len(r.plans)-changed)
	}
	return nil
}

// writeStopped says which hosts are as they are to be, and which were left alone.
func (r *rollout) writeStopped(at int) {
	list := func(title string, plans []hostPlan) {
		if len(plans) == 0 {
			return
		}
		names := make([]string, len(plans))
		for i, p := range plans {
			names[i] = p.host.Name
		}
		slices.Sort(names)
		fmt.Fprintf(r.c.out, "%s: %s.\n", title, visible(strings.Join(names, ", ")))
	}
	if at > 0 {
		fmt.Fprintln(r.c.out)
	}
	list("Applied", r.plans[:at])
	list("Stopped at", r.plans[at:at+1])
	list("Not begun", r.plans[at+1:])
}

// stopped is the error of a run that ended at a host. Its exit code is that
// host's, as long as no other was changed.
func stopped(host *schema.Host, err error, others bool) error {
	code := exitCodeOf(err)
	if others {
		code = exitPartial
	}
	return &exitError{code: code, err: fmt.Errorf("%s: %w", host.Name, err)}
}

// apply has one host applied at its far end, and makes sure that it is well.
func (r *rollout) apply(ctx context.Context, p hostPlan, name string) error {
	conn, err := r.open(ctx, p.host)
	if err != nil {
		return err
	}
	defer conn.Close()
	q := r.request(p.host)
	q.Wait, q.RemoveUsers, q.ReturnAfter = r.options.wait, r.options.confirmed.users, r.options.returnAfter
	q.PurgeInboxes = r.options.confirmed.inboxes
	for _, s := range p.steps {
		q.Agreed = append(q.Agreed, s.Exact)
	}
	said := func(text string) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				fmt.Fprintf(r.c.out, "%s: %s\n", visible(name), visible(line))
			}
		}
	}
	if a, err := call(ctx, conn, verbApply, q, said); err != nil && a.Fault == nil {
		return hint(err, "what was begun there goes on to its end: see %q in a while", "mailstead plan")
	} else if err != nil {
		return err
	}
	q.Agreed = nil
	a, err := call(ctx, conn, verbStatus, q, nil)
	if err != nil {
		return fmt.Errorf("applied, and its state is not known: %w", err)
	}
	if why := unwell(a.Status, r.opts.Rootless); why != "" {
		return hint(&exitError{code: exitPartial, err: fmt.Errorf("applied, and not well: %s", why)}, "run %q there", "mailstead status")
	}
	if p.plan.Empty() {
		said("nothing to change")
	}
	return nil
}

// unwell says what is wrong with a host that was applied; "" is nothing. Where
// nobody is root the daemon is not ours to run.
func unwell(s *hostStatus, rootless bool) string {
	switch {
	case s == nil:
		return "it gave no status"
	case rootless && s.Pending+s.Waiting == 0, s.InStep:
		return ""
	}
	for _, row := range s.Rows {
		if !row.InStep {
			return fmt.Sprintf("%s %s is wanted as %s, on disk %s, served %s", row.Kind, row.Name, brief(row.Desired), brief(row.Disk), brief(row.Running))
		}
	}
	return statusLine(s)
}
