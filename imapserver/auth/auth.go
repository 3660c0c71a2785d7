package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// errBusy says that more logins wait than may.
var errBusy = errors.New("too many logins at once")

// Options say how an Auth works.
type Options struct {
	Log     *slog.Logger
	Limits  Limits
	Helpers HelperSource // nil where no user logs in through PAM
}

// Auth checks credentials. Its methods may be called from many goroutines.
type Auth struct {
	log     *slog.Logger
	limits  Limits
	guesses *guesses
	table   atomic.Pointer[table]
	hashing *queue
	pool    *pool
}

// New makes an Auth that knows no user yet.
func New(o Options) *Auth {
	n := o.Limits.Hashing
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	a := &Auth{
		log:     o.Log,
		limits:  o.Limits,
		guesses: newGuesses(o.Limits),
		hashing: newQueue(n, o.Limits.Queue),
		pool:    newPool(o.Helpers, o.Limits, o.Log),
	}
	a.table.Store(&table{})
	return a
}

// Update replaces the table of users. After an error the old one is in force.
func (a *Auth) Update(users []config.User) error {
	t, err := newTable(users)
	if err != nil {
		return err
	}
	a.table.Store(t)
	return nil
}

// Close ends the helpers. Logins that are under way fail.
func (a *Auth) Close() { a.pool.close(true) }

// Renew replaces the helpers: their service or program has changed.
func (a *Auth) Renew() { a.pool.close(false) }

// Mechanisms is handoff.Authenticator's.
func (a *Auth) Mechanisms(string) []string { return nil }

// finding is what a check has found. reason is for the log and "" for a good
// login; code and text go to the client.
type finding struct {
	reason, code, text string
}

// The findings that tell the client no more than that.
var (
	good    = finding{}
	refused = finding{code: "AUTHENTICATIONFAILED", text: "Authentication failed."}
)

func (f finding) because(reason string) finding {
	f.reason = reason
	return f
}

// unavailable is for faults of our own. The client should come back later, and
// not ask its user for another password.
func unavailable(err error) finding {
	return finding{err.Error(), "UNAVAILABLE", "Temporary failure. Try again later."}
}

// Authenticate is handoff.Authenticator's.
func (a *Auth) Authenticate(ctx context.Context, c *handoff.Credentials) handoff.Verdict {
	if c.Exchange != nil {
		return handoff.Verdict{Code: "CANNOT", Text: "There is no such mechanism here."}
	}
	start := time.Now()
	p := a.guesses.pair(c)
	f := a.judge(ctx, c, p)
	if f == good {
		a.guesses.right(p, time.Now())
		if url := a.table.Load().users[c.User].elsewhere; url != "" {
			a.log.LogAttrs(ctx, slog.LevelInfo, "login referred",
				slog.String("user", c.User), slog.Any("addr", c.Remote), slog.String("session", c.ID), slog.String("to", url))
			return handoff.Verdict{Elsewhere: url, Text: "Your mail is on another server."}
		}
		return handoff.Verdict{User: c.User}
	}
	a.log.LogAttrs(ctx, slog.LevelWarn, "login failed",
		slog.String("user", shortened(c.User)), slog.Any("addr", c.Remote), slog.String("session", c.ID),
		slog.String("mechanism", c.Mechanism), slog.Bool("tls", c.TLS), slog.String("reason", f.reason))
	a.wait(ctx, start, p)
	return handoff.Verdict{Code: f.code, Text: f.text}
}

// shortened is a name for the log, whatever a client has made of it.
func shortened(name string) string {
	if len(name) > sasl.MaxUser {
		return name[:sasl.MaxUser] + "..."
	}
	return name
}

// judge finds whether the credentials are good and takes note of it.
func (a *Auth) judge(ctx context.Context, c *handoff.Credentials, p pair) finding {
	if err := sasl.Check(sasl.Credentials{User: c.User, Password: c.Password}); err != nil {
		return refused.because(err.Error())
	}
	if f := a.admit(p); f != good {
		return f
	}
	t := a.table.Load()
	u, exists := t.users[c.User]
	queue := a.hashing
	if u.pam {
		queue = a.pool.queue
	}
	if err := queue.enter(ctx); err != nil {
		return unavailable(err)
	}
	defer queue.leave()
	// Once more: what has come while it waited counts too, so many tries at once
	// gain nothing.
	if f := a.admit(p); f != good {
		return f
	}
	f := a.check(ctx, c, t, u, exists)
	if f.code == refused.code {
		a.guesses.wrong(p, c.Password, time.Now())
	}
	return f
}

// admit refuses unheard who has guessed too often.
func (a *Auth) admit(p pair) finding {
	if reason := a.guesses.admit(p, time.Now()); reason != "" {
		return finding{reason, "LIMIT", "Too many failed logins. Try again later."}
	}
	return good
}

// check asks the backend that the user belongs to. For a user that there is
// not, it does the work that most of the others cost.
func (a *Auth) check(ctx context.Context, c *handoff.Credentials, t *table, u user, exists bool) finding {
	if u.pam {
		return a.pool.check(ctx, c)
	}
	hash := u.hash
	if !exists {
		hash = t.dummy
	}
	right := hash.verify != nil && hash.Verify(c.Password)
	switch {
	case !exists:
		return refused.because("no such user")
	case !right:
		return refused.because("wrong password")
	}
	return good
}

// wait lasts from start for as long as a refusal of the source takes. What a
// check takes beyond that is rounded up, so that it tells nothing either.
func (a *Auth) wait(ctx context.Context, start time.Time, p pair) {
	d := a.guesses.delay(p.source, start)
	if passed := time.Since(start); passed > d && d > 0 {
		d *= (passed + d - 1) / d
	}
	t := time.NewTimer(time.Until(start.Add(d)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// table is the users as they log in; it does not change.
type table struct {
	users map[string]user
	dummy Hash // of the cost that most hashes have; its verify is nil where there are none
}

type user struct {
	hash      Hash
	pam       bool
	elsewhere string // an IMAP URL
}

func newTable(users []config.User) (*table, error) {
	t := &table{users: make(map[string]user, len(users))}
	costs := map[string]int{}
	var faults []error
	for _, u := range users {
		if u.Hash == "" {
			t.users[u.Name] = user{pam: true, elsewhere: u.Elsewhere}
			continue
		}
		h, err := ParseHash(u.Hash)
		if err != nil {
			faults = append(faults, fmt.Errorf("user %q: %w", u.Name, err))
			continue
		}
		t.users[u.Name] = user{hash: h, elsewhere: u.Elsewhere}
		if costs[h.cost]++; t.dummy.verify == nil || costs[h.cost] > costs[t.dummy.cost] {
			t.dummy = h
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return t, nil
}

// queue lets n run at once and max wait.
type queue struct {
	slots   chan struct{}
	waiting atomic.Int64
	max     int64
}

func newQueue(n, max int) *queue {
	return &queue{slots: make(chan struct{}, n), max: int64(max)}
}

// enter waits for a slot, which leave gives back.
func (q *queue) enter(ctx context.Context) error {
	defer q.waiting.Add(-1)
	if q.waiting.Add(1) > q.max {
		return errBusy
	}
	select {
	case q.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("login given up while it waited: %w", ctx.Err())
	}
}

func (q *queue) leave() { <-q.slots }
