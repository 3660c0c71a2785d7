package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/oracle"
	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/web"
	"mailstead/render"
	"mailstead/schema"
)

// proposing is a host without root that was applied, whose page proposes changes.
type proposing struct {
	*testing.T
	desk webDesk
	gate *webGate
	code func(time.Time) string
	dir  string // of the description
}

const proposed = `hosts: "mail.example.org": {
	listeners: imap: {address: "127.0.0.1", port: 1143, tls: "none"}
	users: vera: password: hash: %q
	folders: {Sent: use: "sent", Trash: purge: after: "30d"}
	deliver: {}
	paths: {state: "%[2]s/state", run: "%[2]s/run"}
	mail: root: "%[2]s/mail"
}
`

func newProposing(t *testing.T) *proposing {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g, code := gated(t)
	hash, err := hashBcrypt("wonder land")
	if err != nil {
		t.Fatal(err)
	}
	p := &proposing{T: t, code: code, dir: filepath.Join(top, "etc")}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p.write("host.cue", fmt.Sprintf(proposed, hash, top))
	host := p.applyAll()
	host.Web = g.host.Web
	if err := os.Mkdir(render.WebDir(host.Paths), 0o700); err != nil {
		t.Fatal(err)
	}
	if p.gate, err = openWebGate(host); err != nil {
		t.Fatal(err)
	}
	p.desk = webDesk{host: host, opts: desired.Options{Rootless: true}, description: p.dir, log: slog.New(slog.DiscardHandler), now: time.Now(), say: func(string) {}}
	return p
}

// applyAll applies the description by hand, and gives the host as the page then reads it.
func (p *proposing) applyAll() *schema.Host {
	p.Helper()
	opts := desired.Options{Rootless: true}
	o := applyOptions{source: source{paths: []string{p.dir}}, opts: opts, yes: true}
	l, err := o.look(p.Context(), opts, false)
	if err != nil {
		p.Fatal(err)
	}
	defer l.close()
	if err := l.applyCurrent(p.Context(), o, &console{in: strings.NewReader(""), out: p.Output(), err: p.Output()}); err != nil {
		p.Fatal(err)
	}
	host, _, err := readApplied(l.host.Paths.State)
	if err != nil {
		p.Fatal(err)
	}
	return host
}

func (p *proposing) write(name, text string) {
	p.Helper()
	path := filepath.Join(p.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		p.Fatal(err)
	}
}

// file is what the page has written into the description.
func (p *proposing) file() string {
	text, err := os.ReadFile(filepath.Join(p.dir, webChanges))
	if err != nil {
		return ""
	}
	return string(text)
}

func (p *proposing) propose(c web.Change) (*web.Proposal, error) {
	p.Helper()
	return p.desk.propose(p.Context(), p.gate, "helpdesk", c)
}

// apply applies with a code of a later moment than the last one.
func (p *proposing) apply(id string) (*web.Outcome, error) {
	p.Helper()
	p.desk.now = p.desk.now.Add(time.Minute)
	return p.desk.applyProposal(p.Context(), p.gate, "helpdesk", id, p.code(p.desk.now))
}

const someHash = "$2b$10$FjRy1s4dCEoet3Gy1jT9BObo0QBHUhWdqdEB5bNLoVzRakdaBLVmS"

var newUser = web.Change{Kind: web.AddUser, User: "walter", Password: "a long password", Storage: "1GB"}

func TestPropose(t *testing.T) {
	p := newProposing(t)
	proposal, err := p.propose(newUser)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`+				"walter": {`, `"hash": "(secret`, "1GB"} {
		if !strings.Contains(proposal.Diff, want) {
			t.Errorf("the diff is without %s:\n%s", want, proposal.Diff)
		}
	}
	if !strings.Contains(proposal.Text, "maildir/walter") || strings.Contains(proposal.Diff+proposal.Text, "argon2id") {
		t.Errorf("the plan:\n%s", proposal.Text)
	}
	if p.file() != "" {
		t.Error("the description was written before anybody has agreed")
	}
	if _, err := p.desk.applyProposal(t.Context(), p.gate, "helpdesk", proposal.ID, "000000"); err == nil || p.file() != "" {
		t.Errorf("applied by a wrong code: %v", err)
	}
	token, err := p.gate.issue(p.desk.host.Web.Admins[0], p.desk.now)
	if err != nil {
		t.Fatal(err)
	}
	asked := p.desk.answer(t.Context(), web.AdminRequest{Do: web.AdminApply, Token: token, Proposal: proposal.ID, Code: "000000"})
	if asked.Proposal == nil || asked.Proposal.ID != proposal.ID || asked.Error == "" {
		t.Errorf("after a wrong code there is no way to try another: %+v", asked)
	}
	outcome, err := p.apply(proposal.ID)
	if err != nil || !outcome.Done {
		t.Fatalf("%+v, %v", outcome, err)
	}
	if !strings.Contains(p.file(), "walter") {
		t.Error("not in the description")
	}
	if d, err := p.desk.drift(t.Context()); err != nil || d.Changes != 0 {
		t.Errorf("the host is not as the description says: %+v, %v", d, err)
	}
	if past, err := p.desk.history(); err != nil || past[0].By != "helpdesk, at the web page" {
		t.Errorf("%+v, %v", past, err)
	}
	if _, err := p.apply(proposal.ID); err == nil {
		t.Error("a proposal was applied twice")
	}
	for _, c := range []web.Change{
		{Kind: web.SetQuota, User: "walter", Storage: "2GB"}, {Kind: web.AddFolder, User: "walter", Folder: "Work"},
		{Kind: web.SetPassword, User: "walter", Password: "another password"}, {Kind: web.RemoveUser, User: "walter"},
	} {
		proposal, err := p.propose(c)
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		if outcome, err := p.apply(proposal.ID); err != nil || !outcome.Done {
			t.Fatalf("%s: %+v, %v", c, outcome, err)
		}
	}
	if strings.Contains(p.file(), "walter") {
		t.Error("still in the description")
	}
}

// What stands beside the description, and is no part of it, may change meanwhile.
func TestProposeBeside(t *testing.T) {
	p := newProposing(t)
	p.write(".git/index", "of a commit")
	proposal, err := p.propose(newUser)
	if err != nil {
		t.Fatal(err)
	}
	p.write(".git/index", "of the next one")
	p.write(".host.cue.swp", "of an editor")
	if outcome, err := p.apply(proposal.ID); err != nil || !outcome.Done {
		t.Errorf("%+v, %v", outcome, err)
	}
}

// A plan is for the description that it was made from.
func TestProposeEdited(t *testing.T) {
	p := newProposing(t)
	proposal, err := p.propose(newUser)
	if err != nil {
		t.Fatal(err)
	}
	p.write("more.cue", `hosts: "mail.example.org": keep: "14d"`)
	outcome, err := p.apply(proposal.ID)
	if err == nil || outcome != nil || !strings.Contains(err.Error(), "was edited") || p.file() != "" {
		t.Errorf("%+v, %v", outcome, err)
	}
	// What somebody has written and not applied is nothing that the page applies along.
	for _, more := range []string{
		`listeners: more: {address: "127.0.0.1", port: 1144, tls: "none"}`, // of no kind that a user does not change too
		`users: eve: password: hash: "` + someHash + `"`,
	} {
		p.write("more.cue", `hosts: "mail.example.org": {`+more+`}`)
		if proposal, err := p.propose(newUser); err == nil || !strings.Contains(err.Error(), "in more than this change") {
			t.Errorf("a plan that does more than was proposed: %v, %+v", err, proposal)
		}
	}
}

// What somebody else has changed since a plan was made is left as it is.
func TestProposeStale(t *testing.T) {
	p := newProposing(t)
	proposal, err := p.propose(newUser)
	if err != nil {
		t.Fatal(err)
	}
	users := render.UsersFile(p.desk.host.Paths)
	if err := os.WriteFile(users, []byte("somebody else's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	outcome, err := p.apply(proposal.ID)
	if err != nil || outcome.Done || outcome.Kept != strings.Contains(p.file(), "walter") || outcome.Fault == "" {
		t.Errorf("%+v, %v", outcome, err)
	}
	if text, _ := os.ReadFile(users); string(text) != "somebody else's\n" {
		t.Error("it was overwritten")
	}
}

// A plan that was not applied leaves the description as it was, whether or not the page
// had changed anything before. While one is being applied, no other is.
func TestProposePutBack(t *testing.T) {
	p := newProposing(t)
	for _, c := range []web.Change{newUser, {Kind: web.SetQuota, User: "walter", Storage: "2GB"}} {
		was := p.file()
		proposal, err := p.propose(c)
		if err != nil {
			t.Fatal(err)
		}
		inVain := func() (*web.Outcome, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			p.desk.now = p.desk.now.Add(time.Minute)
			return p.desk.applyProposal(ctx, p.gate, "helpdesk", proposal.ID, p.code(p.desk.now))
		}
		other := p.lock(p.gate.dir)
		if o, err := inVain(); err == nil || !strings.Contains(strings.Join(hints(err), ""), "another change") || p.file() != was {
			t.Errorf("two at once: %+v, %v", o, err)
		}
		other.Release()
		other = p.lock(p.desk.host.Paths.State)
		if o, err := inVain(); err != nil || o.Done || o.Kept || p.file() != was {
			t.Errorf("%s was not applied: %+v, %v\n%s", c, o, err, p.file())
		}
		other.Release()
		if proposal, err = p.propose(c); err != nil {
			t.Fatal(err)
		}
		if o, err := p.apply(proposal.ID); err != nil || !o.Done || p.file() == was {
			t.Errorf("%s was applied: %+v, %v", c, o, err)
		}
	}
}

// A proposal that could not be written into the description was not tried, and can be.
func TestProposeUnwritten(t *testing.T) {
	p := newProposing(t)
	proposal, err := p.propose(newUser)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(p.desk.description, webChanges), 0o700); err != nil {
		t.Fatal(err)
	}
	if o, err := p.apply(proposal.ID); err == nil {
		t.Errorf("%+v", o)
	}
	if _, err := p.gate.proposal(proposal.ID, p.desk.now); err != nil {
		t.Error(err)
	}
}

// An apply that fails once the host is changed, as on a disk that is full, leaves the
// change in the description: the next apply by hand would undo it.
func TestProposeKept(t *testing.T) {
	for _, file := range []string{"generations/" + currentLink + "~", appliedFile, reconcile.PlansFile} {
		p := newProposing(t)
		proposal, err := p.propose(newUser)
		if err != nil {
			t.Fatal(err)
		}
		path, inTheWay := filepath.Join(p.desk.host.Paths.State, file), false
		p.desk.say = func(text string) {
			if strings.Contains(text, "changes made.") {
				inTheWay = true
				if err := errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(path, "x"), 0o700)); err != nil {
					t.Fatal(err)
				}
			}
		}
		o, err := p.apply(proposal.ID)
		if err != nil || !inTheWay || o.Done || !o.Kept || !strings.Contains(o.Fault, "web.json keeps the change") || !strings.Contains(p.file(), "walter") {
			t.Errorf("%s: %+v, %v\n%s", file, o, err, p.file())
		}
		if users, err := os.ReadFile(render.UsersFile(p.desk.host.Paths)); !strings.Contains(string(users), "walter") {
			t.Errorf("%s: the host is as it was: %v", file, err)
		}
	}
	for exit, want := range map[int][2]bool{ // not begun, begun
		exitDone: {true, true}, exitPartial: {true, true}, exitStale: {}, exitReturned: {},
		exitFailed: {false, true}, exitLocked: {false, true}, exitPending: {false, true}, exitInvalid: {false, true},
	} {
		if got := [2]bool{stays(exit, false), stays(exit, true)}; got != want {
			t.Errorf("%s: %v", exitMeanings[exit], got)
		}
	}
}

// A proposal that was not tried can be tried again: the way to it is in the answer, and not
// where its description is another one now.
func TestProposeLater(t *testing.T) {
	p := newProposing(t)
	proposal, err := p.propose(newUser)
	if err != nil {
		t.Fatal(err)
	}
	try := func(want string, again bool) {
		t.Helper()
		p.desk.now = p.desk.now.Add(time.Minute)
		token, err := p.gate.issue(p.desk.host.Web.Admins[0], p.desk.now)
		if err != nil {
			t.Fatal(err)
		}
		a := p.desk.answer(t.Context(), web.AdminRequest{Do: web.AdminApply, Token: token, Proposal: proposal.ID, Code: p.code(p.desk.now)})
		if !strings.Contains(a.Error, want) || (a.Proposal != nil) != again {
			t.Errorf("%+v", a)
		}
	}
	other := p.lock(p.gate.dir)
	try("another change is being applied", true)
	other.Release()
	if err := p.gate.remember("helpdesk", func(m *webMemory) error { m.Guesses, m.At = webGuesses, p.desk.now.Add(time.Minute); return nil }); err != nil {
		t.Fatal(err)
	}
	try("too many wrong", true)
	p.desk.now = p.desk.now.Add(time.Hour)
	p.write("more.cue", `hosts: "mail.example.org": keep: "14d"`)
	try("was edited", false)
}

func (p *proposing) lock(dir string) *reconcile.Lock {
	p.Helper()
	l, err := reconcile.TakeLock(p.Context(), dir, 0)
	if err != nil {
		p.Fatal(err)
	}
	return l
}

// A change of a user that has anything else changed along is refused.
func TestOnlyWebKinds(t *testing.T) {
	for kind, good := range map[string]bool{"maildir": true, "password-file": true, "unit": false, "file": false, "account": false} {
		change := reconcile.Change{Ref: reconcile.Ref{Kind: kind, Name: "x"}}
		if err := onlyWebKinds(&reconcile.Plan{Changes: []reconcile.Change{change}}, schema.Paths{State: "/s"}); (err == nil) != good {
			t.Errorf("%s: %v", kind, err)
		}
		change.Drift = &reconcile.Drift{}
		if err := onlyWebKinds(&reconcile.Plan{Changes: []reconcile.Change{change}}, schema.Paths{State: "/s"}); err == nil {
			t.Errorf("%s that somebody has edited", kind)
		}
	}
}

// Of files a change of a user may change the lists of users, and no other.
func TestOnlyWebFiles(t *testing.T) {
	for name, good := range map[string]bool{
		"/s/delivery.ndjson": true, "/s/delivery-virtual.ndjson": true, "/s/delivery-addresses": true, "/s/purge.ndjson": true,
		"/s/web.json": false, "/s/config.json": false, "/etc/cron.d/x": false, "/s/../s/purge.ndjson": false,
	} {
		change := reconcile.Change{Ref: reconcile.Ref{Kind: "file", Name: name}}
		if err := onlyWebKinds(&reconcile.Plan{Changes: []reconcile.Change{change}}, schema.Paths{State: "/s"}); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An admin is told what is wrong in words, of what was typed.
func TestProposeWords(t *testing.T) {
	p := newProposing(t)
	for _, c := range []struct{ user, storage, want string }{
		{"Erika Müller", "", `"Erika Müller" cannot have that name: it must be of letters, digits and _ . @ + -, the first a letter, digit or _`},
		{"erika", "5 gigs", `erika.quota.storage is no amount of storage: "5 gigs"`},
		{"vera", "", `there is a user "vera" already`},
		{"Vera", "", `there is a user "vera" already`},
	} {
		if _, err := p.propose(web.Change{Kind: web.AddUser, User: c.user, Password: "a long password", Storage: c.storage}); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v", c.user, err)
		} else if c.user == "Erika Müller" && len(hints(err)) > 0 {
			t.Errorf("%q", hints(err))
		}
	}
}

// Nobody gets mail that is somebody else's by a new name, nor what a former user has left.
func TestProposeMailOfOthers(t *testing.T) {
	p := newProposing(t)
	p.write("more.cue", `hosts: "mail.example.org": {
	deliver: {domains: ["example.org"], detail: "+"}
	users: {bob: password: hash: "`+someHash+`", "carl@example.org": password: hash: "`+someHash+`"}
}`)
	host := p.applyAll()
	host.Web, p.desk.host = p.desk.host.Web, host
	for name, whose := range map[string]string{"bob@example.org": "bob", "bob+lists": "bob", "bob+lists@example.org": "bob", "carl+x": "carl@example.org", "carl": "", "bob@example.net": ""} {
		_, err := p.propose(web.Change{Kind: web.AddUser, User: name, Password: "a long password"})
		if (err == nil) != (whose == "") || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("that of the user %q", whose)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []web.Change{newUser, {Kind: web.RemoveUser, User: "walter"}} {
		proposal, err := p.propose(c)
		if err != nil {
			t.Fatal(err)
		}
		if outcome, err := p.apply(proposal.ID); err != nil || !outcome.Done {
			t.Fatalf("%s: %+v, %v", c, outcome, err)
		}
		p.mail("walter", "new/1700000000.1.mail")
	}
	if _, err := p.propose(newUser); err == nil || !strings.Contains(err.Error(), "there is mail already") {
		t.Errorf("the mail of a former user: %v", err)
	}
}

// mail puts a file into the Maildir of a user, and gives its path.
func (p *proposing) mail(user, name string) string {
	p.Helper()
	path := filepath.Join(p.desk.host.Mail.Root, user, "Maildir", name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("mail"), 0o600)); err != nil {
		p.Fatal(err)
	}
	return path
}

// Where an apply that was rolled back has made the Maildir of a new user, that user can be
// proposed again, as long as there is nothing in it that the apply has not made.
func TestProposeAgain(t *testing.T) {
	p := newProposing(t)
	for _, c := range []web.Change{newUser, {Kind: web.RemoveUser, User: "walter"}} {
		proposal, err := p.propose(c)
		if err != nil {
			t.Fatal(err)
		}
		if outcome, err := p.apply(proposal.ID); err != nil || !outcome.Done {
			t.Fatalf("%s: %+v, %v", c, outcome, err)
		}
	}
	was := p.file()
	for _, name := range []string{"cur/x", ".Sent/new/x", "tmp/x", "mailstead/index.db", "courierimapuiddb", "file", ".Sent/maildirfolder", ".deep/er/still/x"} {
		path := p.mail("walter", name)
		if _, err := p.propose(newUser); err == nil || !strings.Contains(err.Error(), "there is mail already") {
			t.Errorf("with %s: %v", name, err)
		}
		os.Remove(path)
	}
	maildir := filepath.Join(p.desk.host.Mail.Root, "walter", "Maildir")
	if _, err := p.propose(newUser); err == nil {
		t.Error("directories that are deeper than any of a mailbox are taken")
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(maildir, ".deep")), os.WriteFile(filepath.Join(maildir, ".Sent", "maildirfolder"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	proposal, err := p.propose(newUser)
	if err != nil {
		t.Fatal(err)
	}
	path := p.mail("walter", "cur/1700000000.1.mail")
	if outcome, err := p.apply(proposal.ID); err != nil || outcome.Done || !strings.Contains(outcome.Fault, "there is mail already") || p.file() != was {
		t.Errorf("%+v, %v\n%s", outcome, err, p.file())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if proposal, err = p.propose(newUser); err != nil {
		t.Fatal(err)
	}
	if outcome, err := p.apply(proposal.ID); err != nil || !outcome.Done || !strings.Contains(p.file(), "walter") {
		t.Errorf("%+v, %v", outcome, err)
	}
}

// A name leads to no file but those of proposals.
func TestProposalNames(t *testing.T) {
	g, _ := gated(t)
	now := time.Now()
	data, err := json.Marshal(proposal{Proposal: web.Proposal{ID: "x", At: now}})
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Join(g.dir, "proposal-x"), 0o700), os.WriteFile(filepath.Join(g.dir, "other.json"), data, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	if p, err := g.proposal("x/../other", now); err == nil {
		t.Errorf("%+v", p)
	}
}

// What is no change of those that there are, or of others than users of the page.
func TestProposeRefused(t *testing.T) {
	p := newProposing(t)
	for _, c := range []web.Change{
		{}, {Kind: "listener", User: "x"}, {Kind: web.AddUser, User: "vera", Password: "a long password", Storage: ""},
		{Kind: web.AddUser, User: "short", Password: "short"}, {Kind: web.AddUser, User: "../etc", Password: "a long password"},
		{Kind: web.AddUser, User: "x\": {}, outbox: {command: \"/bin/sh\"}", Password: "a long password"},
		{Kind: web.AddUser, User: "walter", Password: "a long password", Storage: "much"},
		{Kind: web.RemoveUser, User: "vera"}, {Kind: web.SetPassword, User: "vera", Password: "a long password"},
		{Kind: web.SetQuota, User: "root", Storage: "1GB"}, {Kind: web.AddFolder, User: "vera", Folder: "x"},
	} {
		if proposal, err := p.propose(c); err == nil {
			t.Errorf("%+v: %s", c, proposal.Text)
		}
	}
	for _, id := range []string{"", "../key", "..%2fkey", strings.Repeat("A", 26), strings.Repeat("../", 9)} {
		if _, err := p.apply(id); err == nil || !strings.Contains(err.Error(), "no such proposal") {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := p.propose(web.Change{Kind: web.AddUser, User: "walter", Password: "a long password", Storage: "much"}); !strings.Contains(fmt.Sprint(err), `"much"`) {
		t.Errorf("an admin is not told what is wrong: %v", err)
	}
	p.write(webChanges, `{"hosts": {"mail.example.org": {"outbox": {}}}}`)
	if _, err := p.propose(newUser); err == nil {
		t.Error("a file that the page has not written was changed")
	}
	if names, _ := filepath.Glob(p.gate.proposalFile("*")); len(names) > 0 {
		t.Errorf("kept: %q", names)
	}
}

// FuzzWebAdmin has a page that was taken over say anything: without a token of the
// gate's nothing is answered but that it takes one.
func FuzzWebAdmin(f *testing.F) {
	f.Add(`{"do":"login","name":"helpdesk","password":"x","code":"1"}`)
	f.Add(`{"do":"apply","token":"eyJ9","proposal":"../key","code":"000000"}`)
	f.Add(`{"do":"propose","change":{"kind":"add-user","user":"x"}}`)
	f.Add(`{"do":"login","certificate":"AAAA"}`)
	state := f.TempDir()
	host := &schema.Host{Name: "mail.example.org", Paths: schema.Paths{State: state, Run: state}, Web: &schema.Web{Admins: []schema.WebAdmin{{Name: "helpdesk", Hash: "!", TOTPFile: state}}}}
	if err := recordApplied(f.Context(), &look{host: host, opts: desired.Options{Rootless: true}}, 0); err != nil {
		f.Fatal(err)
	}
	if err := os.Mkdir(render.WebDir(host.Paths), 0o700); err != nil {
		f.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, text string) {
		var c *said
		var err error
		oracle.Cost(t, len(text), func() {
			c = &said{Reader: strings.NewReader(text)}
			err = answerAdmin(t.Context(), c, state, log)
		})
		if err != nil {
			return
		}
		var a web.AdminAnswer
		if err := json.Unmarshal(c.answer, &a); err != nil {
			t.Fatalf("%v: %q", err, c.answer)
		}
		if a.Error == "" || a.Token != "" || a.Status != nil || a.Users != nil || a.Proposal != nil || a.Outcome != nil {
			t.Errorf("%q: %s", text, c.answer)
		}
	})
}

// said is a connection on which that was said.
type said struct {
	io.Reader
	answer []byte
}

func (s *said) Write(p []byte) (int, error) {
	s.answer = append(s.answer, p...)
	return len(p), nil
}

// There are never many proposals, and each goes in time.
func TestProposalsGo(t *testing.T) {
	g, _ := gated(t)
	now := time.Now()
	for i := range 3 * maxProposals {
		p := proposal{Proposal: web.Proposal{ID: fmt.Sprintf("%026d", i), At: now}}
		if err := g.keep(p, now); err != nil {
			t.Fatal(err)
		}
	}
	if names, _ := filepath.Glob(g.proposalFile("*")); len(names) > maxProposals {
		t.Errorf("%d are kept", len(names))
	}
	p := proposal{Proposal: web.Proposal{ID: strings.Repeat("A", 26), At: now}}
	if err := g.keep(p, now); err != nil {
		t.Fatal(err)
	}
	if _, err := g.proposal(p.ID, now); err != nil {
		t.Error(err)
	}
	if _, err := g.proposal(p.ID, now.Add(proposalLife+time.Second)); err == nil {
		t.Error("good for ever")
	}
}

// Each host of the description is shown by its names alone, the others as well, and a
// description that is wrong says where.
func TestWebHosts(t *testing.T) {
	p := newProposing(t)
	var users strings.Builder
	for i := range 60 {
		fmt.Fprintf(&users, "u%d: password: hash: %q\n", i, someHash)
	}
	p.write("other.cue", fmt.Sprintf(`hosts: "mx2.example.org": {
	listeners: {imap: {}, imaps: {address: "192.0.2.2", port: 993, tls: "implicit"}}
	tls: certificates: "mx2.example.org": selfSigned: {}
	users: {%s}
}`, &users))
	hosts, err := p.desk.hosts()
	if err != nil || len(hosts) != 2 {
		t.Fatalf("%+v, %v", hosts, err)
	}
	here, other := hosts[0], hosts[1]
	if !here.Here || here.All != 1 || here.Users[0] != "vera" || other.Here || other.Name != "mx2.example.org" || other.All != 60 || len(other.Users) != maxHostUsers {
		t.Errorf("%+v", hosts)
	}
	want := []web.Listener{{Name: "imap", Address: "*:143", TLS: "starttls"}, {Name: "imaps", Address: "192.0.2.2:993", TLS: "implicit"}}
	if !slices.Equal(other.Listeners, want) {
		t.Errorf("%+v", other.Listeners)
	}
	if text, _ := json.Marshal(hosts); strings.Contains(string(text), "$2b$") {
		t.Errorf("a hash is shown: %s", text)
	}
	p.write("other.cue", `hosts: "mx2.example.org": listeners: imap: port: 0`)
	if _, err := p.desk.hosts(); err == nil || !strings.Contains(err.Error(), "other.cue:1") {
		t.Errorf("%v", err)
	}
}

// Of proposals that are too many the oldest go, and one that nobody came back to goes with
// the next request, whatever that is: they have hashes of passwords in them.
func TestOldProposals(t *testing.T) {
	p := newProposing(t)
	now := time.Now()
	file := func(i int) string { return p.gate.proposalFile(fmt.Sprintf("%026d", i)) }
	for i := range 3 * maxProposals {
		if err := os.WriteFile(file(i), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration((i*7)%(3*maxProposals)) * time.Minute) // not in the order of their names
		if err := os.Chtimes(file(i), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.gate.keep(proposal{Proposal: web.Proposal{ID: "NEW"}}, now); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxProposals {
		_, err := os.Stat(file(i))
		if newest := (i*7)%(3*maxProposals) > 2*maxProposals; newest != (err == nil) {
			t.Errorf("%d: %v", i, err)
		}
	}
	p.desk.now = now.Add(proposalLife + 4*time.Hour)
	p.desk.answer(t.Context(), web.AdminRequest{Do: web.AdminStatus})
	if left, _ := filepath.Glob(p.gate.proposalFile("*")); len(left) > 0 {
		t.Errorf("there is still %q", left)
	}
}
