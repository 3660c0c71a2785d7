package main

import (
	"context"

	"github.com/spf13/cobra"

	"mailstead/reconcile/desired"
	"mailstead/reconcile/target"
)

type planOptions struct {
	source
	opts     desired.Options
	output   string
	verbose  bool
	detailed bool
}

func newPlanCommand() *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan [PATH...]",
		Short: "say what apply would change, and what that means to the people connected",
		Long: `Compares a description with this host and writes one line for each resource that
differs: + is made, ~ is changed, - is removed, ! is on disk as it should be but
not in force; then its name, the line of the description that asks for it, the
reason, and what it means to the people connected:

  live     nobody notices
  reload   the daemon reloads; no connection is lost
  rebind   a listener moves; its connections end
  restart  every connection ends
  data     mail is concerned

Nothing is written, and root is not needed: what could not be read is named.
With --detailed-exitcode what waits for you counts as a pending change, what
could not be read does not.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitPending, exitInvalid),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runPlan(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	addRootless(cmd, &o.opts)
	addOutput(cmd, &o.output)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "show attributes, and files as unified diffs")
	cmd.Flags().BoolVar(&o.detailed, "detailed-exitcode", false, "end with 2 if changes are pending")
	return cmd
}

func runPlan(ctx context.Context, o planOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	l, err := o.look(ctx, o.opts, false)
	if err != nil {
		return err
	}
	defer l.close()
	plan, err := l.compare(ctx)
	if err != nil {
		return err
	}
	l.noteUnrecorded(plan)
	if o.output == outputJSON {
		if err := writePlanJSON(c.out, plan, target.PlanKey()); err != nil {
			return err
		}
	} else {
		writePlan(c, c.out, plan, o.verbose)
	}
	if o.detailed && (!plan.Empty() || len(plan.Blocked) > 0) {
		return &exitError{code: exitPending}
	}
	return nil
}
