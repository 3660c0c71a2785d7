package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"mailstead/reconcile/kind"
)

// arm has systemd run this program after a time, to return the host should this
// process die: disarm takes that back, and else it finds out by itself whether
// there is anything to do. Where systemd does not, the operator is told.
func (l *look) arm(ctx context.Context, c *console, id, description string, after time.Duration, args ...string) (disarm func()) {
	name := "mailstead-return-" + id
	program, err := os.Executable()
	if err == nil {
		err = l.kinds.Delay(ctx, kind.Delayed{Name: name, Description: description, After: after, Command: append([]string{program}, args...)})
	}
	if err != nil {
		fmt.Fprintf(c.err, "mailstead: warning: should this be cut short, the host does not return by itself: %s\n", visibleLines(err.Error()))
		return func() {}
	}
	return func() {
		if err := l.kinds.Cancel(context.WithoutCancel(ctx), name); err != nil {
			fmt.Fprintf(c.err, "mailstead: warning: %s\n", visibleLines(err.Error()))
		}
	}
}
