package auth

import (
	"net/netip"
	"slices"
	"time"

	"mailstead/imapserver/handoff"
)

// Web is the listener of Credentials that come from the web page: no listener can have
// the name. App passwords are not good there, since they are for one program each, nor
// are masters: what users do there lasts.
const Web = "(web)"

// Of how many users logins are remembered, and how many of each. They are gone when
// the process ends: the log has them all.
const (
	maxLately = 1 << 14
	perUser   = 8
)

// Login is a user's login, or several of one program: by the same listener, address
// and proof.
type Login struct {
	Listener  string
	Remote    netip.Addr
	Mechanism string
	By        string
	Last      time.Time
	Count     int
}

// noteLogin remembers a good login.
func (a *Auth) noteLogin(c *handoff.Credentials, e entrant, now time.Time) {
	l := Login{Listener: c.Listener, Remote: c.Remote.Unmap(), Mechanism: c.Mechanism, By: e.by, Last: now, Count: 1}
	a.lately.update(e.user, now, func(old []Login) []Login {
		logins := make([]Login, 0, perUser)
		for _, o := range old {
			if o.Listener == l.Listener && o.Remote == l.Remote && o.Mechanism == l.Mechanism && o.By == l.By {
				l.Count += o.Count
			} else if len(logins) < perUser-1 {
				logins = append(logins, o)
			}
		}
		return slices.Insert(logins, 0, l)
	})
}

// Lately gives the last logins of a user since this process began, the latest first.
func (a *Auth) Lately(user string) []Login {
	logins, _ := a.lately.get(user)
	return logins
}
