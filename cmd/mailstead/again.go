package main

import (
	"context"
	"errors"
	"fmt"

	"mailstead/reconcile"
)

// maxAgain is how often an apply plans again because another one was faster.
const maxAgain = 20

// applyCurrent applies a host. Where nobody has to agree to the plan, one that
// another apply has made obsolete while this one waited for it is made again.
func (l *look) applyCurrent(ctx context.Context, o applyOptions, c *console) error {
	for n := 1; ; n++ {
		err := l.applyHost(ctx, o, c)
		if !errors.Is(err, reconcile.ErrBehind) || !o.yes && !o.boot && o.saved == nil || n == maxAgain {
			return err
		}
		fmt.Fprintf(c.err, "mailstead: %v: planning again\n", reconcile.ErrBehind)
		if err := l.refresh(ctx); err != nil {
			return err
		}
	}
}

// current fails where another apply has been at work since the plan was made:
// what that one has recorded is then the truth. The lock is held.
func (l *look) current() error {
	if l.planned == nil {
		return nil
	}
	behind, err := l.planned.Behind(l.host.Paths.State)
	if err == nil && behind {
		err = notApplied(reconcile.ErrBehind)
	}
	return err
}
