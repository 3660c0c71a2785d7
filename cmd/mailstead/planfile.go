package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/reconcile/target"
	"mailstead/schema"
)

// planFileHelp says in a command's help what FILE is.
const planFileHelp = `FILE is a plan that "mailstead plan -o FILE" has saved: a JSON file that begins
with its format_version, as docs/plan-file.md describes.`

// isPlanFile tells a saved plan from a description: by the name, or by its first
// key, which no description has.
func isPlanFile(path string) bool {
	if strings.HasSuffix(path, ".plan") || strings.HasSuffix(path, ".plan.json") {
		return true
	}
	return beginsAsPlan(path)
}

// beginsAsPlan tells whether a file is a saved plan, of whatever version, by its first key.
func beginsAsPlan(path string) bool {
	if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	d := json.NewDecoder(io.LimitReader(f, 4096))
	open, _ := d.Token()
	key, _ := d.Token()
	return open == json.Delim('{') && key == "format_version"
}

// readPlanFile reads a saved plan.
func readPlanFile(path string) (*reconcile.Saved, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := reconcile.ReadPlan(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// madeFrom is what a plan is made from.
type madeFrom struct {
	source
	reconcile.Selection
}

// checkPlanFile refuses, before anything is looked at, to save a plan over anything but
// a plan or a file that is empty: a slip in a path may cost no description.
func (s *source) checkPlanFile(path string) error {
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Size() > 0 && !beginsAsPlan(path) {
		return hint(fmt.Errorf("%s is no plan, and none is saved over it", path), "name another file, or remove that one first")
	}
	return s.checkApart(path)
}

// savePlan makes of a plan what a file holds, under a key of the host.
func savePlan(plan *reconcile.Plan, key []byte, d reconcile.Description, selection reconcile.Selection, made time.Time) (*reconcile.Saved, error) {
	s := plan.Save(key, made)
	s.Program, s.Description, s.Selection = ownVersion(), d, selection
	var err error
	s.Summary, err = json.Marshal(summarize(plan))
	s.Seal(key)
	return s, err
}

// description says what a host's plan is made from.
func (s *source) description(host *schema.Host, opts desired.Options) (d reconcile.Description, err error) {
	d.Host, d.Rootless = host.Name, opts.Rootless
	for _, p := range s.paths {
		if p, err = filepath.Abs(p); err != nil {
			return d, err
		}
		d.Paths = append(d.Paths, p)
	}
	for _, t := range s.tags {
		name, _, _ := strings.Cut(t, "=")
		d.Tags = append(d.Tags, name)
	}
	return d, nil
}

// writePlanJSON writes a plan for programs, as a file holds it.
func writePlanJSON(w io.Writer, plan *reconcile.Plan, l *look, from madeFrom) error {
	s, err := l.masked(plan, from)
	if err != nil {
		return err
	}
	return s.Encode(w)
}

// masked is a plan for who only looks at it, who needs no key that lasts.
func (l *look) masked(plan *reconcile.Plan, from madeFrom) (*reconcile.Saved, error) {
	keys := append(target.PlanKeys(l.host.Paths.State), target.NewPlanKey())
	d, err := from.description(l.host, l.opts)
	if err != nil {
		return nil, err
	}
	return savePlan(plan, keys[0], d, from.Selection, time.Now())
}

// writePlanFile saves a plan for "mailstead apply FILE".
func writePlanFile(path string, plan *reconcile.Plan, l *look, from madeFrom) error {
	keys := target.PlanKeys(l.host.Paths.State)
	if len(keys) == 0 {
		return hint(errors.New("no plan can be saved: this machine has no secret under which digests of secrets could be kept"),
			"run %q, or apply once without a plan file", "systemd-machine-id-setup")
	}
	d, err := from.description(l.host, l.opts)
	if err != nil {
		return err
	}
	s, err := savePlan(plan, keys[0], d, from.Selection, time.Now())
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := s.Encode(&text); err != nil {
		return err
	}
	return replaceFile(path, text.Bytes())
}

// replaceFile puts a file that nobody else can read in the place of path, which
// is the operator's choice: in any directory, but in the place of a file only.
func replaceFile(path string, data []byte) (err error) {
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is not a file", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Unwrap(err))
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// takeSaved takes a saved plan from the arguments of apply, and what it was made
// from, unless the command says otherwise.
func (o *applyOptions) takeSaved(args []string) (err error) {
	o.take(args)
	if len(args) == 0 || !isPlanFile(args[0]) {
		return nil
	}
	if o.saved, err = readPlanFile(args[0]); err != nil {
		return err
	}
	o.file = args[0]
	if o.Narrows() || len(o.Take) > 0 {
		return hint(errors.New("--only, --except and --take choose from a description, and "+o.file+" says itself what is to be done"), "choose with %q", "mailstead plan -o FILE --only PATTERN")
	}
	d := o.saved.Description
	if o.paths = args[1:]; len(o.paths) == 0 {
		if err := trustPaths(d.Paths); err != nil {
			return hint(fmt.Errorf("%s says that it was made from %s, which is not read on its word: %w", o.file, visible(strings.Join(d.Paths, " ")), err),
				"give the paths of the description: %q", "mailstead apply "+o.file+" PATH")
		}
		o.paths = d.Paths
	}
	o.opts.Rootless = d.Rootless
	if o.host == "" {
		o.host = d.Host
	}
	return o.checkTags(d.Tags)
}

// trustPaths refuses descriptions that somebody else could have put where a file
// says: who applies a plan has looked at the plan, and not at its paths.
func trustPaths(paths []string) error {
	for _, p := range paths {
		fi, err := os.Stat(p)
		if err != nil {
			return err
		}
		if !fi.IsDir() {
			p = filepath.Dir(p)
		}
		d, err := reconcile.OpenDir(p, false)
		if err != nil {
			return err
		}
		d.Close()
	}
	return nil
}

// checkTags asks for the tags that a plan was made with: their values are not in
// the file.
func (o *applyOptions) checkTags(names []string) error {
	given := make(map[string]bool)
	for _, t := range o.tags {
		name, _, _ := strings.Cut(t, "=")
		given[name] = true
	}
	for _, name := range names {
		if !given[name] {
			return hint(fmt.Errorf("%s was made with the tag %s, whose value is not in it", o.file, visible(name)), "give it again: -t %s=VALUE", visible(name))
		}
	}
	return nil
}

// bind holds a saved plan against the host, and gives what there is to do of it.
func (l *look) bind(ctx context.Context, o applyOptions) (*reconcile.Plan, error) {
	key, err := o.saved.Check(target.PlanKeys(l.host.Paths.State))
	switch {
	case errors.Is(err, reconcile.ErrForeignKey):
		return nil, hint(fmt.Errorf("%s: %w", o.file, err), "it was made for %s; plan again on this host, as the same user", visible(o.saved.Host))
	case err != nil && o.saved.Program != ownVersion():
		return nil, hint(fmt.Errorf("%s: %w, or is not as this version makes it", o.file, err), "mailstead %s made it, and this is %s: plan again", visible(o.saved.Program), ownVersion())
	case err != nil:
		return nil, hint(fmt.Errorf("%s: %w", o.file, err), "plan again")
	}
	l.take = o.saved.Selection.Take
	now, err := l.compare(ctx)
	if err != nil {
		return nil, err
	}
	in := reconcile.BindInputs{Key: key, Now: now, Want: l.want, Table: l.kinds.Table(), State: l.host.Paths.State}
	if l.opts.Rootless { // whoever has started the daemon may end it
		in.Passing = kind.DaemonRef()
	}
	b, err := o.saved.Bind(in)
	if err != nil {
		return nil, staleError(err)
	}
	if b.Other > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("there are %d more changes to make, and they are not in %s: %q shows them", b.Other, o.file, "mailstead plan"))
	}
	l.saved, l.begun = o.saved, b.Begun
	plan := l.part(ctx, &b.Plan)
	l.partly = b.Other > 0 || len(o.saved.LeftOut)+len(o.saved.Deferred) > 0
	return plan, nil
}

// part takes up a plan that may be less than what was compared: what that means
// to people is less, too.
func (l *look) part(ctx context.Context, plan *reconcile.Plan) *reconcile.Plan {
	l.partly = len(plan.LeftOut)+len(plan.Deferred) > 0
	if l.people, plan.People = nil, nil; len(plan.Changes) > 0 {
		l.people = l.impact(ctx, plan)
		plan.People = l.people
	}
	return plan
}

// spend notes that the saved plan was applied whole and is in force.
func (l *look) spend(ctx context.Context, wait time.Duration) error {
	if !l.begun {
		return nil // there was nothing to do, or there is no saved plan
	}
	if l.lock == nil {
		lock, err := reconcile.TakeLock(ctx, l.host.Paths.State, wait)
		if err != nil {
			return notApplied(err)
		}
		defer lock.Release()
	}
	return l.saved.Spend(l.host.Paths.State)
}

// staleError gives the exit code of a stale plan to what says that one is.
func staleError(err error) error {
	var spent *reconcile.SpentError
	var wanted *reconcile.WantedError
	if errors.As(err, &spent) || errors.As(err, &wanted) || errors.Is(err, reconcile.ErrBehind) {
		return &exitError{code: exitStale, err: hint(fmt.Errorf("nothing was applied: %w", err), "plan again")}
	}
	return err
}
