package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/control"
	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/reconcile/target"
	"mailstead/render"
	"mailstead/schema"
)

// look is one host, as it is wanted and as it can be looked at: what a plan is
// made from.
type look struct {
	host  *schema.Host
	opts  desired.Options
	facts reconcile.Facts
	want  []reconcile.Resource
	kinds *kind.Host

	people *reconcile.People // what the last comparison means to people; nil where nothing changes

	saved *reconcile.Saved // the saved plan that is carried out, nil for none
	begun bool             // an apply of it has begun, this one or an earlier one that was stopped part-way

	onlyCertificates bool            // nothing else could be made out, and is in want
	take             []string        // patterns of what may replace the file of somebody else
	copiesStay       bool            // somebody else's file in the place of a copy for other programs is no reason to fail
	partly           bool            // the plan is not all that the description asks for
	planned          *reconcile.Plan // what compare said last, nil before
	lock             *reconcile.Lock // nil: whoever changes the host takes it
	by               string          // who applies, if it is not whoever runs the program
}

// lookAt finds out what has to be known of this machine, and what the host is
// to be made of. boot tells that the machine is coming up. Close it at the end.
func lookAt(ctx context.Context, host *schema.Host, opts desired.Options, boot bool) (*look, error) {
	l := &look{host: host, opts: opts, kinds: &kind.Host{Boot: boot}}
	if err := l.refresh(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// gather learns the facts, or learns them again.
func (l *look) gather(ctx context.Context) (err error) {
	l.facts, err = target.Gather(ctx, target.Request(desired.Request(l.host, l.opts)))
	return err
}

// refresh finds out, or finds out again, what the host is to be made of.
func (l *look) refresh(ctx context.Context) error {
	if err := l.gather(ctx); err != nil {
		return err
	}
	return l.build()
}

// build finds out what the host is to be made of, by what was gathered.
func (l *look) build() (err error) {
	opts := l.opts
	opts.Serving = l.opts.Rootless && control.Serves(render.ControlSocket(l.host.Paths))
	l.want, err = desired.Build(l.host, l.facts, opts)
	return err
}

func (l *look) close() { l.kinds.Close() }

// unlock gives the lock back.
func (l *look) unlock() {
	l.lock.Release()
	l.lock = nil
}

// compare makes the plan. It only reads.
func (l *look) compare(ctx context.Context) (*reconcile.Plan, error) {
	plan, err := reconcile.Compare(ctx, reconcile.Inputs{
		Host: l.host.Name, Want: l.want, Table: l.kinds.Table(), State: l.host.Paths.State, Take: l.take,
	})
	if err != nil {
		return nil, err
	}
	if was, err := decodeApplied(filepath.Join(l.host.Paths.State, appliedFile)); err == nil && was.Host.Name != l.host.Name {
		plan.Notes = append(plan.Notes, fmt.Sprintf("this host was %s when something was applied last: is it the one that is meant?", was.Host.Name))
	}
	plan.Notes = append(plan.Notes, l.certificateNotes(time.Now())...)
	plan.Notes = append(plan.Notes, pamNotes(plan)...)
	plan.Notes = append(plan.Notes, l.promiseNotes(ctx)...)
	plan.Notes = append(plan.Notes, l.exposureNotes()...)
	if len(plan.Changes) > 0 {
		l.people = l.impact(ctx, plan)
		plan.People = l.people
	}
	l.planned = plan
	return plan, nil
}

// reload has a daemon that runs, and that the plan is not about, serve what is on disk
// now: one that was started since, or that a plan of certificates alone or a part of
// one leaves out.
func (l *look) reload(ctx context.Context, plan *reconcile.Plan) error {
	inPlan := slices.ContainsFunc(plan.Changes, func(c reconcile.Change) bool { return c.Ref == kind.DaemonRef() })
	if inPlan || !l.opts.Rootless && !l.onlyCertificates {
		return nil
	}
	status, err := control.Ask(ctx, render.ControlSocket(l.host.Paths), control.Request{Verb: control.VerbReload})
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return nil
	case err != nil:
		return err
	case status.Error != "":
		return errors.New("the daemon did not reload: " + status.Error)
	}
	return nil
}

// addRootless gives a command the flag that makes it work without root.
func addRootless(cmd *cobra.Command, opts *desired.Options) {
	cmd.Flags().BoolVar(&opts.Rootless, "rootless", false,
		"work as an ordinary user, without system accounts and systemd, where the description's paths say")
}
