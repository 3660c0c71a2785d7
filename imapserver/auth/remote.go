package auth

import (
	"context"
	"net/netip"

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
	// Shared says whether many users come from an address: the guesses of one are no
	// reason to refuse the others.
	Shared(listener string, remote netip.Addr) bool
}

// remote is the backend that a Remote is.
type remote struct {
	Remote
	waiting *queue
}

func newRemote(r Remote, l Limits) *remote { return &remote{r, newQueue(l.Remote, l.Queue)} }

func (r *remote) line() *queue { return r.waiting }

func (r *remote) check(ctx context.Context, c *handoff.Credentials) (config.User, finding) {
	v, err := r.Check(ctx, c)
	switch {
	case err != nil:
		return config.User{}, unavailable(err)
	case v.Elsewhere != "":
		return config.User{Name: c.User, Elsewhere: v.Elsewhere}, good
	case v.User != "":
		return config.User{Name: v.User}, good
	}
	return config.User{}, finding{reason: "refused by the server behind: " + v.Text, code: v.Code, text: v.Text}
}

// pair is who tries, where. Of an address that many users share, each is somewhere
// of their own.
func (a *Auth) pair(c *handoff.Credentials) pair {
	p := a.guesses.pair(a.account(c), c.Remote)
	if a.remote != nil && a.remote.Shared(c.Listener, c.Remote) {
		p.source = p.both
	}
	return p
}
