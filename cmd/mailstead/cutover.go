package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema/adopt"
)

type cutoverOptions struct {
	source
	check bool
	yes   bool
	after time.Duration // until the host returns by itself after a cutover that was cut short

	confirmed confirmed
}

func newCutoverCommand() *cobra.Command {
	var o cutoverOptions
	cmd := &cobra.Command{
		Use:   "cutover [PATH...]",
		Short: "take a host over from Courier-IMAP, and return to it if that does not hold",
		Long: `First it looks whether all is ready: the plan waits for nothing, everybody's
mail can be read, nobody who can log in now is missing from the description.
With --check that is all. Then it asks, stops and masks Courier's units and
imapproxy's, writes down what Courier's files say of every mailbox, applies the
description, and asks the daemon for the mailboxes of each user, as that user
would see them: UIDVALIDITY, UIDNEXT and the number of messages must be as they
were, but for mail that has come and gone meanwhile. Users whom only a directory
knows are not compared: nobody can list them.

If anything fails, or it is interrupted, it stops our units, hands the Maildirs
back, starts Courier again, and ends with 7. Should it be killed, systemd does
the same after a minute, unless it is run again before, and goes on. After a
power cut, run it again. "mailstead handback" undoes it at any later time.

Clients lose their connection once, and download nothing again. Mail may be
delivered all the time. courier-authdaemon goes on running, for other programs.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid, exitLocked, exitReturned),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runCutover(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVarP(&o.check, "check", "n", false, "only look whether all is ready")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	o.confirmed.flags(cmd)
	cmd.Flags().DurationVar(&o.after, "return-after", time.Minute, "`time` after which the host returns to Courier if this is cut short")
	return cmd
}

// oldUnits are the units that serve IMAP on a host of Courier's, in the order in
// which they are stopped: imapproxy goes through the others. courier-authdaemon
// stays, as other programs ask it.
var oldUnits = []string{"imapproxy.service", "courier-imap-ssl.service", "courier-imap.service"}

// cutover is one under way.
type cutover struct {
	*look
	c      *console
	state  *takeoverState
	record *takeover
	mail   []userMail // what is in the Maildirs, before anything is stopped
	shown  bool       // the plan was, when it was looked whether all is ready

	confirmed confirmed
}

func runCutover(ctx context.Context, o cutoverOptions, c *console) error {
	l, err := o.look(ctx, desired.Options{}, false)
	if err != nil {
		return err
	}
	defer l.close()
	if os.Geteuid() != 0 {
		return hint(errors.New("nothing was changed: a cutover needs root"), "run it as root; %q looks at less without", "mailstead plan")
	}
	w := &cutover{look: l, c: c, confirmed: o.confirmed}
	resumed := begun(l.host.Paths.State) && !o.check
	if !resumed { // otherwise Courier is stopped already, and it goes on or back
		if err := w.ready(ctx, o); err != nil || o.check {
			return err
		}
		if !o.yes {
			if err := consent(ctx, c, "Stop Courier and serve this host with Mailstead?"); err != nil {
				return err
			}
		}
	}
	if w.state, err = openTakeover(ctx, l.host.Paths.State, 0); err != nil {
		return err
	}
	defer w.state.close()
	if done, err := w.resume(); done || err != nil {
		return err
	}
	return w.run(ctx, o.after)
}

// resume finds out whether a cutover was begun before, and whether it is done.
func (w *cutover) resume() (done bool, err error) {
	if w.record, err = w.state.read(); err != nil || w.record == nil {
		return false, err
	}
	switch w.record.Phase {
	case servingOwn:
		_, err = fmt.Fprintln(w.c.out, "This host was taken over already. \"mailstead apply\" makes changes from now on, and \"mailstead handback\" goes back to Courier.")
		return true, err
	case returningOld:
		return false, hint(errors.New("a return to Courier was begun, and has not ended"), "run %q first", "mailstead handback")
	}
	_, err = fmt.Fprintf(w.c.err, "A cutover was interrupted while %s: going on.\n", w.record.Phase)
	return false, err
}

// ready looks whether a cutover can be expected to hold. It writes nothing.
func (w *cutover) ready(ctx context.Context, o cutoverOptions) error {
	plan, err := w.compare(ctx)
	if err != nil {
		return err
	}
	writePlan(w.c, w.c.out, plan, false)
	w.shown = true
	if err := errors.Join(waits(plan)...); err != nil {
		return hint(fmt.Errorf("not ready, and nothing was changed: %w", err), "mend this first, and see %q", "mailstead plan "+o.String())
	}
	if err := brake(plan, w.people, w.confirmed, false); err != nil {
		return err
	}
	if w.mail, err = w.lookAtMail(ctx); err == nil {
		err = unreadable(w.mail)
	}
	if err != nil {
		return hint(fmt.Errorf("not ready, and nothing was changed: %w", err), "mend this first: Courier takes what it cannot read for empty")
	}
	units, err := w.kinds.OldUnits(ctx, oldUnits)
	if err != nil {
		return err
	}
	if len(units) == 0 {
		return hint(errors.New("not ready, and nothing was changed: there is no unit of Courier's"), "%q makes a host without one", "mailstead apply")
	}
	w.tell(units)
	return w.missing(o)
}

// waits gives what a plan waits for, or could not compare.
func waits(plan *reconcile.Plan) (errs []error) {
	for _, b := range plan.Blocked {
		if !isCopy(b) {
			errs = append(errs, fmt.Errorf("%s waits: %s", b.Ref, visible(b.Reason)))
		}
	}
	for _, u := range plan.Unreadable {
		errs = append(errs, fmt.Errorf("%s: %s", u.Ref, visible(u.Reason)))
	}
	return errs
}

// tell says in a few lines what is to be taken over.
func (w *cutover) tell(units []kind.OldUnit) {
	mailboxes, messages, fresh := 0, 0, 0
	for _, u := range w.mail {
		for _, f := range u.Mail.Folders {
			mailboxes++
			messages += f.Messages
			if f.Validity == 0 {
				fresh++
			}
		}
	}
	fmt.Fprintf(w.c.out, "\n%s, %s, %s keep their UIDs", number(len(w.mail), "user"), number(mailboxes-fresh, "mailbox"), number(messages, "message"))
	if fresh > 0 {
		fmt.Fprintf(w.c.out, "; %s without any, which Courier has never opened", number(fresh, "mailbox"))
	}
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	fmt.Fprintf(w.c.out, ".\nTo be stopped and masked: %s. Every session with them ends.\n", strings.Join(names, ", "))
	if w.host.Namespace == "" {
		fmt.Fprintf(w.c.out, "Folders lose the prefix INBOX. that Courier shows: namespace: \"INBOX.\" keeps it for clients that have it in their settings.\n")
	}
}

// missing names those who can log in now and are not in the description.
func (w *cutover) missing(o cutoverOptions) error {
	fsys, closeFS, err := hostFiles("/")
	if err != nil {
		return err
	}
	defer closeFS()
	h, _, err := adopt.ReadCourier(fsys, w.host.Name)
	if err != nil {
		fmt.Fprintf(w.c.err, "Who can log in to Courier is not known: %s\n", visibleLines(err.Error()))
		return nil
	}
	known := map[string]bool{}
	for _, u := range w.host.Users {
		known[u.Name] = true
	}
	var lost []string
	for _, u := range h.Users {
		if _, err := os.Lstat(u.Maildir); !u.Shut && !known[u.Name] && err == nil {
			lost = append(lost, visible(u.Name))
		}
	}
	if len(lost) > 0 {
		fmt.Fprintf(w.c.out, "%s log in now and will not be able to, since %s does not have them: %s\n", number(len(lost), "user"), o.String(), someNames(lost, false))
	}
	return nil
}

// lookAtMail looks at the Maildir of each user that is to be served here.
func (w *cutover) lookAtMail(ctx context.Context) ([]userMail, error) {
	var list []userMail
	var dirs []string
	for _, r := range w.want {
		if r.Ref.Kind == "maildir" {
			list = append(list, userMail{User: r.Ref.Name})
			dirs = append(dirs, r.Get("path"))
		}
	}
	found, err := lookAtMails(ctx, dirs, false)
	for i := range list {
		list[i].Mail = found[dirs[i]]
	}
	return list, err
}

// run does it, and returns to Courier if it does not hold. From the first step on
// neither a lost terminal nor an interrupt leaves the host without a server.
func (w *cutover) run(ctx context.Context, after time.Duration) error {
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE)
	disarm := w.arm(ctx, w.c, rand.Text(), "Mailstead: return to Courier, unless it is taken over", after,
		"handback", "--cut-short", "--yes", "--state", w.host.Paths.State)
	begun := time.Now()
	err := w.steps(ctx)
	if err == nil {
		disarm() // a return stops it with our other units
		fmt.Fprintf(w.c.out, "\nTaken over in %v: the mailboxes of %s are what they were. \"mailstead handback\" goes back to Courier.\n",
			time.Since(begun).Round(100*time.Millisecond), number(len(w.mail), "user"))
		if len(w.host.Directories) > 0 {
			fmt.Fprintln(w.c.out, "Users whom only a directory knows were not compared: nobody can list them.")
		}
		return nil
	}
	fmt.Fprintf(w.c.err, "\nThe cutover does not hold: %s\nReturning to Courier.\n", visibleLines(err.Error()))
	back := handbackHost{c: w.c, kinds: w.kinds, state: w.state, record: w.record, paths: w.host.Paths}
	if rerr := back.run(context.WithoutCancel(ctx)); rerr != nil {
		return &exitError{code: exitReturned, err: hint(fmt.Errorf("%w; and the return to Courier has failed in part: %w", err, rerr), "run %q again", "mailstead handback")}
	}
	return &exitError{code: exitReturned, err: fmt.Errorf("returned to Courier, which serves again: %w", err)}
}

// steps are the cutover. What was begun before is done again, where that does no
// harm, and otherwise gone on with.
func (w *cutover) steps(ctx context.Context) (err error) {
	if w.record == nil {
		w.record = &takeover{}
		if w.record.Units, err = w.kinds.OldUnits(ctx, oldUnits); err != nil {
			return err
		}
	}
	if w.record.Phase != startingOwn {
		if err := w.state.enter(w.record, stoppingOld); err != nil {
			return err
		}
		if err := w.kinds.StopOld(ctx, w.record.Units); err != nil {
			return err
		}
		// Now that nobody but the mail server changes anything.
		if w.mail, err = w.lookAtMail(ctx); err == nil {
			err = unreadable(w.mail)
		}
		if err == nil {
			err = w.state.writeBefore(w.mail)
		}
		if err == nil {
			err = w.state.enter(w.record, startingOwn)
		}
		if err != nil {
			return err
		}
	} else if err := w.kinds.StopOld(ctx, w.record.Units); err != nil {
		return err
	}
	return w.serve(ctx)
}

// serve applies the description, and compares.
func (w *cutover) serve(ctx context.Context) error {
	before, err := w.state.readBefore()
	if err != nil {
		return err
	}
	w.mail, w.copiesStay = before, true
	if err := w.applyHost(ctx, applyOptions{yes: true, shown: w.shown, wait: time.Minute, confirmed: w.confirmed}, w.c); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	check := mailCheck{
		ask: func(ctx context.Context, user string) (map[string]mailbox, error) {
			return mailboxesOf(ctx, render.ControlSocket(w.host.Paths), w.host.Namespace, user)
		},
		look: func(ctx context.Context, dir string) *adopt.Mail {
			found, err := lookAtMails(ctx, []string{dir}, false)
			if err != nil {
				return nil
			}
			return found[dir]
		},
	}
	faults, changes := check.users(ctx, slices.DeleteFunc(slices.Clone(before), w.elsewhere), func(done int) {
		if w.c.progress {
			fmt.Fprintf(w.c.err, "\r%d of %d users compared", done, len(before))
		}
	})
	if w.c.progress {
		fmt.Fprintln(w.c.err)
	}
	for _, line := range changes {
		fmt.Fprintln(w.c.out, line)
	}
	if len(faults) > 0 {
		return errors.New("mailboxes are not what they were:\n  " + strings.Join(faults[:min(len(faults), maxFaults)], "\n  "))
	}
	return w.state.enter(w.record, servingOwn)
}

// elsewhere tells that a user is sent to another host, and has no session here.
func (w *cutover) elsewhere(u userMail) bool {
	for _, user := range w.host.Users {
		if user.Name == u.User {
			return user.Elsewhere != ""
		}
	}
	return true
}
