package auth

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// Remote judges a name with a password in place of users and directories: the
// servers behind a proxy. Guesses are counted and delayed all the same. Its methods are
// called from many goroutines.
type Remote interface {
	// Check gives a user, where the mail of one is elsewhere, or the code and text of a
	// refusal. An error says that nobody could be asked.
	Check(ctx context.Context, c *handoff.Credentials) (handoff.Verdict, error)
	// Server names who Check will ask; "" is nobody.
	Server(c *handoff.Credentials) string
	// Shared says whether many users come from an address: the guesses of one are no
	// reason to refuse the others.
	Shared(listener string, remote netip.Addr) bool
}

// remotes is the backends that a Remote is, one for each server: one that hangs holds
// up its own users alone.
type remotes struct {
	Remote
	limits Limits

	mu    sync.Mutex
	lines map[string]*queue // by server
}

// remote is one of them.
type remote struct {
	Remote
	waiting *queue
}

func newRemotes(r Remote, l Limits) *remotes {
	return &remotes{Remote: r, limits: l, lines: map[string]*queue{}}
}

// of gives the backend that is to judge.
func (r *remotes) of(c *handoff.Credentials) remote {
	server := r.Server(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.lines[server]
	if q == nil {
		q = newQueue(r.limits.Remote, r.limits.Queue)
		r.lines[server] = q
	}
	return remote{r.Remote, q}
}

func (r remote) line() *queue { return r.waiting }

// unchecked are codes of refusals that say nothing of the password (RFC 5530 §3).
var unchecked = []string{"UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG"}

func (r remote) check(ctx context.Context, c *handoff.Credentials) (config.User, finding) {
	v, err := r.Check(ctx, c)
	switch {
	case err != nil:
		return config.User{}, unavailable(err)
	case v.Elsewhere != "":
		return config.User{Name: c.User, Elsewhere: v.Elsewhere}, good
	case v.User != "":
		return config.User{Name: v.User}, good
	}
	return config.User{}, finding{reason: "refused by the server behind: " + v.Text, code: v.Code, text: v.Text, unchecked: slices.Contains(unchecked, v.Code)}
}

// pair is who tries, where. Of an address that many users share, each is somewhere
// of their own.
func (a *Auth) pair(c *handoff.Credentials) pair {
	p := a.guesses.pair(a.account(c), c.Remote)
	if c.Shared || a.remote != nil && a.remote.Shared(c.Listener, c.Remote) {
		p.source, p.shared = p.both, true
	}
	return p
}
