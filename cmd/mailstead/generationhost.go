package main

import (
	"context"
	"fmt"
	"slices"

	"mailstead/reconcile/kind"
	"mailstead/schema"
)

// lookAt is the host as a generation has it, with the certificates that there are now,
// and without the users whose accounts are gone.
func (g generations) lookAt(ctx context.Context, c *console, n int, boot bool) (*look, error) {
	was, err := g.readHost(n)
	if err != nil {
		return nil, err
	}
	l := &look{host: was.host(), opts: was.options(), kinds: &kind.Host{Boot: boot}}
	if err = l.gather(ctx); err == nil {
		if gone := l.leaveOutGone(); len(gone) > 0 {
			fmt.Fprintf(c.err, "mailstead: warning: generation %d has users without an account on this host now, who are left out: %s\n", n, someNames(gone, false))
		}
		err = l.build()
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("generation %d: %w", n, err)
	}
	l.place()
	return l, nil
}

// leaveOutGone takes those out of the host who are to log in with an account that there
// is no longer, and the probe, if it is one of them. A return cannot bring accounts back,
// and everybody else is to be served. It gives their names.
func (l *look) leaveOutGone() (gone []string) {
	if l.opts.Rootless {
		return nil
	}
	host := *l.host
	host.Users = slices.DeleteFunc(slices.Clone(host.Users), func(u schema.User) bool {
		if _, there := l.facts.Accounts[u.Name]; u.System == nil || there {
			return false
		}
		gone = append(gone, visible(u.Name))
		return true
	})
	if host.Probe != nil && slices.Contains(gone, visible(host.Probe.User)) {
		host.Probe = nil
	}
	l.host = &host
	return gone
}
