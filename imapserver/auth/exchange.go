package auth

import (
	"cmp"
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// maxExchanges bounds those that go on at once; exchangeLife is how long the
// client may take over one response. The login allows a connection one exchange,
// and less time for all of it.
const (
	maxExchanges = 1 << 14
	exchangeLife = time.Minute
)

// exchanges is those that wait for the client's next response, by a name that
// nobody can guess and that is good once.
type exchanges struct {
	mu      sync.Mutex
	waiting map[string]*list.Element // of order
	order   list.List                // of pending, the oldest first
}

type pending struct {
	sasl.Mechanism
	name, id, mechanism string // its own, of the connection, and what it is
	since               time.Time
}

func newExchanges() *exchanges { return &exchanges{waiting: map[string]*list.Element{}} }

// put keeps an exchange until take, and forgets what nobody has come back to.
func (e *exchanges) put(x pending, now time.Time) (name string) {
	x.name, x.since = rand.Text(), now
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting[x.name] = e.order.PushBack(x)
	for f := e.order.Front(); len(e.waiting) > maxExchanges || now.Sub(f.Value.(pending).since) > exchangeLife; f = e.order.Front() {
		delete(e.waiting, e.order.Remove(f).(pending).name)
	}
	return x.name
}

// take gives an exchange back to the connection that it is of, once.
func (e *exchanges) take(c *handoff.Credentials, now time.Time) (pending, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.waiting[c.Exchange.ID]
	if f == nil {
		return pending{}, false
	}
	delete(e.waiting, c.Exchange.ID)
	x := e.order.Remove(f).(pending)
	return x, x.id == c.ID && x.mechanism == c.Mechanism && now.Sub(x.since) <= exchangeLife
}

// exchange takes one response in a mechanism that is driven here.
func (a *Auth) exchange(ctx context.Context, c *handoff.Credentials) handoff.Verdict {
	start := time.Now()
	x, ok := a.continued(c, start)
	if !ok {
		return handoff.Verdict{Code: "CANNOT", Text: "There is no such mechanism here."}
	}
	if c.Exchange.Cancelled {
		return handoff.Verdict{}
	}
	challenge, done, err := x.Next(c.Exchange.Response)
	asked, creds := *c, x.Credentials()
	asked.User, asked.Password, asked.For = creds.User, creds.Password, creds.For
	who := a.table.Load().meant(&asked)
	p := a.guesses.pair(who.User, c.Remote)
	tried := shortened(cmp.Or(who.For, who.User))
	if errors.Is(err, sasl.ErrSyntax) {
		return handoff.Verdict{Syntax: true, Text: "The " + err.Error() + ".", Tried: tried}
	}
	// Before anything is told of the response: too many at once gain nothing.
	f := a.admit(p)
	switch {
	case f != good:
	case errors.Is(err, errNoKeys):
		f = unavailable(err)
	case err != nil:
		f = refused.because(a.reason(who.User, err))
		a.noteWrong(p, who, err)
	case who.For != "" && who.For != who.User:
		f = refused.because(sasl.ErrAuthzid.Error())
	case done && !a.mayEnter(who.User):
		f = refused.because("there is no such user here")
	case !done:
		return handoff.Verdict{Exchange: a.exchanges.put(x, start), Challenge: string(challenge), Tried: tried}
	}
	v := a.answer(ctx, who, start, p, entrant{user: who.User}, f)
	if v.User == "" {
		v.Tried = tried
	}
	return v
}

// Mechanisms is handoff.Authenticator's.
func (a *Auth) Mechanisms(listener string) []string { return a.offered(a.proving(), listener) }

func (a *Auth) offered(l *logins, listener string) []string {
	var names []string
	// A user of a directory has no verifier that is known here.
	if t := a.table.Load(); t.like.Load().scram && len(t.directories) == 0 {
		names = append(names, scramPlus, scramPlain)
	}
	if l.authorities[listener].roots != nil {
		names = append(names, "EXTERNAL")
	}
	if l.issuer != nil {
		names = append(names, oauthBearer, xoauth2)
	}
	return names
}

// continued gives the exchange that a response is of, or a new one.
func (a *Auth) continued(c *handoff.Credentials, now time.Time) (pending, bool) {
	if c.Exchange.ID != "" {
		return a.exchanges.take(c, now)
	}
	l := a.proving() // once: what is offered by it is there
	if !slices.Contains(a.offered(l, c.Listener), c.Mechanism) {
		return pending{}, false
	}
	return pending{Mechanism: a.mechanism(l, c), id: c.ID, mechanism: c.Mechanism}, true
}

// mechanism begins an exchange of one of those that are offered.
func (a *Auth) mechanism(l *logins, c *handoff.Credentials) sasl.Mechanism {
	switch c.Mechanism {
	case "EXTERNAL":
		return a.external(l, c)
	case oauthBearer, xoauth2:
		return l.issuer.bearer(c)
	}
	return a.scram(c)
}

// noteWrong takes note of what a guess would look like: a proof that is wrong, and a
// token that is, whose digest counts once like that of a password.
func (a *Auth) noteWrong(p pair, who *handoff.Credentials, err error) {
	switch {
	case errors.Is(err, sasl.ErrProof):
		a.guesses.wrong(p, string(who.Exchange.Response), time.Now())
	case who.Password != "":
		a.guesses.wrong(p, who.Password, time.Now())
	}
}

// mayEnter tells whether there is such a user at all: others say who it is, and know
// people who have no mail here.
func (a *Auth) mayEnter(user string) bool {
	_, ok := a.User(user)
	return ok
}

// reason is an error of a mechanism for the log, which may know more than the
// client.
func (a *Auth) reason(user string, err error) string {
	if _, exists := a.table.Load().users[user]; !exists && errors.Is(err, sasl.ErrProof) {
		return "no such user"
	}
	return err.Error()
}
