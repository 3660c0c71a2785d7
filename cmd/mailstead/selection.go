package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
)

// selectionHelp says in a command's help how a part of a plan is chosen.
const selectionHelp = `PATTERN is held against the whole name of a resource as the plan has it, such as
unit/mailstead-imap.socket: "*" stands for any text, "?" for one character, and
a kind alone ("certificate") for all of that kind. What needs a change that is
left out is deferred, with the reason.`

// selection chooses a part of a plan, and says which changes are not to happen.
type selection struct {
	reconcile.Selection
	failOn []string
}

// classes are what --fail-on knows, in the order in which it is told.
var classes = []struct {
	name string
	is   func(reconcile.Change) bool
}{
	{"destroy", func(c reconcile.Change) bool { return c.Op == reconcile.Delete }},
	{"restart", func(c reconcile.Change) bool { return c.Impact == reconcile.Restart }},
	{"rebind", func(c reconcile.Change) bool { return c.Impact == reconcile.Rebind }},
	{"drift", func(c reconcile.Change) bool { return c.Drift != nil }},
	{"data", func(c reconcile.Change) bool { return c.Impact == reconcile.Data }},
}

func (s *selection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.Only, "only", nil, "nothing but what `PATTERN` is meant for (repeatable)")
	f.StringArrayVar(&s.Except, "except", nil, "nothing that `PATTERN` is meant for (repeatable)")
	f.StringArrayVar(&s.Take, "take", nil, "what `PATTERN` is meant for may replace a file that Mailstead did not write, and be made anew where everything is gone (repeatable)")
	f.StringSliceVar(&s.failOn, "fail-on", nil, "end with 2 if the plan has changes of a `class`: "+strings.Join(classNames(), ", "))
	completeWith(cmd, "fail-on", classNames()...)
}

func classNames() []string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.name
	}
	return names
}

// check finds mistakes before anything is looked at.
func (s *selection) check() error {
	for _, name := range s.failOn {
		if !slices.Contains(classNames(), name) {
			return hint(fmt.Errorf("--fail-on: no such class: %q", name), "there are %s", strings.Join(classNames(), ", "))
		}
	}
	return nil
}

// oneHost refuses a choice from what is not this machine's plan.
func (s *selection) oneHost() error {
	if s.Narrows() || len(s.Take) > 0 {
		return errors.New("--only, --except and --take are about the plan of this machine: run it there")
	}
	return nil
}

// narrow gives the part of a plan that is chosen.
func (s *selection) narrow(ctx context.Context, l *look, plan *reconcile.Plan) (*reconcile.Plan, error) {
	if none := s.Unmatched(plan, l.want); len(none) > 0 {
		return nil, hint(fmt.Errorf("%q is meant for nothing on this host", none[0]), "the lines of %q begin with what a pattern is held against", "mailstead plan")
	}
	if !s.Narrows() {
		return plan, nil
	}
	return l.part(ctx, plan.Narrow(s.Selection)), nil
}

// refuse tells which changes of a plan --fail-on does not want.
func (s *selection) refuse(plan *reconcile.Plan) error {
	const most = 5
	var lines []string
	for _, class := range classes {
		if !slices.Contains(s.failOn, class.name) {
			continue
		}
		var refs []string
		for _, c := range plan.Changes {
			if class.is(c) {
				refs = append(refs, fmt.Sprintf("%s (%s)", c.Ref, c.Origin))
			}
		}
		if n := len(refs); n > most {
			refs = append(refs[:most], fmt.Sprintf("%d more", n-most))
		}
		if len(refs) > 0 {
			lines = append(lines, "\n  "+class.name+": "+strings.Join(refs, ", "))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return &exitError{code: exitPending, err: errors.New("the plan has what --fail-on names:" + strings.Join(lines, ""))}
}
