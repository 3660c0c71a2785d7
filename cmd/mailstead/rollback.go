package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
)

// defaultState is where a host keeps what was applied.
const defaultState = "/var/lib/mailstead"

type rollbackOptions struct {
	state   string
	to      int
	attempt string // of the timer: the attempt to return from, unless it has come to its end
	verbose bool
	yes     bool
	wait    time.Duration
}

// attemptWait is how long a timer waits for the apply that it watches: that one
// is alive, and brings its attempt to an end.
const attemptWait = time.Hour

func newRollbackCommand() *cobra.Command {
	var o rollbackOptions
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "return to what was applied before",
		Long: `Makes the host again what it was in an earlier generation, by a plan like any
other, with the certificates that there are now. Without --to that is the one
before the one in force, or, if an apply was cut short, the one before it.
"history" lists them.

What cannot be undone: accounts, Maildirs, folders and messages stay as they
are, and so do the programs. Users whose accounts are gone are left out, with a
warning. The description is not changed either: mend it, or the next apply makes
the same change again. At boot, a description that the host has returned from is
not applied.` + exitStatus(exitDone, exitFailed, exitStale, exitLocked, exitPartial, exitReturned),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && strings.Trim(args[0], "0123456789") == "" {
				return hint(errors.New("the generation to return to is named by --to"), "give --to %s", args[0])
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := newConsole(cmd)
			if o.attempt != "" {
				return returnFrom(cmd.Context(), o, c)
			}
			return runRollback(cmd.Context(), o, c)
		},
	}
	addState(cmd, &o.state)
	cmd.Flags().IntVar(&o.to, "to", 0, "the `number` of the generation to return to")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "show every change with its attributes, and files as unified diffs")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().DurationVar(&o.wait, "lock-timeout", 0, "`time` to wait for another mailstead that is at work, such as 30s")
	cmd.Flags().StringVar(&o.attempt, "attempt", "", "return only if the attempt of this `name` has not come to its end")
	cmd.Flags().Lookup("attempt").Hidden = true
	return cmd
}

// addState gives a command the flag that says which host's generations are meant.
func addState(cmd *cobra.Command, state *string) {
	cmd.Flags().StringVar(state, "state", defaultState, "state `directory` of what was applied")
}

func runRollback(ctx context.Context, o rollbackOptions, c *console) error {
	g := generationsOf(o.state)
	now, err := g.current()
	if err != nil {
		return err
	}
	cut, err := g.trying()
	if err != nil {
		return err
	}
	if o.to == 0 {
		if o.to, err = g.before(now, cut); err != nil {
			return err
		}
	}
	if _, err := g.read(o.to); err != nil {
		return err
	}
	l, err := g.lookAt(ctx, c, o.to, false)
	if err != nil {
		return err
	}
	defer l.close()
	plan, err := l.compare(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "To generation %d: ", o.to)
	writePlan(c, c.out, plan, o.verbose)
	if err := needsRoot(l.opts, os.Geteuid()); err != nil {
		return err
	}
	if plan.Empty() && cut == nil && o.to == now {
		return nil
	}
	if !o.yes {
		if err := consent(ctx, c, applyQuestion); err != nil {
			return err
		}
	}
	unheard()
	return g.returnTo(ctx, o, c, l, plan)
}

// before gives the generation that a return leads to by itself.
func (g generations) before(now int, cut *attempt) (int, error) {
	if cut != nil && cut.From != 0 && cut.From != cut.To {
		return cut.From, nil
	}
	n, err := g.proven(now - 1)
	if err != nil || n != 0 {
		return n, err
	}
	all, err := g.list() // a host that nobody has proven, such as one without root
	if err != nil {
		return 0, err
	}
	for _, m := range slices.Backward(all) {
		if m < now {
			return m, nil
		}
	}
	return 0, hint(errors.New("there is no generation to return to"), "%q lists those that there are", "mailstead history")
}

// returnTo applies a generation again.
func (g generations) returnTo(ctx context.Context, o rollbackOptions, c *console, l *look, plan *reconcile.Plan) (err error) {
	if l.lock, err = reconcile.TakeLock(ctx, o.state, o.wait); err != nil {
		return notApplied(err)
	}
	defer l.unlock()
	now, err := g.current()
	if err != nil {
		return err
	}
	t := &trial{attempt: attempt{To: o.to}, c: c, g: g, l: l, after: returnAfter, again: true, reason: "rollback by " + whoApplies()}
	if t.From, err = g.proven(now); err != nil {
		return err
	}
	cut, err := g.trying()
	if err != nil {
		return err
	}
	t.found = cut
	if now != 0 && now != t.To {
		t.leaves = append(t.leaves, now)
	}
	if cut != nil && cut.To != t.To && cut.To != now && !g.has(cut.To, proven) {
		t.leaves = append(t.leaves, cut.To)
	}
	if err := t.begin(ctx); err != nil {
		return err
	}
	return t.end(ctx, l.apply(ctx, c, plan, 0))
}

// returnFrom is what the timer of an attempt does: if nobody brought it to its
// end, the host returns.
func returnFrom(ctx context.Context, o rollbackOptions, c *console) error {
	unheard()
	lock, err := reconcile.TakeLock(ctx, o.state, attemptWait)
	if err != nil {
		return notApplied(err)
	}
	defer lock.Release()
	g := generationsOf(o.state)
	a, err := g.trying()
	if err != nil || a == nil || a.ID != o.attempt {
		return err
	}
	now, err := g.current()
	if err != nil {
		return err
	}
	if now == a.To && now != a.From { // only the last step was missing
		return g.clearTrying()
	}
	fmt.Fprintf(c.out, "The apply of generation %d was cut short.\n", a.To)
	return g.goBack(ctx, c, *a, lock, cutShort)
}
