package auth

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// Question is a login that is to be explained and not made: no guess is counted,
// and nobody waits for the answer but who has asked.
type Question struct {
	User, Listener string
	Password       string     // "": backends are asked as far as they know users without
	Remote         netip.Addr // zero: nobody's in particular
	TLS            bool
}

// Step is one step on the way of a login.
type Step struct {
	Name string // "name", "limits", "app password", "users", "pam" or "directory"
	Of   string // which directory
	Came Came
	Seen string
	Down bool // whoever was asked could not answer
}

// Came is what has come of a step.
type Came int

// What can come of one.
const (
	OK     Came = iota // the way goes on
	Passed             // the next backend is asked
	Ends               // the way ends here
	Untold             // it could not be said, or only by a password
)

// finder is a backend that knows users without their passwords. What it finds is
// as for check; unasked says that it would have to have one.
type finder interface {
	find(ctx context.Context, c *handoff.Credentials) (config.User, finding)
}

// unasked is of a backend that says nothing of a user without a password.
var unasked = finding{reason: "it says nothing of a user without a password", code: "UNASKED", pass: true}

// Explain walks the way of a login from the name to the user. The row is that of the
// user, if somebody knows one.
func (a *Auth) Explain(ctx context.Context, q Question) (steps []Step, row config.User, known bool) {
	c := &handoff.Credentials{ID: "explained", Listener: q.Listener, User: q.User, Password: q.Password, Remote: q.Remote, TLS: q.TLS}
	steps = []Step{a.explainName(c)}
	c = a.table.Load().meant(c)
	if steps = append(steps, a.explainLimits(c)); steps[0].Came == Ends {
		return steps, row, false
	}
	t := a.table.Load()
	if app, ok := a.proving().app(c); ok {
		step := Step{Name: "app password", Seen: fmt.Sprintf("it is the app password %q", app.Name)}
		if !app.goodOn(q.Listener) {
			step.Came, step.Seen = Passed, fmt.Sprintf("it is the app password %q, which is good on %s alone", app.Name, strings.Join(app.Listeners, ", "))
		}
		row, known = a.User(c.User)
		if steps = append(steps, step); known && step.Came == OK {
			return steps, row, true
		}
	}
	asked, row, known := a.explainBackends(ctx, t, c)
	return append(steps, asked...), row, known
}

// explainBackends asks each backend in its turn.
func (a *Auth) explainBackends(ctx context.Context, t *table, c *handoff.Credentials) (steps []Step, row config.User, known bool) {
	backends := a.backends(t, c)
	if len(t.directories) > 0 && !directoryUser().MatchString(c.User) {
		steps = append(steps, Step{Name: "directory", Came: Passed, Seen: "no directory is asked about a name with such characters"})
	}
	for i, b := range backends {
		u, f := a.explainOne(ctx, b, c)
		step := Step{Name: "users", Seen: f.reason, Down: f.event() != refused.event()}
		switch b := b.(type) {
		case *pool:
			step.Name = "pam"
		case hashTable:
		case configured:
			step.Name, step.Of = "directory", b.config.Name
			step.Seen = strings.TrimPrefix(f.reason, "directory "+b.config.Name+": ")
		}
		step.Came = came(f, i == len(backends)-1)
		if f == good || f.code == unasked.code {
			step.Seen = proved(t, c, step.Name, f)
		}
		steps = append(steps, step)
		if f == good {
			if u.Directory == "" {
				u, _ = a.User(u.Name)
			} else if err := a.explainLearning(t, c, u); err != nil {
				steps = append(steps, Step{Name: "directory", Of: u.Directory, Came: Ends, Seen: err.Error()})
				return steps, row, false
			}
			return steps, u, true
		}
		if !f.pass || ctx.Err() != nil {
			row, known = a.whose(ctx, b, c)
			return steps, row, known
		}
	}
	row, known = a.User(c.User)
	return steps, row, known
}

// whose gives the user whom a backend has refused: there may be mail to look at.
func (a *Auth) whose(ctx context.Context, b backend, c *handoff.Credentials) (config.User, bool) {
	without := *c
	without.Password = ""
	if u, f := a.explainFind(ctx, b, &without); f == good {
		return u, true
	}
	return a.User(c.User)
}

// explainLearning keeps what a directory has said where the password was right, as a
// login does; without one it is no proof.
func (a *Auth) explainLearning(t *table, c *handoff.Credentials, u config.User) error {
	if c.Password == "" {
		return nil
	}
	return a.learn(t, c, u)
}

// explainOne asks one backend; it is not waited for a line that is full.
func (a *Auth) explainOne(ctx context.Context, b backend, c *handoff.Credentials) (config.User, finding) {
	if c.Password == "" {
		return a.explainFind(ctx, b, c)
	}
	if err := b.line().enter(ctx); err != nil {
		return config.User{}, unavailable(err)
	}
	defer b.line().leave()
	return b.check(ctx, c)
}

// explainFind asks one backend without a password.
func (a *Auth) explainFind(ctx context.Context, b backend, c *handoff.Credentials) (config.User, finding) {
	u, listed := a.table.Load().users[c.User]
	if d, ok := b.(configured); ok {
		if f, ok := d.directory.(finder); ok {
			return f.find(ctx, c)
		}
		return config.User{}, unasked
	}
	if !listed {
		return config.User{}, unknown
	}
	return u.row, good
}

// came is what a finding of a backend means for the way.
func came(f finding, last bool) Came {
	switch {
	case f == good:
		return OK
	case f.code == unasked.code:
		return Untold
	case f.pass && !last:
		return Passed
	}
	return Ends
}

// proved says what a backend has said for, or would have to be asked.
func proved(t *table, c *handoff.Credentials, step string, f finding) string {
	switch {
	case f != good:
		return f.reason
	case step == "pam" && c.Password == "":
		return "a user of the host, whose password PAM checks; it was not asked for"
	case step == "pam":
		return "PAM lets the user in"
	}
	with := "the password is right"
	if c.Password == "" {
		with = "there is such a user; the password was not asked for"
	}
	if u, ok := t.users[c.User]; ok && u.hash != nil {
		return fmt.Sprintf("%s (%s)", with, scheme(u))
	}
	return with
}

// scheme names that of a user's hash, and nothing else of it.
func scheme(u user) string {
	hash := u.row.Hash
	if u.verifier() != nil {
		return scramPlain
	}
	if name, _, ok := strings.Cut(strings.TrimPrefix(hash, "{"), "}"); ok && strings.HasPrefix(hash, "{") {
		return name
	}
	if parts := strings.SplitN(hash, "$", 3); len(parts) == 3 && parts[0] == "" {
		return "$" + parts[1] + "$"
	}
	return "crypt"
}

// explainName holds the name to what names may be, and looks for one that differs in
// capitals alone: here they count.
func (a *Auth) explainName(c *handoff.Credentials) Step {
	password := c.Password
	if password == "" {
		password = "x"
	}
	if err := sasl.Check(sasl.Credentials{User: c.User, Password: password}); err != nil {
		return Step{Name: "name", Came: Ends, Seen: err.Error()}
	}
	if user, master, ok := config.CutMaster(c.User); ok && len(a.proving().masters) > 0 {
		return Step{Name: "name", Came: Ends, Seen: fmt.Sprintf("it asks for the master %q to come in as %q: explain each of the two", master, user)}
	}
	if name := a.table.Load().called(c.User); name != c.User {
		return Step{Name: "name", Seen: fmt.Sprintf("but for capitals it is that of %q", name)}
	}
	return Step{Name: "name", Seen: "it is taken as it is written"}
}

// explainLimits says what is in force against the user, and against the address.
func (a *Auth) explainLimits(c *handoff.Credentials) Step {
	now, p, g := time.Now(), a.pair(c), a.guesses
	failed := int(g.accounts.level(p.account, now) + 0.5)
	seen := fmt.Sprintf("%d failed logins of the user in the last minute", failed)
	wait := g.accounts.until(p.account, now)
	if c.Remote.IsValid() {
		seen += fmt.Sprintf(", %d of the address", int(g.sources.level(p.source, now)+0.5))
	}
	if c.Remote.IsValid() {
		if reason := g.admit(p, now); reason != "" {
			wait = max(wait, g.sources.until(p.source, now), g.faults.until(p.both, now))
			return Step{Name: "limits", Came: Ends, Seen: fmt.Sprintf("%s: refused unheard for another %v (%s)", reason, wait.Round(time.Second), seen)}
		}
		if _, home := g.homes.get(p.both); home {
			seen += "; the user has logged in from there before"
			if !p.shared {
				seen += ", and is always heard"
			}
		}
		return Step{Name: "limits", Seen: seen}
	}
	if g.accounts.full(p.account, now) {
		return Step{Name: "limits", Came: Untold, Seen: fmt.Sprintf("too many failed logins of this user: for another %v only addresses are heard from which they have logged in before (%s)", wait.Round(time.Second), seen)}
	}
	return Step{Name: "limits", Seen: seen}
}
