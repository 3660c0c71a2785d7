package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// PlansFile is the file of the state directory that says which saved plans were
// applied, so that none is applied twice.
const PlansFile = "plans.json"

const (
	plansVersion = 1
	// maxPlans is how many plans are remembered. What was made before the oldest
	// of those that had to be forgotten is refused: it may have been one of them.
	maxPlans = 1000
)

// plansJSON is the file.
type plansJSON struct {
	Version   int           `json:"version"`
	Forgotten time.Time     `json:"forgotten,omitzero"` // when the newest of those forgotten was made
	Plans     []planApplied `json:"plans"`              // in the order in which they were begun
}

// planApplied is a saved plan that was begun.
type planApplied struct {
	ID    string    `json:"id"`
	Made  time.Time `json:"made"`
	Begun time.Time `json:"begun"`
	Done  time.Time `json:"done,omitzero"` // when it was applied whole
}

// SpentError says that a saved plan is not to be applied any more.
type SpentError struct {
	Done time.Time // when it was applied whole; zero: it is too old for anybody to know
}

func (e *SpentError) Error() string {
	if e.Done.IsZero() {
		return "the plan is older than what is remembered of applied plans"
	}
	return "the plan was applied whole on " + e.Done.Local().Format("2006-01-02 15:04:05 MST") + ", and no plan is applied twice"
}

func readPlans(state string) (*plansJSON, error) {
	f := &plansJSON{Version: plansVersion}
	if state == "" {
		return f, nil
	}
	path := filepath.Join(state, PlansFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read applied plans: %w", err)
	}
	if err := json.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("read applied plans: %s: %w: move it away, and apply no plan that was made before", path, err)
	}
	if f.Version != plansVersion {
		return nil, fmt.Errorf("read applied plans: %s has version %d, and this program knows %d", path, f.Version, plansVersion)
	}
	return f, nil
}

func (f *plansJSON) find(id string) *planApplied {
	for i := range f.Plans {
		if f.Plans[i].ID == id {
			return &f.Plans[i]
		}
	}
	return nil
}

// check refuses a plan that was applied whole, and tells of any other whether it
// was begun.
func (f *plansJSON) check(s *Saved) (begun bool, err error) {
	p := f.find(s.ID)
	switch {
	case p != nil && !p.Done.IsZero():
		return true, &SpentError{Done: p.Done}
	case p == nil && !s.Made.After(f.Forgotten):
		return false, &SpentError{}
	}
	return p != nil, nil
}

// begin notes that a plan is about to be applied.
func (f *plansJSON) begin(s *Saved, now time.Time) {
	if f.find(s.ID) != nil {
		return
	}
	f.Plans = append(f.Plans, planApplied{ID: s.ID, Made: s.Made, Begun: now.UTC()})
	for _, old := range f.Plans[:max(0, len(f.Plans)-maxPlans)] {
		if old.Made.After(f.Forgotten) {
			f.Forgotten = old.Made
		}
	}
	f.Plans = slices.Clone(f.Plans[max(0, len(f.Plans)-maxPlans):])
}

func (f *plansJSON) write(state string) error {
	data, err := json.MarshalIndent(f, "", " ")
	if err == nil {
		err = ReplaceFile(filepath.Join(state, PlansFile), Private(append(data, '\n')))
	}
	if err != nil {
		return fmt.Errorf("write applied plans: %w", err)
	}
	return nil
}

// beginSaved refuses a saved plan that was applied whole, and notes that any
// other is about to be. It runs under the lock.
func (o Options) beginSaved() error {
	if o.Saved == nil || o.State == "" {
		return nil
	}
	f, err := readPlans(o.State)
	if err != nil {
		return err
	}
	begun, err := f.check(o.Saved)
	if err != nil || begun {
		return err
	}
	f.begin(o.Saved, time.Now())
	return f.write(o.State)
}

// Spend notes that a saved plan was applied whole, and that what it has made is
// to stay: nobody applies it any more. Until then it is one that was stopped
// part-way. The lock of the state directory is held.
func (s *Saved) Spend(state string) error {
	f, err := readPlans(state)
	if err != nil {
		return err
	}
	p := f.find(s.ID)
	if p == nil {
		return nil // there was nothing to do
	}
	p.Done = time.Now().UTC()
	return f.write(state)
}
