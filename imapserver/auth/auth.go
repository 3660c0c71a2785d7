package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/sasl"
)

// errBusy says that more logins wait than may.
var errBusy = errors.New("too many logins at once")

// Options say how an Auth works.
type Options struct {
	Log     *slog.Logger
	Limits  Limits
	Helpers HelperSource // nil where no user logs in through PAM
	Remote  Remote       // judges in place of users and directories; nil: there is none
	// Changed is called when Mechanisms gives others than before for another reason
	// than Admit; it may be nil.
	Changed func()
}

// Auth checks credentials. Its methods may be called from many goroutines.
type Auth struct {
	log     *slog.Logger
	limits  Limits
	guesses *guesses
	table   atomic.Pointer[table]
	hashing *queue
	pool    *pool
	remote  *remotes
	changed func()

	known  *memory[string, config.User] // who has logged in that only a directory knows
	lately *lately

	updating    sync.Mutex   // held while the table is replaced, or a password in it
	directories []configured // those of table

	exchanges *exchanges
	logins    atomic.Pointer[logins]
	upgrading sync.Mutex     // held while a hash is made better
	aside     sync.WaitGroup // what is done in nobody's login
}

// New makes an Auth that knows no user yet.
func New(o Options) *Auth {
	n := o.Limits.Hashing
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	a := &Auth{
		log:     o.Log,
		changed: o.Changed,
		limits:  o.Limits,
		guesses: newGuesses(o.Limits),
		hashing: newQueue(n, o.Limits.Queue),
		pool:    newPool(o.Helpers, o.Limits, o.Log),
		known:   newMemory[string, config.User](o.Limits.Table),
		lately:  newLately(o.Log, o.Limits.Table),

		exchanges: newExchanges(),
	}
	if o.Remote != nil {
		a.remote = newRemotes(o.Remote, o.Limits)
	}
	nothing, _ := openKeep("", o.Log)
	a.logins.Store(&logins{keep: nothing})
	none, _ := newTable(nil, a.proving())
	a.table.Store(none)
	return a
}

// Admit goes over to who may come in, and to what the configuration says of how they
// prove who they are: users, those whom its directories know, which are asked in their
// order, and masters, who may come in as any of them. After an error all is as before.
// It forgets nothing, so that what was before can be brought back until Settled.
func (a *Auth) Admit(c *config.Config, masters, users []config.User) error {
	a.updating.Lock()
	defer a.updating.Unlock()
	l, err := a.newLogins(c, masters)
	if err != nil {
		return err
	}
	return a.replace(l, users, c.Directories)
}

// replace goes over to l and the users that are looked at by it. The caller holds
// updating.
func (a *Auth) replace(l *logins, users []config.User, directories []config.Directory) error {
	t, err := newTable(users, l)
	if err != nil {
		return err
	}
	all, gone, err := renewDirectories(a.directories, directories, a.limits, a.log)
	if err != nil {
		return err
	}
	for _, d := range all {
		t.directories = append(t.directories, d)
	}
	a.prove(l)
	a.directories = all
	a.table.Store(t)
	for _, d := range gone {
		d.close()
	}
	return nil
}

// Settled says that what Admit had last is not taken back. What the settings before it
// alone had a use for is forgotten.
func (a *Auth) Settled() {
	a.updating.Lock()
	defer a.updating.Unlock()
	t := a.table.Load()
	l := a.proving()
	l.keep.prune(func(user string) string { return t.users[user].row.Hash })
	listed := func(user string) bool { _, ok := t.users[user]; return ok }
	for _, user := range l.keep.dropApps(listed, a.mayKnow) {
		a.log.Info("app passwords dropped with their user", "user", user)
	}
	a.known.filter(func(_ string, u config.User) bool { return admitted(a.directories, u) })
	if a.lately.of.filter(func(user string, _ []Login) bool { return listed(user) || a.mayKnow(user) }) {
		a.lately.soon()
	}
}

// Limit goes over to what the configuration says of the limits, by name.
func (a *Auth) Limit(values map[string]int64) {
	a.guesses.limit(limit.Set{Auth: a.limits}.With(values).Auth)
}

// mayKnow tells whether a directory is asked about users of such a name. The caller
// holds updating.
func (a *Auth) mayKnow(user string) bool {
	return len(a.directories) > 0 && directoryUser().MatchString(user)
}

// admitted says whether a directory may still say what one has said of a user.
func admitted(directories []configured, u config.User) bool {
	return slices.ContainsFunc(directories, func(d configured) bool { return d.config.Admit(u) == nil })
}

// Close ends the helpers and the connections to directories. Logins that are under
// way fail.
func (a *Auth) Close() {
	a.pool.close(true)
	a.aside.Wait()
	a.proving().keep.flush()
	a.lately.flush()
	a.updating.Lock()
	defer a.updating.Unlock()
	for _, d := range a.directories {
		d.close()
	}
}

// Common gives a secret of that name for processes which have to agree on one. It is
// the same after a restart, as what is kept of logins is.
func (a *Auth) Common(name string) []byte {
	m := hmac.New(sha256.New, a.proving().keep.secret())
	m.Write([]byte("common\x00" + name))
	return m.Sum(nil)
}

// Renew replaces the helpers: their service or program has changed.
func (a *Auth) Renew() { a.pool.close(false) }

// finding is what a check has found. reason is for the log and "" for a good
// login; code and text go to the client.
type finding struct {
	reason, code, text string
	pass               bool // the next backend may know the user
	unchecked          bool // the password may be right for all that
}

// The findings that tell the client no more than that.
var (
	good    = finding{}
	refused = finding{code: "AUTHENTICATIONFAILED", text: "Authentication failed."}
	unknown = finding{reason: "no such user", code: refused.code, text: refused.text, pass: true}
	// unlisted is of a backend that does not say whether there is such a user.
	unlisted = finding{code: refused.code, text: refused.text, pass: true}
)

func (f finding) because(reason string) finding {
	f.reason = reason
	return f
}

// event names a refusal in the log. fail2ban bans addresses for the first, and
// nobody is to be banned while a directory is down.
func (f finding) event() string {
	if f.code == "UNAVAILABLE" || f.unchecked {
		return "login not checked"
	}
	return "login failed"
}

// unavailable is for faults of our own. The client should come back later, and
// not ask its user for another password.
func unavailable(err error) finding {
	return finding{reason: err.Error(), code: "UNAVAILABLE", text: "Temporary failure. Try again later."}
}

// Authenticate is handoff.Authenticator's.
func (a *Auth) Authenticate(ctx context.Context, c *handoff.Credentials) handoff.Verdict {
	if c.Exchange != nil {
		return a.exchange(ctx, c)
	}
	start := time.Now()
	c = a.table.Load().meant(c)
	p := a.pair(c)
	e, f := a.judge(ctx, c, p)
	return a.answer(ctx, c, start, p, e, f)
}

// entrant is a good login: whose mail it is for, and, for the log, who has come in or
// by what, where that is not the user by their password. asked is the name by which a
// directory knows them, elsewhere where a Remote says that the mail is.
type entrant struct{ user, by, asked, elsewhere string }

// answer says what was found; a refusal lasts its time from start.
func (a *Auth) answer(ctx context.Context, c *handoff.Credentials, start time.Time, p pair, e entrant, f finding) handoff.Verdict {
	if f == good {
		a.guesses.right(p, time.Now())
		u, _ := a.User(e.user)
		if u.Elsewhere = cmp.Or(e.elsewhere, u.Elsewhere); u.Elsewhere != "" {
			a.log.LogAttrs(ctx, slog.LevelInfo, "login referred",
				slog.String("user", e.user), slog.Any("addr", c.Remote), slog.String("session", c.ID), slog.String("to", u.Elsewhere))
			return handoff.Verdict{Elsewhere: u.Elsewhere, Text: "Your mail is on another server."}
		}
		a.lately.note(c, e, time.Now())
		return handoff.Verdict{User: e.user, By: e.by}
	}
	attrs := []slog.Attr{
		// The address first: fail2ban reads it where no client can have written.
		slog.Any("addr", c.Remote), slog.String("user", shortened(c.User)), slog.String("session", c.ID),
		slog.String("mechanism", c.Mechanism), slog.Bool("tls", c.TLS), slog.String("reason", f.reason),
	}
	if c.For != "" {
		attrs = append(attrs, slog.String("for", shortened(c.For)))
	}
	a.log.LogAttrs(ctx, slog.LevelWarn, f.event(), attrs...)
	if !c.AtOnce {
		a.wait(ctx, start, p)
	}
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
func (a *Auth) judge(ctx context.Context, c *handoff.Credentials, p pair) (e entrant, f finding) {
	if err := sasl.Check(sasl.Credentials{User: c.User, Password: c.Password}); err != nil {
		return entrant{}, refused.because(err.Error())
	}
	if f := a.admit(p); f != good {
		return entrant{}, f
	}
	if a.asMaster(c) {
		e, f = a.byMaster(ctx, c, p)
	} else if c.For != "" && c.For != c.User {
		return entrant{}, refused.because(sasl.ErrAuthzid.Error())
	} else {
		e, f = a.byPassword(ctx, c, p)
	}
	if f.code == refused.code {
		a.guesses.wrong(p, c.Password, time.Now())
	}
	return e, f
}

// byPassword judges a user with a password of theirs.
func (a *Auth) byPassword(ctx context.Context, c *handoff.Credentials, p pair) (entrant, finding) {
	t := a.table.Load()
	if by, ok := a.byApp(c); ok {
		if _, known := a.User(c.User); known {
			return entrant{user: c.User, by: by}, good
		}
	}
	var u config.User
	f := unknown
	for _, b := range a.backends(t, c) {
		if u, f = a.ask(ctx, b, c, p); !f.pass {
			break
		}
	}
	if f == unknown {
		a.known.forget(c.User)
	}
	e := entrant{user: u.Name, elsewhere: u.Elsewhere}
	if f == good && u.Directory != "" {
		e.asked = c.User
		if err := a.learn(t, c, u); err != nil {
			f = unavailable(err)
		}
	}
	return e, f
}

// ask has a backend check the credentials once it is their turn.
func (a *Auth) ask(ctx context.Context, b backend, c *handoff.Credentials, p pair) (config.User, finding) {
	if err := b.line().enter(ctx); err != nil {
		return config.User{}, unavailable(err)
	}
	defer b.line().leave()
	// Once more: what has come while it waited counts too, so many tries at once
	// gain nothing.
	if f := a.admit(p); f != good {
		return config.User{}, f
	}
	return b.check(ctx, c)
}

// admit refuses unheard who has guessed too often.
func (a *Auth) admit(p pair) finding {
	if reason := a.guesses.admit(p, time.Now()); reason != "" {
		return finding{reason: reason, code: "LIMIT", text: "Too many failed logins. Try again later.", unchecked: reason == faulty}
	}
	return good
}

// Fault notes that a session of a user has ended by a fault of ours.
func (a *Auth) Fault(user string, remote netip.Addr) {
	if remote.IsValid() {
		a.guesses.fault(a.guesses.pair(user, remote), time.Now())
	}
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
