package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/doctor"
	"mailstead/reconcile/kind"
	"mailstead/schema"
)

type doctorOptions struct {
	source
	opts        desired.Options
	output      string
	outside     bool
	address     string
	plan        string
	allMessages bool
	removeTmp   bool
}

func newDoctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [PATH...]",
		Short: "look what keeps people from their mail, and say what to do about it",
		Long: `Looks at this host from inside and as a client would: listeners and TLS for
every name, certificates as they are served, the daemon, what somebody has
changed, ports, DNS, permissions, timers, the clock, limits, and everybody's
Maildir. Each finding says what it means and what to do. Nothing is written.

With --outside it looks at the host from another machine, by the description
alone: it connects to each listener at every address that its names have in DNS.
--address takes one address in place of those.

--plan FILE saves a plan of those changes alone that mend something, for
"mailstead show FILE" and "mailstead apply FILE".

A look at a Maildir is bounded; --all-messages has no bounds. --remove-stale-tmp
removes what broken deliveries have left in tmp and nobody has touched for 36
hours; nothing else is ever removed.

docs/diagnosis.md has every finding. An error or a warning gives the exit status
8; notes alone give 0.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid, exitFound),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runDoctor(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	addRootless(cmd, &o.opts)
	addOutput(cmd, &o.output)
	f := cmd.Flags()
	f.BoolVar(&o.outside, "outside", false, "look from another machine")
	f.StringVar(&o.address, "address", "", "with --outside: the `address` to connect to, in place of what DNS says")
	f.StringVar(&o.plan, "plan", "", "save a plan of what mends something in `FILE`")
	f.BoolVar(&o.allMessages, "all-messages", false, "look at every message, however many there are")
	f.BoolVar(&o.removeTmp, "remove-stale-tmp", false, "remove what broken deliveries have left in tmp")
	return cmd
}

// checkup is one look at a host.
type checkup struct {
	*doctor.Report
	c    *console
	o    doctorOptions
	host *schema.Host
	now  time.Time

	l    *look           // nil from outside
	plan *reconcile.Plan // nil from outside
}

func runDoctor(ctx context.Context, o doctorOptions, c *console) error {
	if err := o.check(); err != nil {
		return err
	}
	u := &checkup{Report: &doctor.Report{Side: "inside", Findings: []doctor.Finding{}}, c: c, o: o, now: time.Now()}
	var err error
	if o.outside {
		err = u.outside(ctx)
	} else {
		err = u.inside(ctx)
	}
	if u.l != nil {
		defer u.l.close()
	}
	if err != nil {
		return err
	}
	u.Close()
	if err := u.write(); err != nil {
		return err
	}
	if err := u.savePlan(ctx); err != nil {
		return err
	}
	if u.Errors+u.Warnings > 0 {
		return &exitError{code: exitFound}
	}
	return nil
}

// check finds mistakes before anything is looked at.
func (o *doctorOptions) check() error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.outside && (o.plan != "" || o.removeTmp || o.allMessages || o.opts.Rootless) {
		return errors.New("--plan, --remove-stale-tmp, --all-messages and --rootless are about this machine, and --outside is about another one")
	}
	switch {
	case o.plan != "" && o.address == "":
		return o.checkPlanFile(o.plan)
	case o.address == "":
		return nil
	case !o.outside:
		return errors.New("--address goes with --outside: from inside, the listeners' own addresses are looked at")
	}
	if _, err := netip.ParseAddr(o.address); err != nil {
		return fmt.Errorf("--address: %q is not an IP address", o.address)
	}
	return nil
}

// outside looks by the description alone.
func (u *checkup) outside(ctx context.Context) (err error) {
	if u.host, err = u.o.loadHost(); err != nil {
		return err
	}
	u.Host, u.Side = u.host.Name, "outside"
	u.fromOutside(ctx)
	return ctx.Err()
}

// inside looks at this machine.
func (u *checkup) inside(ctx context.Context) (err error) {
	if u.host, err = u.o.loadHost(); err != nil {
		return err
	}
	u.Host, u.l = u.host.Name, &look{host: u.host, opts: u.o.opts, kinds: &kind.Host{}}
	if err := u.compare(ctx); err != nil {
		return err
	}
	status, err := u.l.status(ctx, u.plan)
	if err != nil {
		return err
	}
	u.daemon(ctx, status)
	u.fromInside(ctx)
	u.behind(ctx)
	u.ports(status)
	u.names(ctx)
	u.files()
	u.units(ctx)
	u.Add(doctor.Clock(u.now, lastWrite(u.host.Paths.State))...)
	u.limits(status)
	if err := u.mail(ctx); err != nil {
		return err
	}
	u.changes()
	return ctx.Err()
}

// compare makes the plan. Where the host lacks what the description needs, there is
// none, and the rest is looked at without.
func (u *checkup) compare(ctx context.Context) error {
	err := u.l.refresh(ctx)
	var faults schema.Diagnostics
	if errors.As(err, &faults) {
		u.plan = &reconcile.Plan{}
		for _, f := range faults {
			found := doctor.New(doctor.HostLacks, "description", f.Message).At(f.Pos.String())
			if f.Hint != "" {
				found = found.Do(f.Hint)
			}
			u.Add(found)
		}
		u.Skip("units, changes and Maildirs", "nothing is known of what they should be")
		return nil
	}
	if err == nil {
		u.plan, err = u.l.compare(ctx)
	}
	return err
}

// savePlan saves a plan of what mends something.
func (u *checkup) savePlan(ctx context.Context) error {
	if u.o.plan == "" {
		return nil
	}
	only := u.Mends()
	if len(only) == 0 {
		fmt.Fprintf(u.c.err, "There is nothing that a plan mends: %s was not written.\n", visible(u.o.plan))
		return nil
	}
	selection := reconcile.Selection{Only: only}
	plan := u.l.part(ctx, u.plan.Narrow(selection))
	if err := writePlanFile(u.o.plan, plan, u.l, madeFrom{u.o.source, selection}); err != nil {
		return err
	}
	fmt.Fprintf(u.c.err, "Saved: %q carries it out.\n", "mailstead apply "+shellQuote(u.o.plan))
	return nil
}
