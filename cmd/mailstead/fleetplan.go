package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mailstead/reconcile/target"
)

// runFleetPlan plans hosts that may be several, or not this machine.
func runFleetPlan(ctx context.Context, o planOptions, file string, c *console) error {
	if file != "" {
		return hint(errors.New("a plan is saved on the host that it is for"), "run %q there; -o json shows all of them here", "mailstead plan -o "+file)
	}
	look, err := o.planner(target.NewPlanKey())
	if err != nil {
		return err
	}
	hosts, err := o.loadHosts(&o.source)
	if err != nil {
		return err
	}
	plans := o.planHosts(ctx, hosts, look)
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range plans {
		plans[i].err = o.invalid(plans[i].err)
	}
	if err := o.writePlans(c, plans); err != nil {
		return err
	}
	return o.verdict(plans)
}

// planner says how the hosts are looked at.
func (o *planOptions) planner(key []byte) (planner, error) {
	switch {
	case len(o.facts) > 0 && o.elsewhere():
		return nil, errors.New("--facts and --via do not go together")
	case len(o.facts) > 0:
		facts, err := readFacts(o.facts)
		if err == nil && !o.all && len(o.patterns) == 0 {
			o.patterns = slices.Sorted(maps.Keys(facts))
		}
		return planRecorded(facts, key), err
	case o.elsewhere():
		f := &far{fleet: o.fleet, opts: o.opts, key: key}
		return f.plan, nil
	case o.opts.Rootless:
		return planHere(o.opts, key), nil
	}
	return nil, hint(errors.New("several hosts are meant, and this is one machine"), "give --via ssh, or --facts, or --host with one name")
}

func (o *planOptions) writePlans(c *console, plans []hostPlan) error {
	switch {
	case o.several() && o.output == outputJSON:
		return writeFleetJSON(c.out, plans)
	case o.several():
		writeFleet(c, c.out, plans, o.verbose)
		return nil
	case plans[0].err != nil:
		return plans[0].err
	case o.output == outputJSON:
		return plans[0].plan.Encode(c.out)
	}
	writePlan(c, c.out, &plans[0].plan.Plan, o.verbose)
	return nil
}

// verdict is what a plan of several hosts ends with. The faults have been shown.
func (o *planOptions) verdict(plans []hostPlan) error {
	failed, code, pending := 0, 0, false
	var refused []error
	for _, p := range plans {
		if p.err != nil {
			failed++
			if own := exitCodeOf(p.err); code == 0 || code == own {
				code = own
			} else {
				code = exitFailed
			}
			continue
		}
		if err := o.refuse(&p.plan.Plan); err != nil {
			refused = append(refused, fmt.Errorf("%s: %w", p.host.Name, err))
		}
		pending = pending || !p.plan.Empty() || len(p.plan.Blocked) > 0
	}
	switch {
	case failed > 0:
		return &exitError{code: code, err: fmt.Errorf("%d of %d hosts could not be planned", failed, len(plans))}
	case len(refused) > 0:
		return &exitError{code: exitPending, err: errors.Join(refused...)}
	case o.detailed && pending:
		return &exitError{code: exitPending}
	}
	return nil
}

// errorText is an error as a list of several shows it: the faults of a
// description in full.
func errorText(err error) string {
	var invalid *invalidError
	if errors.As(err, &invalid) {
		return err.Error() + "\n" + invalid.text
	}
	return err.Error()
}
