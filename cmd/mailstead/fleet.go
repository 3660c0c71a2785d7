package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/schema"
)

// viaSSH is the one way to a host that is not this machine.
const viaSSH = "ssh"

// fleetHelp says in a command's help how several hosts are meant.
const fleetHelp = `Of a description with several hosts the one named like this machine is meant;
--host names others, as patterns too ("mx*"), and --all means all of them. Those
that are not this machine are reached with --via ssh: the system's own ssh
program starts mailstead there, which has to be of this version, and tells it
what the host is to be. Known hosts, agents, jump hosts and ~/.ssh/config work
as always; nobody is asked for a password.
`

// fleet says which hosts of a description are meant, and how they are reached.
type fleet struct {
	patterns []string
	all      bool
	via      string
	sudo     bool
	jobs     int
}

// flags gives a command the flags that name several hosts, in place of the
// one of source.flags.
func (f *fleet) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.patterns, "host", nil, "a host that is meant, by name or `pattern` (repeatable; default: the only one, or the one named like this machine)")
	flags.BoolVar(&f.all, "all", false, "every host of the description is meant")
	flags.StringVar(&f.via, "via", "", "reach the hosts by `ssh`, or ssh:USER@ to log in as USER")
	flags.BoolVar(&f.sudo, "sudo", false, "become root at the far end by sudo, which must not ask for a password")
	flags.IntVar(&f.jobs, "jobs", 8, "`number` of hosts to plan at once")
}

// several tells whether the operator asked for what may be more than one host.
func (f *fleet) several() bool {
	return f.all || len(f.patterns) > 1 || slices.ContainsFunc(f.patterns, func(p string) bool { return strings.ContainsAny(p, `*?[\`) })
}

// one is the name of the only host that is meant; "" where none was named.
func (f *fleet) one() string {
	if len(f.patterns) == 0 {
		return ""
	}
	return f.patterns[0]
}

// elsewhere tells whether the hosts that are meant are not this machine.
func (f *fleet) elsewhere() bool { return f.via != "" }

// check refuses flags that do not go together.
func (f *fleet) check() error {
	way, user, _ := strings.Cut(f.via, ":")
	switch {
	case f.all && len(f.patterns) > 0:
		return errors.New("--all and --host do not go together")
	case f.via != "" && way != viaSSH:
		return hint(fmt.Errorf("no such way to a host: %q", f.via), "there are ssh and ssh:USER@")
	case user != "" && !strings.HasSuffix(user, "@") || strings.HasSuffix(f.via, ":"):
		return hint(fmt.Errorf("no such way to a host: %q", f.via), "to log in as somebody, give ssh:USER@")
	case f.sudo && f.via == "":
		return hint(errors.New("--sudo is for hosts that are reached by ssh"), "give --via ssh")
	case f.jobs < 1:
		return errors.New("--jobs has to be at least 1")
	}
	return nil
}

// choose gives the hosts that are meant, in the order of their names.
func (f *fleet) choose(config *schema.Config, machine string) ([]*schema.Host, error) {
	if f.all && len(config.Hosts) > 0 {
		return config.Hosts, nil
	}
	if !f.several() || len(config.Hosts) == 0 {
		host, err := pickHost(config, f.one(), machine)
		if err != nil {
			return nil, err
		}
		return []*schema.Host{host}, nil
	}
	chosen := map[*schema.Host]bool{}
	for _, pattern := range f.patterns {
		found := false
		for _, h := range config.Hosts {
			ok, err := path.Match(pattern, h.Name)
			if err != nil {
				return nil, fmt.Errorf("--host %q: %w", pattern, err)
			}
			if ok {
				chosen[h], found = true, true
			}
		}
		if !found {
			return nil, hint(fmt.Errorf("the description has no host %q", pattern), "it has %s", strings.Join(hostNames(config.Hosts), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(config.Hosts), func(h *schema.Host) bool { return !chosen[h] }), nil
}

func hostNames(hosts []*schema.Host) []string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return names
}

// hostPlan is the plan of one of several hosts, or why there is none.
type hostPlan struct {
	host  *schema.Host
	plan  *reconcile.Saved // masked
	steps []step           // of the plan's changes
	err   error
}

// planner makes the plan of a host, wherever that is.
type planner func(context.Context, *schema.Host) hostPlan

// planHosts makes the plans of several hosts, some at a time.
func (f *fleet) planHosts(ctx context.Context, hosts []*schema.Host, plan planner) []hostPlan {
	plans := make([]hostPlan, len(hosts))
	turn := make(chan struct{}, f.jobs)
	var wg sync.WaitGroup
	for i, h := range hosts {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			plans[i] = plan(ctx, h)
			plans[i].host = h
		})
	}
	wg.Wait()
	return plans
}

// planHere plans a host on this machine.
func planHere(opts desired.Options, key []byte) planner {
	return func(ctx context.Context, host *schema.Host) (p hostPlan) {
		l, err := lookAt(ctx, host, opts, false)
		if err != nil {
			return hostPlan{err: err}
		}
		defer l.close()
		p.plan, p.steps, p.err = l.planSteps(ctx, key)
		return p
	}
}

// planSteps makes the plan of the look, masked, and its steps.
func (l *look) planSteps(ctx context.Context, key []byte) (*reconcile.Saved, []step, error) {
	plan, err := l.compare(ctx)
	if err != nil {
		return nil, nil, err
	}
	l.noteUnrecorded(plan)
	saved, err := l.masked(plan, madeFrom{})
	return saved, stepsOf(plan, key), err
}

// loadHosts reads the description and picks the hosts that are meant.
func (f *fleet) loadHosts(s *source) ([]*schema.Host, error) {
	config, err := s.load()
	if err != nil {
		return nil, err
	}
	machine, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this machine: %w", err)
	}
	return f.choose(config, machine)
}
