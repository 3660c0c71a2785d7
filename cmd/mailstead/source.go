package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/reconcile/desired"
	"mailstead/schema"
)

// defaultDescription is where a host keeps its description.
const defaultDescription = "/etc/mailstead"

// sourceHelp says in a command's help what its arguments are.
const sourceHelp = `PATH is a directory with CUE, JSON and YAML files, or one such file; several
make up one description. Without one it is ` + defaultDescription + `.`

// source says which description to read and which of its hosts is meant.
type source struct {
	paths []string
	tags  []string
	host  string
	limit int // how many faults are shown as text; 0: all
	form  diagnosticsForm
	// instead is what data files of the description are taken to hold.
	instead map[string][]byte
}

// maxFaults is how many faults a command shows that was asked for more than
// a check.
const maxFaults = 20

// flags gives a command the flags that name a source.
func (s *source) flags(cmd *cobra.Command) {
	s.flagsWithoutHost(cmd)
	cmd.Flags().StringVar(&s.host, "host", "", "the host meant (default: the only one, or the one named like this machine)")
}

// flagsWithoutHost are those of a command that has another way to name hosts.
func (s *source) flagsWithoutHost(cmd *cobra.Command) {
	s.limit = maxFaults
	cmd.Flags().StringArrayVarP(&s.tags, "tag", "t", nil, "set a @tag of the description, `key=value` (repeatable)")
	s.form.flag(cmd)
}

// take takes the paths of the description from the arguments.
func (s *source) take(args []string) {
	s.paths = args
	if len(args) == 0 {
		s.paths = []string{defaultDescription}
	}
}

func (s *source) String() string { return strings.Join(s.paths, " ") }

// isDescribed tells by its name whether a file of a directory that is read can be a part of
// the description.
func isDescribed(path string) bool {
	return slices.Contains([]string{".cue", ".json", ".yaml", ".yml"}, strings.ToLower(filepath.Ext(path))) && !strings.HasPrefix(filepath.Base(path), ".")
}

// checkApart refuses to write, over a part of the description or below its directory, what
// would be read with it from then on, if only by @embed.
func (s *source) checkApart(file string) error {
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	for _, p := range s.paths {
		there, err := os.Stat(p)
		if err != nil {
			continue
		}
		same := func(path string) bool { st, err := os.Stat(path); return err == nil && os.SameFile(st, there) }
		part := same(path)
		if there.IsDir() && isDescribed(path) {
			for dir := filepath.Dir(path); !part && dir != "/"; dir = filepath.Dir(dir) {
				part = same(dir)
			}
		}
		if part {
			return hint(fmt.Errorf("%s would be a part of the description in %s", file, p), "name a file in another directory")
		}
	}
	return nil
}

// load reads and checks the whole description. Its faults are the error, with
// the exit code of an invalid description.
func (s *source) load() (*schema.Config, error) {
	config, err := schema.Load(schema.Options{Inputs: s.paths, Tags: s.tags, Instead: s.instead})
	if err != nil {
		return nil, s.invalid(err)
	}
	return config, nil
}

// loadHost reads the description and picks the host that is meant.
func (s *source) loadHost() (*schema.Host, error) {
	config, err := s.load()
	if err != nil {
		return nil, err
	}
	machine, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this machine: %w", err)
	}
	return pickHost(config, s.host, machine)
}

// look reads the description and finds out what its host is to be made of here.
func (s *source) look(ctx context.Context, opts desired.Options, boot bool) (*look, error) {
	host, err := s.loadHost()
	if err != nil {
		return nil, err
	}
	l, err := lookAt(ctx, host, opts, boot)
	return l, s.invalid(err)
}

// pickHost finds a host by the name given; without one it is the only host, or
// the one whose name is the machine's, with or without the domain.
func pickHost(config *schema.Config, name, machine string) (*schema.Host, error) {
	if name == "" && len(config.Hosts) == 1 {
		return config.Hosts[0], nil
	}
	var names []string
	var short []*schema.Host
	for _, h := range config.Hosts {
		if h.Name == name || name == "" && h.Name == machine {
			return h, nil
		}
		if label, _, _ := strings.Cut(h.Name, "."); name == "" && label == machine {
			short = append(short, h)
		}
		names = append(names, h.Name)
	}
	if len(short) == 1 {
		return short[0], nil
	}
	err := fmt.Errorf("the description has several hosts, and none is named like this machine (%s)", visible(machine))
	switch {
	case name != "":
		err = fmt.Errorf("the description has no host %q", name)
	case len(names) == 0:
		err = errors.New("the description has no host")
	}
	return nil, hint(err, "choose one with --host: %s", strings.Join(names, ", "))
}
