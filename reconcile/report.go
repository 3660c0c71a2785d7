package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// State is how far a change has come.
type State string

// The states.
const (
	Started State = "started" // only in an Event
	Done    State = "done"
	Failed  State = "failed"
	Skipped State = "skipped" // not begun
)

// Outcome is how a change ended.
type Outcome struct {
	Change Change
	State  State
	Err    error  // of Failed
	Note   string // why it was skipped, or done without a change
}

// Report is how an Apply ended: every change in the order in which they ended.
type Report struct {
	Outcomes   []Outcome
	Blocked    []Waiting
	Unreadable []Unread
}

// Count gives how many changes ended so.
func (r *Report) Count(s State) int {
	n := 0
	for _, o := range r.Outcomes {
		if o.State == s {
			n++
		}
	}
	return n
}

// Err is nil if every change was made and nothing was left unread; else every
// fault, each behind the name of its resource, and what was done and what not.
// What waits is no fault.
func (r *Report) Err() error {
	merr := &multierror.Error{ErrorFormat: r.format}
	for _, o := range r.Outcomes {
		if o.State == Failed {
			merr.Errors = append(merr.Errors, fmt.Errorf("%s: %w", o.Change.Ref, o.Err))
		}
	}
	for _, u := range r.Unreadable {
		merr.Errors = append(merr.Errors, fmt.Errorf("%s: not compared: %s", u.Ref, u.Reason))
	}
	if len(merr.Errors) == 0 && r.Count(Skipped) > 0 {
		merr.Errors = append(merr.Errors, fmt.Errorf("interrupted"))
	}
	return merr.ErrorOrNil()
}

// format writes the faults one below the other, then what came of the rest.
func (r *Report) format(errs []error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d changes made", r.Count(Done), len(r.Outcomes))
	for _, err := range errs {
		b.WriteString("\n  " + strings.ReplaceAll(strings.TrimRight(err.Error(), "\n"), "\n", "\n    "))
	}
	r.formatRest(&b, Skipped)
	r.formatRest(&b, Done)
	return b.String()
}

// formatRest names what ended so, or, where that is too much to read, counts it.
func (r *Report) formatRest(b *strings.Builder, s State) {
	const most = 20
	long := r.Count(s) > most
	kinds := make(map[string]int)
	for _, o := range r.Outcomes {
		if o.State != s {
			continue
		}
		kinds[o.Change.Ref.Kind]++
		if long {
			continue
		}
		fmt.Fprintf(b, "\n  %s: %s", o.Change.Ref, s)
		if o.Note != "" {
			fmt.Fprintf(b, " (%s)", o.Note)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		if long {
			fmt.Fprintf(b, "\n  %s: %d %s", k, kinds[k], s)
		}
	}
}
