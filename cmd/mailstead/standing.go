package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
)

// returnedFrom gives the generation of this very host, if the host has returned
// from it; nil otherwise, and where nobody may look.
func (l *look) returnedFrom() (*generation, error) {
	g := generationsOf(l.host.Paths.State)
	all, err := g.list()
	if err != nil {
		return nil, err
	}
	left := func(n int) bool { return g.has(n, func(gen *generation) bool { return gen.Left != nil }) }
	if !slices.ContainsFunc(all, left) {
		return nil, nil
	}
	host, err := l.digest()
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(all) {
		gen, err := g.read(n)
		switch {
		case err != nil:
			return nil, err
		case gen.Host == host && gen.Left == nil:
			return nil, nil
		case gen.Host == host:
			return gen, nil
		}
	}
	return nil, nil
}

// digest is that of the host as a generation has it.
func (l *look) digest() (string, error) {
	wanted, err := encodeApplied(l.host, l.opts)
	return digestOf(wanted), err
}

// noteGenerations says in a plan what an apply would go on with.
func (l *look) noteGenerations() []string {
	g := generationsOf(l.host.Paths.State)
	var notes []string
	if a, err := g.trying(); err == nil && a != nil {
		note := fmt.Sprintf("the apply of generation %d was cut short, or is at work: an apply brings the host to what is described", a.To)
		if a.From != 0 && a.From != a.To {
			note += fmt.Sprintf(", %q to generation %d", "mailstead rollback", a.From)
		}
		notes = append(notes, note)
	}
	if gen, err := l.returnedFrom(); err == nil && gen != nil {
		notes = append(notes, fmt.Sprintf("this is what generation %d was, from which the host has returned: %s", gen.Number, gen.Left.Reason))
	}
	return notes
}

// standing gives the host to apply while the machine comes up: what is described,
// unless the host has returned from that; then the generation in force. Nor is what
// the power was cut at applied, but what was proven before. It is nil if there is
// none, or Courier serves: the daemon was stopped, and is to stay so.
func (l *look) standing(ctx context.Context, c *console) (*look, error) {
	if was, err := decodeApplied(filepath.Join(l.host.Paths.State, appliedFile)); err == nil && was.HandedBack {
		fmt.Fprintf(c.out, "%v: nothing is applied.\n", errHandedBack)
		l.close()
		return nil, nil
	}
	g := generationsOf(l.host.Paths.State)
	a, err := g.trying()
	if err != nil {
		return l, err
	}
	now, err := g.current()
	if err != nil {
		return l, err
	}
	if a != nil && a.From != 0 && a.From != a.To && now != a.To { // else only the last step was missing
		host, err := l.digest()
		if err != nil {
			return l, err
		}
		gen, err := g.read(a.To)
		if err != nil {
			return l, err
		}
		if gen.Host == host {
			fmt.Fprintf(c.out, "The apply of what is described (generation %d) was cut short: generation %d is applied.\n", a.To, a.From)
			return l.instead(ctx, c, g, a.From)
		}
	}
	gen, err := l.returnedFrom()
	if gen == nil || err != nil {
		return l, err
	}
	if now == 0 {
		fmt.Fprintf(c.out, "The host has returned from what is described (generation %d): nothing is applied.\n", gen.Number)
		l.close()
		return nil, nil
	}
	fmt.Fprintf(c.out, "The host has returned from what is described (generation %d): generation %d is applied.\n", gen.Number, now)
	return l.instead(ctx, c, g, now)
}

// instead looks at a generation.
func (l *look) instead(ctx context.Context, c *console, g generations, n int) (*look, error) {
	was, err := g.lookAt(ctx, c, n, true)
	if err != nil {
		return l, err
	}
	l.close()
	return was, nil
}
