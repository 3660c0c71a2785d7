package store

import (
	"sync"
	"time"

	"mailstead/imapserver/maildir"
)

// group is a sync that several callers share: whoever comes while one runs
// waits for the next, which then serves all of them.
type group struct {
	run  func() error
	took func(time.Duration) // is told how long each run took; nil: nobody

	mu      sync.Mutex
	running bool
	next    *batch // those who wait for the next run
}

type batch struct {
	done chan struct{}
	err  error
}

func newGroup(run func() error, took func(time.Duration)) *group { return &group{run: run, took: took} }

// wait returns after a run that began after the call.
func (g *group) wait() error {
	if maildir.LeftOut() {
		return nil
	}
	g.mu.Lock()
	if g.next == nil {
		g.next = &batch{done: make(chan struct{})}
	}
	b := g.next
	if g.running {
		g.mu.Unlock()
		<-b.done
		return b.err
	}
	g.running = true
	g.mu.Unlock()
	g.serve()
	return b.err
}

// serve runs for the waiting batch; if another has gathered meanwhile, a
// goroutine serves that one.
func (g *group) serve() {
	g.mu.Lock()
	b := g.next
	g.next = nil
	g.mu.Unlock()
	begun := time.Now()
	if b.err = g.run(); g.took != nil {
		g.took(time.Since(begun))
	}
	close(b.done)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next != nil {
		go g.serve()
		return
	}
	g.running = false
}
