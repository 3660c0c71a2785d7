package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
)

type planOptions struct {
	source
	fleet
	selection
	facts    []string // files to plan by, in place of the hosts
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

What somebody else has changed of ours since it was applied stands apart, with
the difference. A file in the way that Mailstead did not write is left as it is,
and what needs it waits, unless --take says that it may be replaced.

Hundreds of things that come new without anybody noticing are told by their
number, unless -v asks for all.

Nothing is written, and root is not needed: what could not be read is named.

With -o FILE the plan is also saved, for "mailstead show FILE" and "mailstead
apply FILE": FILE is a name with a "/" or a "." in it. It can be published: of
secrets it holds digests under a key of the host. -o json prints the same.

With --detailed-exitcode what waits for you counts as a pending change, what
could not be read does not.

` + selectionHelp + `

` + sourceHelp + "\n" + fleetHelp + exitStatus(exitDone, exitFailed, exitPending, exitInvalid),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runPlan(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.source.flagsWithoutHost(cmd)
	o.fleet.flags(cmd)
	o.selection.flags(cmd)
	cmd.Flags().StringArrayVar(&o.facts, "facts", nil, "plan by what \"mailstead facts export\" wrote into `FILE`, or files of a directory, without access to the host (repeatable)")
	addRootless(cmd, &o.opts)
	cmd.Flags().StringVarP(&o.output, "output", "o", outputText, "`form` of the output (text or json), or a file to save the plan in, such as ./plan.json")
	completeWith(cmd, "output", outputText, outputJSON)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "show every change with its attributes, and files as unified diffs")
	cmd.Flags().BoolVar(&o.detailed, "detailed-exitcode", false, "end with 2 if changes are pending")
	return cmd
}

func runPlan(ctx context.Context, o planOptions, c *console) error {
	file, err := planOutput(o.output)
	if err = errors.Join(err, o.selection.check()); err == nil && file != "" {
		err = o.checkPlanFile(file)
	}
	if err != nil {
		return err
	}
	if err := o.fleet.check(); err != nil {
		return err
	}
	if o.several() || o.elsewhere() || len(o.facts) > 0 {
		if err := o.selection.oneHost(); err != nil {
			return err
		}
		return runFleetPlan(ctx, o, file, c)
	}
	o.source.host = o.one()
	l, err := o.look(ctx, o.opts, false)
	if err != nil {
		return err
	}
	defer l.close()
	l.take = o.Take
	plan, err := l.compare(ctx)
	if err != nil {
		return err
	}
	l.noteUnrecorded(plan)
	if plan, err = o.narrow(ctx, l, plan); err != nil {
		return err
	}
	if err := o.write(c, l, plan, file); err != nil {
		return err
	}
	if err := o.refuse(plan); err != nil {
		return err
	}
	if o.detailed && (!plan.Empty() || len(plan.Blocked) > 0) {
		return &exitError{code: exitPending}
	}
	return nil
}

// write prints a plan, and saves it if there is a file for it.
func (o *planOptions) write(c *console, l *look, plan *reconcile.Plan, file string) error {
	if o.output == outputJSON {
		return writePlanJSON(c.out, plan, l, o.made())
	}
	writePlan(c, c.out, plan, o.verbose)
	if file == "" {
		return nil
	}
	if err := writePlanFile(file, plan, l, o.made()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.out, "Saved: %q carries it out.\n", "mailstead apply "+shellQuote(file))
	return err
}

// made is what the plan is made from.
func (o *planOptions) made() madeFrom { return madeFrom{o.source, o.Selection} }

// planOutput tells a form of output from the name of a file, which it gives: ""
// for a form.
func planOutput(output string) (file string, err error) {
	switch {
	case output == outputText || output == outputJSON:
		return "", nil
	case strings.ContainsAny(output, "./"):
		return output, nil
	}
	return "", hint(fmt.Errorf("no such form of output: %q", output), "there are text and json; a file is meant by %q", "./"+output)
}
