package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// The patience of the deploy hook: certbot waits for it without a limit, and
// holds its own lock meanwhile.
const (
	hookLockWait  = 60 * time.Second // for another mailstead at work
	hookServeWait = 5 * time.Second  // for the new certificate to be served
	hookTimeout   = 3 * time.Minute  // for everything
)

type deployHookOptions struct {
	state   string
	all     bool
	lineage string // RENEWED_LINEAGE: a directory below live
	domains string // RENEWED_DOMAINS: for the record only
	wait    time.Duration
}

func newDeployHookCommand() *cobra.Command {
	o := deployHookOptions{wait: hookServeWait}
	cmd := &cobra.Command{
		Use:   "deploy-hook",
		Short: "bring a renewed certificate into force, and prove it",
		Long: `What certbot's deploy hook runs after each renewal, and, with --all,
mailstead-cert-check.timer every hour for what no hook did. It goes by what was
applied last, not by the description, and takes the lineage from
RENEWED_LINEAGE; one that Mailstead does not serve is none of its business. The
new certificate is checked and installed, the daemon reloads, and then a TLS
handshake on every listener, for every name, has to show that it is served.

One that cannot be used is not installed, and the one before goes on being
served. Then the command fails and says so in the journal too, because certbot
only logs the failure of a hook; mailstead-cert-check.service is started, which
fails for everyone to see; and "status" and "plan" say it until it is mended.` +
			exitStatus(exitDone, exitFailed, exitLocked),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.lineage, o.domains = os.Getenv("RENEWED_LINEAGE"), os.Getenv("RENEWED_DOMAINS")
			ctx, cancel := context.WithTimeout(cmd.Context(), hookTimeout)
			defer cancel()
			err := runDeployHook(ctx, o, newConsole(cmd))
			alarm(err)
			return err
		},
	}
	addState(cmd, &o.state)
	cmd.Flags().BoolVar(&o.all, "all", false, "bring every certificate into force, whatever was renewed")
	return cmd
}

func runDeployHook(ctx context.Context, o deployHookOptions, c *console) error {
	if o.lineage == "" && !o.all {
		return hint(errors.New("RENEWED_LINEAGE is not set: certbot did not run this"), "give --all to bring every certificate into force")
	}
	host, opts, err := readApplied(o.state)
	if err != nil {
		return err
	}
	unheard()
	outcomes := concerned(host, o)
	if len(outcomes) == 0 {
		fmt.Fprintf(c.out, "%s: not a lineage of %s (%s); nothing to do\n", visible(o.lineage), host.Name, visible(o.domains))
		return nil
	}
	failed := bringIn(ctx, host.Paths.State, outcomes, o.wait, c)
	if errors.Is(failed, errHandedBack) {
		fmt.Fprintf(c.out, "%s: %v; nothing to do\n", host.Name, failed)
		return nil
	}
	faults := []error{failed}
	for _, cert := range host.TLS.Certificates {
		if fault, ok := outcomes[cert.Name]; ok && fault == nil {
			outcomes[cert.Name] = failed
		} else {
			faults = append(faults, fault)
		}
	}
	ctx = context.WithoutCancel(ctx) // what took too long is recorded as well
	faults = append(faults, recordFaults(ctx, host, outcomes, time.Now()))
	err = errors.Join(faults...)
	showFailed(ctx, opts, o, err)
	return err
}

// bringIn has the certificates served. What came of each is in outcomes; the
// error is of what concerns all of them.
func bringIn(ctx context.Context, state string, outcomes map[string]error, wait time.Duration, c *console) error {
	l, err := deployApplied(ctx, state, outcomes, c)
	if err != nil {
		return err
	}
	defer l.close()
	return l.prove(ctx, outcomes, wait, c)
}

// deployApplied installs the certificates of the host that was applied last: last when
// the lock is held, or the host would become again what it was before the apply that had it.
func deployApplied(ctx context.Context, state string, outcomes map[string]error, c *console) (*look, error) {
	lock, err := reconcile.TakeLock(ctx, state, hookLockWait)
	if err != nil {
		return nil, notApplied(err)
	}
	defer lock.Release()
	was, err := decodeApplied(filepath.Join(state, appliedFile))
	if err != nil {
		return nil, err
	}
	if was.HandedBack {
		return nil, errHandedBack
	}
	l, err := lookForCertificates(ctx, was.host(), was.options())
	if err != nil {
		return nil, err
	}
	l.onlyCertificates = l.onlyCertificates || was.Partly
	if err := l.deploy(ctx, lock, outcomes, c); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// lookForCertificates finds out what certificates the host is to have and what
// serves them. What is wrong with the rest, such as a user whose account is
// gone, keeps no certificate from being renewed.
func lookForCertificates(ctx context.Context, host *schema.Host, opts desired.Options) (*look, error) {
	l := &look{host: host, opts: opts, kinds: &kind.Host{}}
	err := l.gather(ctx)
	if err == nil {
		l.want, err = desired.Build(host, l.facts, opts)
	}
	var faults schema.Diagnostics
	if errors.As(err, &faults) {
		l.onlyCertificates = true
		l.want, err = desired.Certificates(host, l.facts, opts)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	l.want = slices.DeleteFunc(l.want, func(r reconcile.Resource) bool { return !slices.Contains(servingKinds, r.Ref.Kind) })
	l.place()
	return l, nil
}

// place gives resources without a place in the description the one that the inventory
// has of them: the record of what was applied has none, and who reads the inventory later
// is to find them still. What runs is not in there, and comes from where its unit does.
func (l *look) place() {
	inv, err := reconcile.ReadInventory(l.host.Paths.State)
	if err != nil {
		return // which keeps nothing from being compared, or whoever compares says so
	}
	for i, r := range l.want {
		ref := r.Ref
		if ref == kind.DaemonRef() {
			ref = kind.UnitRef(render.ServiceUnit)
		}
		if was, _ := inv.Applied(ref); r.Origin == (schema.Pos{}).String() && was.Origin != "" {
			l.want[i].Origin = was.Origin
		}
	}
}

// concerned are the certificates that are taken from the lineage that was
// renewed, or all of them, by name, none of which has failed yet.
func concerned(host *schema.Host, o deployHookOptions) map[string]error {
	names := map[string]error{}
	for _, cert := range host.TLS.Certificates {
		if o.all || cert.Certbot != nil && sameLineage(host.Paths.Letsencrypt, cert.Certbot.Lineage, o.lineage) {
			names[cert.Name] = nil
		}
	}
	return names
}

// sameLineage tells whether dir, which comes from outside, is the directory of
// a lineage. It is compared and nothing is read from it; certbot's directory may
// be reached by a link.
func sameLineage(letsencrypt, lineage, dir string) bool {
	live := filepath.Join(letsencrypt, "live")
	dir = filepath.Clean(dir)
	if dir == filepath.Join(live, lineage) {
		return true
	}
	if filepath.Base(dir) != lineage {
		return false
	}
	ours, err := os.Stat(live)
	if err != nil {
		return false
	}
	theirs, err := os.Stat(filepath.Dir(dir))
	return err == nil && os.SameFile(ours, theirs)
}

// deploy installs the certificates and has the daemon serve them, through the
// reconciler, and leaves everything else on the host to the next apply. One that
// cannot be used keeps the others from nothing.
func (l *look) deploy(ctx context.Context, lock *reconcile.Lock, outcomes map[string]error, c *console) error {
	all, err := l.compareServing(ctx, outcomes)
	if err != nil {
		return err
	}
	l.onlyCertificates = l.onlyCertificates || usersDiffer(all)
	plan, report := onlyServing(all, l.onlyCertificates), &reconcile.Report{}
	if !plan.Empty() {
		writeChanges(c, c.out, plan.Changes, false)
		if report, err = reconcile.Apply(ctx, plan, reconcile.Options{Table: l.servingTable(), State: l.host.Paths.State, Lock: lock}); err != nil {
			return notApplied(err)
		}
	}
	return errors.Join(noteFailed(report, outcomes), l.followGeneration(all, report), l.reload(ctx, plan))
}

// compareServing compares what serves certificates, and notes those that cannot be used.
func (l *look) compareServing(ctx context.Context, outcomes map[string]error) (*reconcile.Plan, error) {
	plan, err := reconcile.Compare(ctx, reconcile.Inputs{Host: l.host.Name, Want: l.want, Table: l.servingTable(), State: l.host.Paths.State})
	if err == nil {
		l.unusable(plan, outcomes)
	}
	return plan, err
}

// followGeneration keeps what the generation in force is rendered to in step with
// what a certificate changes: when it was applied, there may have been none. What
// the host does not have as it is wanted stays as it was recorded.
func (l *look) followGeneration(plan *reconcile.Plan, report *reconcile.Report) error {
	g := generationsOf(l.host.Paths.State)
	n, err := g.current()
	if n == 0 || err != nil {
		return err
	}
	differs := map[reconcile.Ref]bool{}
	for _, change := range plan.Changes {
		differs[change.Ref] = true
	}
	for _, o := range report.Outcomes {
		differs[o.Change.Ref] = o.State != reconcile.Done
	}
	for _, r := range l.want {
		path := renderedPath(r)
		if path == "" || differs[r.Ref] {
			continue
		}
		path, text := g.path(n, renderedDir, path), []byte(r.Get(contentAttr))
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
			continue
		}
		if err := g.put(path, text); err != nil {
			return err
		}
	}
	return nil
}

// noteFailed notes the certificates that could not be installed, and gives what
// else failed. Those that this run is not about are not its fault.
func noteFailed(report *reconcile.Report, outcomes map[string]error) error {
	rest := &reconcile.Report{}
	for _, o := range report.Outcomes {
		if o.Change.Ref.Kind != "certificate" {
			rest.Outcomes = append(rest.Outcomes, o)
		} else if _, ok := outcomes[o.Change.Ref.Name]; ok && o.State != reconcile.Done {
			outcomes[o.Change.Ref.Name] = fmt.Errorf("%s: %w", o.Change.Ref, cmp.Or(o.Err, errors.New(o.Note)))
		}
	}
	return rest.Err()
}

// servingKinds are the kinds of resources that stand between the source of a
// certificate and its being served. The users are looked at, and left alone.
var servingKinds = []string{"certificate", "password-file", "daemon-config", "unit", "daemon"}

// servingTable are the rows of those kinds. Nobody's mail is looked at for a
// certificate.
func (l *look) servingTable() []reconcile.Kind {
	return slices.DeleteFunc(l.kinds.Table(), func(k reconcile.Kind) bool { return !slices.Contains(servingKinds, k.Name) })
}

// unusable notes the certificates whose source cannot be used. One that certbot
// has never issued is none that failed: apply has said what it waits for.
func (l *look) unusable(plan *reconcile.Plan, outcomes map[string]error) {
	note := func(ref reconcile.Ref, format, reason string) {
		have := l.facts.Certificates[ref.Name]
		if _, ok := outcomes[ref.Name]; ok && ref.Kind == "certificate" && (have.Missing == "" || have.Installed != "") {
			outcomes[ref.Name] = fmt.Errorf("%s "+format+": %s", ref, reason)
		}
	}
	for _, b := range plan.Blocked {
		if isCopy(b) {
			continue // somebody else's file is in the way of a copy, and not of the bundle
		}
		note(b.Ref, "cannot be used", b.Reason)
	}
	for _, u := range plan.Unreadable {
		note(u.Ref, "cannot be read", u.Reason)
	}
}

// usersDiffer tells whether the host has other users than were applied: an
// account was given another home, say. No timer decides where anybody's mail is,
// and the daemon's configuration names the generation of its users: both wait for
// the next apply.
func usersDiffer(plan *reconcile.Plan) bool {
	return slices.ContainsFunc(plan.Changes, func(c reconcile.Change) bool { return c.Ref.Kind == "password-file" })
}

// onlyServing is the part of a plan that serves certificates, or the
// certificates alone. Nobody loses a connection for a renewal: what would end
// them waits for the next apply.
func onlyServing(plan *reconcile.Plan, onlyCertificates bool) *reconcile.Plan {
	part := &reconcile.Plan{Host: plan.Host}
	for _, change := range plan.Changes {
		ends := change.Op != reconcile.Create && (change.Impact == reconcile.Restart || change.Impact == reconcile.Rebind)
		if change.Want != nil && !ends && (!onlyCertificates || change.Ref.Kind == "certificate") {
			part.Changes = append(part.Changes, change)
		}
	}
	return part
}

// prove shakes hands on every listener for every name of the certificates, and
// is content only with what their sources hold now.
func (l *look) prove(ctx context.Context, outcomes map[string]error, wait time.Duration, c *console) error {
	if err := l.gather(ctx); err != nil {
		return err
	}
	for _, cert := range l.host.TLS.Certificates {
		have := l.facts.Certificates[cert.Name]
		fault, ok := outcomes[cert.Name]
		switch {
		case !ok || fault != nil:
		case have.Missing != "":
			fmt.Fprintf(c.out, "%s: %s\n", cert.Name, have.Missing)
		default:
			if outcomes[cert.Name] = l.proveOne(ctx, cert, have, wait); outcomes[cert.Name] == nil {
				fmt.Fprintf(c.out, "%s: valid until %s, served on every listener (SHA-256 %s)\n",
					cert.Name, have.NotAfter.UTC().Format(time.DateOnly), have.Fingerprint)
			}
		}
	}
	return nil
}

func (l *look) proveOne(ctx context.Context, cert schema.Certificate, want reconcile.Certificate, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	proven := 0
	for _, listener := range l.host.Listeners {
		if listener.TLS == schema.Plain {
			continue
		}
		for _, name := range cert.Names {
			if err := awaitServed(ctx, l.dial, listener, sniName(name), want); err != nil {
				return fmt.Errorf("certificate %s is installed, but listener %s does not serve it for %s: %w", cert.Name, listener.Name, name, err)
			}
			proven++
		}
	}
	if proven == 0 {
		return fmt.Errorf("certificate %s: no listener serves TLS, so nothing shows that it is in force", cert.Name)
	}
	return nil
}

// awaitServed asks until the certificate is served or the time is up: a daemon
// that is just being started answers a little later.
func awaitServed(ctx context.Context, dial dialing, l schema.Listener, sni string, want reconcile.Certificate) error {
	var problem error
	end, limited := ctx.Deadline()
	for {
		chain, err := servedChain(ctx, dial, l, sni)
		switch {
		case err == nil && fingerprint(chain[0]) != want.Fingerprint:
			problem = fmt.Errorf("another one is (SHA-256 %s, valid until %s)", fingerprint(chain[0]), chain[0].NotAfter.UTC().Format(time.DateOnly))
		case err == nil && chainDigest(chain) != want.Chain:
			problem = fmt.Errorf("it is, with another chain (of length %d)", len(chain))
		case err == nil:
			return nil
		case problem == nil || !limited || time.Now().Before(end):
			problem = err // else only the time was up, which the dialler may see before ctx does
		}
		select {
		case <-ctx.Done():
			return problem
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// alarm puts a failure into the journal, as an error. certbot keeps what a hook
// says to itself, so it is said there directly, if systemd started certbot; by
// hand the failure is on the screen, and on the journal's own stream it is
// marked already.
func alarm(err error) {
	if err == nil || os.Getenv("INVOCATION_ID") == "" {
		return
	}
	if ours, _ := journal.StderrIsJournalStream(); ours || !journal.Enabled() {
		return
	}
	text := "deploy-hook: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	journal.Send(visible(text), journal.PriErr, map[string]string{"SYSLOG_IDENTIFIER": "mailstead"})
}

// showFailed has systemd run the check for itself after a hook that failed:
// certbot ends well whatever becomes of its hooks, and a unit that has failed is
// what operators watch for. When all is well the unit is no longer shown as such.
func showFailed(ctx context.Context, opts desired.Options, o deployHookOptions, failed error) {
	if opts.Rootless || os.Geteuid() != 0 || failed == nil && !o.all || failed != nil && o.all {
		return
	}
	h := &kind.Host{}
	defer h.Close()
	// Whether that works or not, the journal and the exit status say the same.
	if failed != nil {
		_ = h.StartUnit(ctx, render.CheckUnit)
	} else {
		_ = h.ResetFailed(ctx, render.CheckUnit)
	}
}
