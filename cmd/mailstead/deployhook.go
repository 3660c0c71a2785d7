package main

import (
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
		Long: `What certbot's deploy hook runs after each renewal. It goes by what was applied
last, not by the description, and takes the lineage from RENEWED_LINEAGE; one
that Mailstead does not serve is none of its business. The new certificate is
checked and installed, the daemon reloads, and then a TLS handshake on every
listener, for every name, has to show that it is served. Otherwise the command
fails, and says so in the journal too, because certbot only logs the failure of
a hook.` + exitStatus(exitDone, exitFailed, exitLocked),
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
	cmd.Flags().StringVar(&o.state, "state", "/var/lib/mailstead", "state `directory` of what was applied")
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
	renewed := concerned(host, o)
	if len(renewed) == 0 {
		fmt.Fprintf(c.out, "%s: not a lineage of %s (%s); nothing to do\n", visible(o.lineage), host.Name, visible(o.domains))
		return nil
	}
	l, err := lookAt(ctx, host, opts, false)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.deploy(ctx, renewed, c); err != nil {
		return err
	}
	return l.prove(ctx, renewed, o.wait, c)
}

// concerned are the names of the certificates that are taken from the lineage
// that was renewed, or of all of them.
func concerned(host *schema.Host, o deployHookOptions) []string {
	var names []string
	for _, cert := range host.TLS.Certificates {
		if o.all || cert.Certbot != nil && sameLineage(host.Paths.Letsencrypt, cert.Certbot.Lineage, o.lineage) {
			names = append(names, cert.Name)
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
// reconciler, and leaves everything else on the host to the next apply.
func (l *look) deploy(ctx context.Context, renewed []string, c *console) error {
	plan, err := l.compare(ctx)
	if err != nil {
		return err
	}
	plan = onlyCertificates(plan, renewed)
	switch {
	case len(plan.Blocked) > 0:
		return fmt.Errorf("%s cannot be used: %s", plan.Blocked[0].Ref, plan.Blocked[0].Reason)
	case len(plan.Unreadable) > 0:
		return fmt.Errorf("%s cannot be read: %s", plan.Unreadable[0].Ref, plan.Unreadable[0].Reason)
	case plan.Empty():
		return l.reload(ctx)
	}
	writeChanges(c, c.out, plan.Changes, false)
	report, err := reconcile.Apply(ctx, plan, reconcile.Options{Table: l.kinds.Table(), State: l.host.Paths.State, Wait: hookLockWait})
	if err != nil {
		return notApplied(err)
	}
	if err := report.Err(); err != nil {
		return err
	}
	return l.reload(ctx)
}

// servingKinds are the kinds of resources that stand between the source of a
// certificate and its being served.
var servingKinds = []string{"certificate", "daemon-config", "unit", "daemon"}

// serves tells whether a change is part of serving certificates. Nobody loses
// a connection for a renewal: what would end them waits for the next apply.
func serves(change reconcile.Change) bool {
	if change.Want == nil || !slices.Contains(servingKinds, change.Ref.Kind) {
		return false
	}
	return change.Op == reconcile.Create || change.Impact != reconcile.Restart && change.Impact != reconcile.Rebind
}

// onlyCertificates is the part of a plan that serves certificates. Others than
// those named are brought along, because the daemon reads all of them, but what
// is wrong with them is not this renewal's fault.
func onlyCertificates(plan *reconcile.Plan, names []string) *reconcile.Plan {
	concerns := func(ref reconcile.Ref) bool {
		return ref.Kind == "certificate" && slices.Contains(names, ref.Name)
	}
	part := &reconcile.Plan{Host: plan.Host}
	for _, change := range plan.Changes {
		if serves(change) {
			part.Changes = append(part.Changes, change)
		}
	}
	for _, b := range plan.Blocked {
		if concerns(b.Ref) {
			part.Blocked = append(part.Blocked, b)
		}
	}
	for _, u := range plan.Unreadable {
		if concerns(u.Ref) {
			part.Unreadable = append(part.Unreadable, u)
		}
	}
	return part
}

// prove shakes hands on every listener for every name of the certificates, and
// is content only with what their sources hold now.
func (l *look) prove(ctx context.Context, renewed []string, wait time.Duration, c *console) error {
	if err := l.gather(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	proven := 0
	for _, cert := range l.host.TLS.Certificates {
		if !slices.Contains(renewed, cert.Name) {
			continue
		}
		want := l.facts.Certificates[cert.Name]
		for _, listener := range l.host.Listeners {
			if listener.TLS == schema.Plain {
				continue
			}
			for _, name := range cert.Names {
				if err := awaitServed(ctx, listener, sniName(name), want.Fingerprint); err != nil {
					return fmt.Errorf("certificate %s is installed, but listener %s does not serve it for %s: %w", cert.Name, listener.Name, name, err)
				}
				proven++
			}
		}
		fmt.Fprintf(c.out, "%s: valid until %s, served on every listener (SHA-256 %s)\n",
			cert.Name, want.NotAfter.UTC().Format(time.DateOnly), want.Fingerprint)
	}
	if proven == 0 {
		return errors.New("no listener serves TLS, so nothing shows that the certificate is in force")
	}
	return nil
}

// awaitServed asks until the certificate is served or the time is up: a daemon
// that is just being started answers a little later.
func awaitServed(ctx context.Context, l schema.Listener, sni, want string) error {
	var problem error
	end, limited := ctx.Deadline()
	for {
		cert, err := served(ctx, l, sni)
		switch {
		case err == nil && fingerprint(cert) == want:
			return nil
		case err == nil:
			problem = fmt.Errorf("another one is (SHA-256 %s, valid until %s)", fingerprint(cert), cert.NotAfter.UTC().Format(time.DateOnly))
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
