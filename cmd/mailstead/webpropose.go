package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	delivery "mailstead/imapserver/deliver"
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/reconcile/target"
	"mailstead/reconcile/web"
	"mailstead/render"
	"mailstead/schema"
)

// proposal is a change as it waits for an admin's code: a file of render.WebDir.
type proposal struct {
	web.Proposal
	Seen string          `json:"seen"` // digest of the description that it was made from
	Text []byte          `json:"text"` // what webChanges is to hold
	Was  []byte          `json:"was"`  // what it held; nil: it was not there
	Plan json.RawMessage `json:"plan"` // as a file of "mailstead plan -o"
	New  string          `json:"new"`  // the user who is added, if one is
}

// How long a proposal waits, and how many do.
const (
	proposalLife = 24 * time.Hour
	maxProposals = 20
)

// webKinds are the kinds of resources that a proposed change may touch: mail of users,
// what the daemon reads of them, and its reload. What else a plan has is refused,
// whatever it came from: a process of root's, a unit, a certificate or an account is
// never changed by the page.
var webKinds = []string{"maildir", "folder", "password-file", "daemon-config", "daemon"}

// propose makes the plan of a change, and keeps it.
func (d webDesk) propose(ctx context.Context, g *webGate, by string, c web.Change) (*web.Proposal, error) {
	if err := d.apart(); err != nil {
		return nil, err
	}
	seen, err := describe(d.description)
	if err != nil {
		return nil, err
	}
	file, was, err := readWebChanges(d.description)
	if err != nil {
		return nil, err
	}
	if name := calledUser(d.host, c.User); c.Kind == web.AddUser && slices.Contains(userNames(d.host), name) {
		return nil, fmt.Errorf("there is a user %q already", name) // one who is written by hand would become another
	}
	if err := file.make(d.host.Name, c); err != nil {
		return nil, err
	}
	text, err := file.encode()
	if err != nil {
		return nil, err
	}
	d.say("Comparing the host with its description.\n")
	if err := d.settled(ctx); err != nil {
		return nil, err
	}
	if c.Kind == web.AddUser {
		if err := d.freeAddress(c.User); err != nil {
			return nil, err
		}
	}
	d.say("Comparing the host with what is proposed.\n")
	s := d.source(map[string][]byte{webChanges: text})
	l, plan, err := d.plan(ctx, s)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := onlyWebKinds(plan, d.host.Paths); err != nil {
		return nil, err
	}
	p := proposal{Seen: seen, Text: text, Was: was, Proposal: web.Proposal{
		ID: rand.Text(), By: by, At: d.now.UTC(), Title: c.String(), Diff: webDiff(g.key, was, text), Text: planText(plan), Changes: len(plan.Changes),
	}}
	if c.Kind == web.AddUser {
		p.New = c.User
		if err := l.newMaildir(ctx, p.New); err != nil {
			return nil, err
		}
	}
	if p.Plan, err = savedPlan(l, plan, s); err != nil {
		return nil, err
	}
	return &p.Proposal, g.keep(p, d.now)
}

// freeAddress refuses the name of a new user by which somebody else's mail would become
// theirs: a name that is an address as a whole goes before a local part, and any name
// before one with a detail.
func (d webDesk) freeAddress(name string) error {
	if d.host.Deliver == nil {
		return nil
	}
	addresses := []string{name}
	if !strings.Contains(name, "@") {
		for _, domain := range d.host.Deliver.Domains {
			addresses = append(addresses, name+"@"+domain)
		}
	}
	tables := delivery.NewTables(d.host.Paths.State)
	for _, a := range addresses {
		found, err := tables.Find(a)
		var fault *delivery.Fault
		switch {
		case err == nil && (a == name || !strings.EqualFold(found.Name, a)): // who has it as a whole keeps it
			return hint(fmt.Errorf("mail for %s is that of the user %q, and would become the new one's", a, found.Name), "take another name, or make the change on the host")
		case err != nil && (!errors.As(err, &fault) || fault.Code == 451): // otherwise nobody gets it
			return fmt.Errorf("whose mail %s is: %w", a, err)
		}
	}
	return nil
}

// newMaildir refuses a new user for whom there is mail already: that of a former one. What an
// apply that did not come to its end has made is no mail.
func (l *look) newMaildir(ctx context.Context, name string) error {
	for _, r := range l.want {
		if r.Ref != kind.MaildirRef(name) {
			continue
		}
		if ok, err := l.kinds.Untouched(ctx, r); ok || err != nil {
			return err
		}
	}
	return hint(fmt.Errorf("there is mail already where that of %q is to be, such as of a former user, and it would become the new one's", name), "add the user on the host if it is to, or move the mail away")
}

// apart refuses a host that is described on another machine, as one of a fleet is.
func (d webDesk) apart() error {
	files, err := os.ReadDir(d.description)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		return hint(fmt.Errorf("this host has no description in %s", d.description), "it is compared and changed where its description is")
	}
	return err
}

// source is the description, with these files in place of what it has by their names.
func (d webDesk) source(instead map[string][]byte) source {
	return source{paths: []string{d.description}, host: d.host.Name, limit: maxFaults, instead: instead}
}

// plan makes the plan of a description. The look is the caller's to close.
func (d webDesk) plan(ctx context.Context, s source) (*look, *reconcile.Plan, error) {
	l, err := s.look(ctx, d.opts, false)
	if err != nil {
		return nil, nil, d.invalid(err)
	}
	plan, err := l.compare(ctx)
	if err != nil {
		l.close()
		return nil, nil, err
	}
	return l, plan, nil
}

// settled refuses a host that has something to change as it is: what is written by
// hand and not yet applied is nothing that a code for another change agrees to.
func (d webDesk) settled(ctx context.Context) error {
	l, plan, err := d.plan(ctx, d.source(nil))
	if err != nil {
		return err
	}
	defer l.close()
	if len(plan.Changes) > 0 {
		return hint(fmt.Errorf("the host differs from its description in more than this change: %s", plan.Changes[0].Ref), "an admin on the host looks at %q first", "mailstead plan")
	}
	return nil
}

// invalid gives the first fault of a description in words for the page. Of what was
// proposed nobody has written a line.
func (d webDesk) invalid(err error) error {
	var faults schema.Diagnostics
	if errors.As(err, &faults) && len(faults) > 0 {
		f := faults[0]
		err = fmt.Errorf("%s: %s", f.Pos, f.Message)
		if filepath.Base(f.Pos.File) == webChanges {
			err = errors.New(strings.TrimPrefix(f.Message, fmt.Sprintf("hosts.%q.users.", d.host.Name)))
		}
		if f.Hint != "" {
			err = hint(err, "%s", f.Hint)
		}
	}
	return err
}

// webFiles are the files that list users, with a line for each: to whom mail is delivered,
// and what is removed when it is old.
func webFiles(p schema.Paths) []string {
	return []string{render.DeliveryFile(p, false), render.DeliveryFile(p, true), render.AddressFile(p), render.PurgeFile(p)}
}

// onlyWebKinds refuses a plan that does more than a proposed change may.
func onlyWebKinds(plan *reconcile.Plan, paths schema.Paths) error {
	for _, c := range plan.Changes {
		may := slices.Contains(webKinds, c.Ref.Kind) || c.Ref.Kind == "file" && slices.Contains(webFiles(paths), c.Ref.Name)
		if !may || c.Drift != nil {
			return hint(fmt.Errorf("this change needs more than the page may change: %s", c.Ref), "make it on the host")
		}
	}
	if len(plan.Unreadable) > 0 {
		return errors.New("something of the host could not be read: see the page Drift")
	}
	return nil
}

func webDiff(key, was, text []byte) string {
	out := string(diff.Diff("a/"+webChanges, maskWebHashes(key, was), "b/"+webChanges, maskWebHashes(key, text)))
	_, lines, _ := strings.Cut(out, "\n") // the command of diff
	return lines
}

func planText(plan *reconcile.Plan) string {
	var b strings.Builder
	writePlan(&console{out: &b, err: io.Discard}, &b, plan, false)
	return b.String()
}

func savedPlan(l *look, plan *reconcile.Plan, s source) ([]byte, error) {
	keys := target.PlanKeys(l.host.Paths.State)
	if len(keys) == 0 {
		return nil, errors.New("this machine has no secret under which a plan could be saved: apply once on the host")
	}
	d, err := s.description(l.host, l.opts)
	if err != nil {
		return nil, err
	}
	saved, err := savePlan(plan, keys[0], d, reconcile.Selection{}, time.Now())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = saved.Encode(&b)
	return b.Bytes(), err
}

// describe gives a digest of every file of a description: of what was looked at. Those
// that it does not read, as those of git and of editors, may change meanwhile.
func describe(dir string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != dir && strings.HasPrefix(e.Name(), ".") {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err != nil || !e.Type().IsRegular() && e.Type()&fs.ModeSymlink == 0 {
			return err
		}
		if e.Type()&fs.ModeSymlink != 0 {
			if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
				return nil
			}
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(sum, "%q %d\n%s", path, len(data), data)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

var proposalName = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func (g *webGate) proposalFile(id string) string {
	return filepath.Join(g.dir, "proposal-"+id+".json")
}

// sweep removes the proposals that nobody has come back to, which have hashes of
// passwords in them, and the oldest of those that are more than may be.
func (g *webGate) sweep(now time.Time, most int) error {
	names, err := filepath.Glob(g.proposalFile("*"))
	if err != nil {
		return err
	}
	made := map[string]time.Time{}
	for _, name := range names {
		if fi, err := os.Stat(name); err == nil { // or another process was faster
			made[name] = fi.ModTime()
		}
	}
	var faults []error
	for i, name := range slices.SortedFunc(maps.Keys(made), func(a, b string) int { return made[b].Compare(made[a]) }) {
		if i < most && now.Sub(made[name]) <= proposalLife {
			continue
		}
		if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// keep writes a proposal.
func (g *webGate) keep(p proposal, now time.Time) error {
	if err := g.sweep(now, maxProposals-1); err != nil {
		return err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return reconcile.ReplaceFile(g.proposalFile(p.ID), reconcile.Private(data))
}

func (g *webGate) proposal(id string, now time.Time) (p proposal, err error) {
	none := errors.New("there is no such proposal any more: propose the change again")
	if !proposalName.MatchString(id) {
		return p, none
	}
	data, err := os.ReadFile(g.proposalFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return p, none
	}
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err == nil && now.Sub(p.At) > proposalLife {
		err = none
	}
	return p, err
}

// errEdited says that a plan is for another description than there is now.
var errEdited = errors.New("the description was edited since this plan was made, so nothing was applied: look at what it says now, and propose the change again")

// applyProposal carries a proposal out: it takes a new code of the admin's, and the
// description that the plan was made from.
func (d webDesk) applyProposal(ctx context.Context, g *webGate, by, id, code string) (*web.Outcome, error) {
	p, err := g.proposal(id, d.now)
	if err != nil {
		return nil, err
	}
	// Of two at once, each would see the file of the other, and put back what it held.
	lock, err := reconcile.TakeLock(ctx, g.dir, 0)
	if err != nil {
		return nil, hint(err, "another change is being applied: try again in a moment")
	}
	defer lock.Release()
	if err := g.confirm(by, code, d.now); err != nil {
		return nil, err
	}
	if seen, err := describe(d.description); err != nil || seen != p.Seen {
		return nil, errors.Join(err, errEdited)
	}
	saved, err := reconcile.ReadPlan(bytes.NewReader(p.Plan))
	if err != nil {
		return nil, err
	}
	d.log.Info("applying what was proposed", "by", by, "what", p.Title)
	return d.write(ctx, p, saved, by, func() { os.Remove(g.proposalFile(id)) })
}

// write has the description say what was proposed, applies that, and takes it back where
// nothing came of it.
func (d webDesk) write(ctx context.Context, p proposal, saved *reconcile.Saved, by string, spent func()) (*web.Outcome, error) {
	path := filepath.Join(d.description, webChanges)
	if err := reconcile.ReplaceFile(path, reconcile.Private(p.Text)); err != nil {
		return nil, err
	}
	defer spent()
	var out strings.Builder
	d.say("Comparing the host with the plan.\n")
	begun, err := d.carryOut(ctx, saved, p.New, by, io.MultiWriter(&out, sayWriter(d.say)))
	exit := exitCodeOf(err)
	if err == nil {
		exit = exitDone
	}
	kept := stays(exit, begun)
	if !kept {
		err = errors.Join(err, putBack(path, p.Was))
	} else if exit != exitDone && exit != exitPartial {
		err = hint(err, "the host was changed, so %s keeps the change: an admin on the host looks at %q", webChanges, "mailstead plan")
	}
	o := &web.Outcome{Title: p.Title, Text: out.String(), Done: exit == exitDone, Kept: kept && exit != exitDone}
	if err != nil {
		o.Fault = d.failed(web.AdminAnswer{}, err).Error
	}
	d.log.Info("applied what was proposed", "by", by, "what", p.Title, "exit", exit, "err", err)
	return o, nil
}

// stays says whether anything of an apply that has ended so is on the host. That stays in
// the description too, whatever failed afterwards: the next apply would take from the host
// what the description does not say, such as the password in place of one that has leaked.
func stays(exit int, begun bool) bool {
	switch exit {
	case exitDone, exitPartial:
		return true
	case exitStale, exitReturned: // begun, and nothing was done or it was undone
		return false
	}
	return begun
}

// sayWriter tells the page what is written to it.
type sayWriter func(string)

func (say sayWriter) Write(text []byte) (int, error) {
	say(string(text))
	return len(text), nil
}

// putBack has the file hold what it held, or not be there.
func putBack(path string, was []byte) error {
	if was == nil {
		return os.Remove(path)
	}
	return reconcile.ReplaceFile(path, reconcile.Private(was))
}

// carryOut applies a saved plan, of a new user where there is one, as "mailstead apply FILE"
// does. It says whether the host may have been changed.
func (d webDesk) carryOut(ctx context.Context, saved *reconcile.Saved, user, by string, out io.Writer) (begun bool, err error) {
	o := applyOptions{source: d.source(nil), opts: d.opts, saved: saved, file: "the proposal", yes: true, wait: 30 * time.Second, returnAfter: returnAfter}
	l, err := o.look(ctx, o.opts, false)
	if err != nil {
		return false, err
	}
	defer l.close()
	if user != "" {
		if err := l.newMaildir(ctx, user); err != nil {
			return false, err
		}
	}
	l.by = by + ", at the web page"
	err = l.applyCurrent(ctx, o, &console{in: strings.NewReader(""), out: out, err: out})
	return l.begun, err
}

// drift is what a plan of the description says now.
func (d webDesk) drift(ctx context.Context) (*web.Drift, error) {
	if err := d.apart(); err != nil {
		return nil, err
	}
	l, plan, err := d.plan(ctx, d.source(nil))
	if err != nil {
		return nil, err
	}
	defer l.close()
	return &web.Drift{Plan: planText(plan), Changes: len(plan.Changes), Waiting: len(plan.Blocked)}, nil
}
