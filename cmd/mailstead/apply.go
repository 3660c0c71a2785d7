package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
)

type applyOptions struct {
	source
	fleet
	selection
	canary  string // the first of several hosts; "": the first by name
	opts    desired.Options
	verbose bool
	yes     bool
	boot    bool
	wait    time.Duration

	confirmed confirmed

	file  string           // of the saved plan to carry out; "" for none
	saved *reconcile.Saved // what it holds

	returnAfter time.Duration // when a host whose apply was cut short returns

	shown bool // the plan was shown already

	// agree is asked before a plan is begun; nil asks on the console.
	agree func(context.Context, *reconcile.Plan) error
}

func newApplyCommand() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "apply [FILE] [PATH...]",
		Short: "make this host what its description says, or carry out a saved plan",
		Long: `Shows the plan, asks, and makes the changes one after the other. Each resource
is looked at again before it is changed: one that is no longer what the plan
says is left alone. What depends on a failed change is skipped, everything else
is done, and what failed is reported at the end. Applied again, it writes
nothing.

What was applied is kept as a generation. It is checked whole before anything is
touched; afterwards the host has to serve: TLS for every name on every listener,
and a login where the description names a probe. If it does not, or if this
command is cut short, the host returns to the generation before, by itself;
after a power cut it does so as it boots. A part of a plan (--only, --except)
makes no generation.

A resource that waits for something only you can do, such as a certificate that
has not been issued, keeps nothing else from being applied; the exit status is 6
until it is there. No message and no mailbox is ever removed.

` + selectionHelp + `

` + planFileHelp + `
It is carried out without a question, and nothing that it does not say. The
description is read again for the secrets, from where the plan was made or from
PATH. What the description wants of the plan's resources must be what the plan
says. A resource that is not what the plan saw is left alone and named; what
else changed on the host does not matter, and a renewed certificate is no
change. A plan that was applied whole is refused from then on, one that was
stopped part-way goes on.

` + sourceHelp + "\n" + fleetHelp + fleetApplyHelp + exitStatus(exitDone, exitFailed, exitPending, exitInvalid, exitStale, exitLocked, exitPartial, exitReturned),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.source.host = o.one()
			if err := errors.Join(o.takeSaved(args), o.selection.check()); err != nil {
				return err
			}
			return goesOn(runApply(cmd.Context(), o, newConsole(cmd)))
		},
	}
	o.source.flagsWithoutHost(cmd)
	o.fleet.flags(cmd)
	cmd.Flags().StringVar(&o.canary, "canary", "", "the `host` that is applied first (default: the first by name that changes)")
	o.selection.flags(cmd)
	addRootless(cmd, &o.opts)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "show every change with its attributes, and files as unified diffs")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.boot, "boot", false, "apply while the machine comes up: do not ask, and start nothing that systemd is about to start")
	cmd.Flags().DurationVar(&o.returnAfter, "return-after", returnAfter, "`time` after which a host whose apply was cut short returns to what was applied before")
	o.confirmed.flags(cmd)
	cmd.Flags().DurationVar(&o.wait, "lock-timeout", 0, "`time` to wait for another mailstead that is at work, such as 30s")
	return cmd
}

// applyQuestion is asked before a plan is applied.
const applyQuestion = "Apply this plan?"

func runApply(ctx context.Context, o applyOptions, c *console) error {
	if err := o.fleet.check(); err != nil {
		return err
	}
	if o.several() || o.elsewhere() {
		if len(o.failOn) > 0 {
			return errors.New("--fail-on of apply is for this machine: give it to \"mailstead plan\", or run apply there")
		}
		if err := o.selection.oneHost(); err != nil {
			return err
		}
		return runFleetApply(ctx, o, c)
	}
	l, err := o.look(ctx, o.opts, o.boot)
	if err != nil {
		return err
	}
	if o.boot {
		if l, err = l.standing(ctx, c); l == nil || err != nil {
			return err
		}
	}
	defer l.close()
	return l.applyCurrent(ctx, o, c)
}

// applyHost plans and applies a host, whoever it was that said what is wanted.
func (l *look) applyHost(ctx context.Context, o applyOptions, c *console) error {
	plan, err := l.plan(ctx, o)
	if err != nil {
		return err
	}
	if !o.shown {
		writePlan(c, c.out, plan, o.verbose)
	}
	if err := o.refuse(plan); err != nil {
		return &exitError{code: exitPending, err: fmt.Errorf("nothing was applied: %w", err)}
	}
	if err := needsRoot(o.opts, os.Geteuid()); err != nil {
		return err
	}
	if err := brake(plan, l.people, o.confirmed, o.boot); err != nil {
		return err
	}
	if !plan.Empty() && !o.yes && !o.boot && o.saved == nil {
		agree := o.agree
		if agree == nil {
			agree = func(ctx context.Context, _ *reconcile.Plan) error { return consent(ctx, c, applyQuestion) }
		}
		if err := agree(ctx, plan); err != nil {
			return err
		}
	}
	unheard()
	if err := l.applyGeneration(ctx, o, c, plan); err != nil || o.boot {
		return err
	}
	if err := forgetFaults(ctx, l.host, l.opts); err != nil { // which the timer does as well
		fmt.Fprintf(c.err, "mailstead: warning: %s\n", visibleLines(err.Error()))
	}
	return nil
}

// plan gives what is to be done: of a saved plan, or of the description.
func (l *look) plan(ctx context.Context, o applyOptions) (*reconcile.Plan, error) {
	if o.saved != nil {
		return l.bind(ctx, o)
	}
	l.take = o.Take
	plan, err := l.compare(ctx)
	if err != nil {
		return nil, err
	}
	l.noteUnrecorded(plan)
	return o.narrow(ctx, l, plan)
}

// apply makes the changes of a plan and says how it ended. An empty plan is
// not begun, so that nothing is written.
func (l *look) apply(ctx context.Context, c *console, plan *reconcile.Plan, wait time.Duration) error {
	report := &reconcile.Report{Blocked: plan.Blocked, Unreadable: plan.Unreadable}
	if !plan.Empty() || l.begun {
		p := newProgress(c)
		var err error
		report, err = reconcile.Apply(ctx, plan, reconcile.Options{
			Table: l.kinds.Table(), State: l.host.Paths.State, Wait: wait, Lock: l.lock, Saved: l.saved, Progress: p.event,
		})
		p.clear()
		if report == nil {
			return notApplied(err)
		}
		l.begun = l.saved != nil
		if plan.Empty() {
			fmt.Fprintln(c.out, "\nNothing of the plan was left to do.")
		} else if len(plan.Changes) == 0 {
			fmt.Fprintln(c.out, "\nApplied: only what is remembered has changed.")
		} else {
			fmt.Fprintf(c.out, "\nApplied: %d of %d changes made.\n", report.Count(reconcile.Done), len(plan.Changes))
		}
		// What was done could not be recorded: the next apply finds it out.
		if err := errors.Join(err, l.reload(ctx, plan)); err != nil {
			return &exitError{code: exitPartial, err: errors.Join(l.verdict(report), err)}
		}
	}
	return l.verdict(report)
}

// verdict is what an apply that was begun ends with.
func (l *look) verdict(report *reconcile.Report) error {
	if l.copiesStay {
		report.Blocked = slices.DeleteFunc(slices.Clone(report.Blocked), isCopy)
	}
	return verdict(report)
}

// isCopy tells that only a copy for other programs waits, which stays as it is.
func isCopy(w reconcile.Waiting) bool { return len(w.Attrs) > 0 }

// notApplied gives the error of an apply that was not begun its exit code.
func notApplied(err error) error {
	var locked *reconcile.LockedError
	if errors.As(err, &locked) {
		return &exitError{code: exitLocked, err: hint(err, "wait for it, or give --lock-timeout")}
	}
	var unsafe *reconcile.UnsafeError
	if errors.As(err, &unsafe) {
		if unsafe.Remedy == "" {
			return hint(err, "it is meant for everyone: choose a directory of your own below it")
		}
		// No apply can mend the directory that it takes its lock in.
		return hint(err, "look at what is in it; is that in order, run %q and apply again", unsafe.Remedy)
	}
	return staleError(err)
}

// needsRoot refuses, before anybody is asked, what would fail at the lock.
func needsRoot(opts desired.Options, euid int) error {
	if opts.Rootless || euid == 0 {
		return nil
	}
	return hint(errors.New("nothing was applied: this needs root"), "run it as root; --rootless is for a description with paths of your own")
}

// verdict is what a report means.
func verdict(report *reconcile.Report) error {
	if err := report.Err(); err != nil {
		if stale(report) {
			return &exitError{code: exitStale, err: hint(fmt.Errorf("not applied: %w", err), "plan again")}
		}
		return &exitError{code: exitPartial, err: fmt.Errorf("applied in part: %w", err)}
	}
	if n := len(report.Blocked); n > 0 {
		first := report.Blocked[0]
		err := fmt.Errorf("everything else is applied, but %s waits: %s", first.Ref, first.Reason)
		if n > 1 {
			err = fmt.Errorf("everything else is applied, but %d resources wait; the first is %s: %s", n, first.Ref, first.Reason)
		}
		if first.Command != "" {
			err = hint(err, "run %q, then apply again", first.Command)
		}
		return &exitError{code: exitPartial, err: err}
	}
	return nil
}

// stale tells whether nothing was done because the host is not what the plan
// was made for.
func stale(report *reconcile.Report) bool {
	changed := 0
	for _, o := range report.Outcomes {
		if errors.Is(o.Err, reconcile.ErrChanged) {
			changed++
		} else if o.State != reconcile.Skipped {
			return false
		}
	}
	return changed > 0
}
