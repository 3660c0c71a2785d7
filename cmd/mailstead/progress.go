package main

import (
	"fmt"
	"io"
	"time"

	"mailstead/reconcile"
)

// progress says on a terminal, on one line that is written again and again,
// which change is being made, and keeps a line for each one that failed. Those
// that an interrupt skips may be thousands: the report at the end counts them.
type progress struct {
	c     *console
	w     io.Writer
	shown bool      // there is a line to be cleared
	when  time.Time // it was written
	pause time.Duration
}

// progressPause is how long a line stays at least: a new host has a hundred
// thousand changes, and nobody reads that fast.
const progressPause = 50 * time.Millisecond

func newProgress(c *console) *progress { return &progress{c: c, w: c.err, pause: progressPause} }

// event is told every step of an apply.
func (p *progress) event(e reconcile.Event) {
	if !p.c.progress {
		return
	}
	switch e.State {
	case reconcile.Started:
		if time.Since(p.when) < p.pause {
			return
		}
		p.clear()
		p.when = time.Now()
		fmt.Fprintf(p.w, "[%d/%d] %s", e.Index+1, e.Total, visible(e.Change.Ref.String()))
		p.shown = true
	case reconcile.Failed:
		p.clear()
		fmt.Fprintf(p.w, "[%d/%d] %s: failed\n", e.Index+1, e.Total, visible(e.Change.Ref.String()))
	}
}

// clear takes the line away (ECMA-48 EL), so that what follows starts clean.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
