package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/reconcile/target"
	"mailstead/schema"
)

func newFactsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "facts",
		Short: "say how this host is, for plans that are made elsewhere",
		Long: `What "mailstead facts export" finds on a host lets "mailstead plan --facts"
make the plan anywhere, such as in CI without access to the host.` + exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFactsExportCommand())
	return cmd
}

type factsOptions struct {
	source
	opts desired.Options
}

func newFactsExportCommand() *cobra.Command {
	var o factsOptions
	cmd := &cobra.Command{
		Use:   "export [PATH...]",
		Short: "write what plan would look at on this host",
		Long: `Writes as JSON all that a plan would find on this host for its description: the
accounts and certificates that it names, its files, folders and units, the
daemon, the inventory. In the place of contents and secrets are digests. It has
also the accounts of people in /etc/passwd, since the next description may name
one more of them. docs/facts.md describes the file.

Nothing is written to the host. Run it as root: what could not be read here
cannot be compared elsewhere.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runFactsExport(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	addRootless(cmd, &o.opts)
	return cmd
}

func runFactsExport(ctx context.Context, o factsOptions, c *console) error {
	l, err := o.look(ctx, o.opts, false)
	if err != nil {
		return err
	}
	defer l.close()
	r := &target.Recorded{
		FormatVersion: target.FactsFormat, Host: l.host.Name, Made: time.Now().UTC().Truncate(time.Second), Program: ownVersion(),
		Rootless: o.opts.Rootless, Facts: l.facts, Sources: map[string]kind.CertificateSpec{},
	}
	for _, s := range desired.Request(l.host, l.opts).Certificates {
		r.Sources[s.Name] = s
	}
	if !o.opts.Rootless {
		if err := target.AddPeople(&r.Facts); err != nil {
			return err
		}
	}
	r.Inventory, err = reconcile.ReadInventory(l.host.Paths.State)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if _, err := reconcile.Compare(ctx, reconcile.Inputs{
		Host: l.host.Name, Want: l.want, Table: r.Record(l.kinds.Table()), State: l.host.Paths.State,
	}); err != nil {
		return err
	}
	return writeJSON(c.out, r)
}

// maxFactsFiles bounds the files of facts of one command.
const maxFactsFiles = 10_000

// readFacts reads files of facts, and those in directories, by the host.
func readFacts(paths []string) (map[string]*target.Recorded, error) {
	var files []string
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			files = append(files, p)
			continue
		}
		found, err := filepath.Glob(filepath.Join(escapeGlob(p), "*.json"))
		if err != nil || len(found) == 0 {
			return nil, errors.Join(err, fmt.Errorf("%s holds no *.json", p))
		}
		files = append(files, found...)
	}
	if len(files) > maxFactsFiles {
		return nil, fmt.Errorf("%d files of facts, and %d are as many as can be", len(files), maxFactsFiles)
	}
	byHost := map[string]*target.Recorded{}
	for _, name := range files {
		r, err := readFactsFile(name)
		if err != nil {
			return nil, hint(fmt.Errorf("read %s: %w", name, err), "%q writes them", "mailstead facts export")
		}
		if byHost[r.Host] != nil {
			return nil, fmt.Errorf("read %s: there are two files of facts of %s", name, visible(r.Host))
		}
		byHost[r.Host] = r
	}
	return byHost, nil
}

func escapeGlob(s string) string {
	var b []rune
	for _, r := range s {
		if slices.Contains([]rune(`*?[\`), r) {
			b = append(b, '\\')
		}
		b = append(b, r)
	}
	return string(b)
}

func readFactsFile(name string) (*target.Recorded, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return target.ReadFacts(f)
}

// planRecorded plans hosts by what was once found on them.
func planRecorded(facts map[string]*target.Recorded, key []byte) planner {
	return func(ctx context.Context, host *schema.Host) (p hostPlan) {
		r := facts[host.Name]
		if r == nil {
			p.err = hint(fmt.Errorf("there are no facts of %s", host.Name), "%q writes them there", "mailstead facts export")
			return p
		}
		l, err := lookRecorded(host, r)
		if err != nil {
			p.err = err
			return p
		}
		defer l.close()
		plan, err := l.compareRecorded(ctx, r)
		if err != nil {
			p.err = err
			return p
		}
		p.steps = stepsOf(plan, key)
		p.plan, p.err = l.masked(plan, madeFrom{})
		return p
	}
}

// lookRecorded is a look at a host that is not here.
func lookRecorded(host *schema.Host, r *target.Recorded) (*look, error) {
	opts := desired.Options{Rootless: r.Rootless, Serving: r.Rootless && r.Knows(kind.DaemonRef())}
	l := &look{host: host, opts: opts, kinds: &kind.Host{}}
	l.facts = r.FactsFor(target.Request(desired.Request(host, l.opts)))
	var err error
	l.want, err = desired.Build(host, l.facts, l.opts)
	return l, err
}

// compareRecorded makes a plan of what was found, and says what it takes for
// granted.
func (l *look) compareRecorded(ctx context.Context, r *target.Recorded) (*reconcile.Plan, error) {
	inv := r.Inventory
	if inv == nil {
		inv = &reconcile.Inventory{}
	}
	plan, err := reconcile.Compare(ctx, reconcile.Inputs{Host: l.host.Name, Want: l.want, Table: r.Table(l.kinds.Table()), Inventory: inv})
	if err != nil {
		return nil, err
	}
	for i := range plan.Changes {
		if c := &plan.Changes[i]; c.Have == nil && !r.Knows(c.Ref) {
			c.Reason = "not in the facts, taken to be missing"
		}
	}
	plan.Notes = append(plan.Notes, "by the facts of "+r.Made.Format("2006-01-02 15:04 MST")+": what has changed since is not in this plan")
	if r.Inventory == nil {
		plan.Notes = append(plan.Notes, "the facts have no inventory: what would be removed is not in this plan")
	}
	return plan, nil
}
