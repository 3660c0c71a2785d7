package session

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// progressEvery is how often a long command says how far it is, and how long a
// command may take that says nothing (RFC 9585 §3).
const progressEvery = 10 * time.Second

func (s *session) progressEvery() time.Duration {
	if s.pace > 0 {
		return s.pace
	}
	return progressEvery
}

// progress is a command that may take long. Now and then it looks whether anyone
// still waits for it, and says that it goes on.
type progress struct {
	s      *session
	tag    string
	done   int
	goal   int
	looked time.Time
	told   time.Time
}

// newProgress begins a command of goal steps, whose tag may be unknown ("").
func (s *session) newProgress(tag string, goal int) *progress {
	now := time.Now()
	return &progress{s: s, tag: tag, goal: goal, looked: now, told: now}
}

// step notes that n more steps are done.
func (p *progress) step(n int) error {
	before := p.done
	if p.done += n; before/8 == p.done/8 {
		return nil
	}
	return p.look()
}

// look does what a step does now and then, in the midst of a long one.
func (p *progress) look() error {
	now := time.Now()
	if now.Sub(p.looked) < lookEvery {
		return nil
	}
	p.looked = now
	if p.s.conn.hungUp() {
		return lost(errHungUp)
	}
	if now.Sub(p.told) < p.s.progressEvery() {
		return nil
	}
	p.told = now
	return p.s.writeProgress(p.tag, p.done, p.goal)
}

// writeProgress tells that a command goes on (RFC 9585 §4): how many steps of how
// many are done, or nothing of that where it is not known.
func (s *session) writeProgress(tag string, done, goal int) error {
	if s.off(imap.CapInProgress) {
		return nil
	}
	quoted := `"` + tag + `"`
	if tag == "" || strings.Contains(tag, "]") { // which would look like the end of the code
		quoted = "NIL"
	}
	state := "NIL NIL"
	if done < goal {
		state = fmt.Sprintf("%d %d", done, goal)
	}
	s.writeCode("still at work", "INPROGRESS (%s %s)", quoted, state)
	return lost(s.w.Flush())
}

// patiently calls f, and meanwhile says now and then that the command goes on: f
// itself says nothing, and must not write. A panic of f is one of the session.
func (s *session) patiently(tag string, f func() error) error {
	type outcome struct {
		err   error
		crash string
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if r := recover(); r != nil {
				o.crash = fmt.Sprintf("%v, in a goroutine of a command:\n%s", r, debug.Stack())
			}
			done <- o
		}()
		o.err = f()
	}()
	tick := time.NewTicker(s.progressEvery())
	defer tick.Stop()
	var gone error
	for {
		select {
		case o := <-done:
			if o.crash != "" {
				panic(o.crash)
			}
			return cmp.Or(gone, o.err)
		case <-tick.C:
			gone = cmp.Or(gone, s.writeProgress(tag, 0, 0))
		}
	}
}
