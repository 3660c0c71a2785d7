package auth

import (
	"context"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// parted says for whom somebody asks to come in, and who that is: by PLAIN's
// authzid, or by a name such as "alice*admin". ok is false for whoever asks for
// themselves.
func parted(c *handoff.Credentials) (user, master string, ok bool) {
	if c.For != "" && c.For != c.User {
		return c.For, c.User, true
	}
	return config.CutMaster(c.User)
}

// asMaster tells whether somebody asks to come in as another, and there are masters.
func (a *Auth) asMaster(c *handoff.Credentials) bool {
	_, _, other := parted(c)
	return other && len(a.proving().masters) > 0
}

// account is whose password a guess is at: that of a master, whomever they would come
// in as, or each user would give those who guess it another quota.
func (a *Auth) account(c *handoff.Credentials) string {
	if _, master, _ := parted(c); a.asMaster(c) {
		return config.MasterMark + master
	}
	return c.User
}

// byMaster judges a master who comes in as a user. Whether there is such a user is
// told to whom the password was right for alone. Nobody comes in as a master, not
// even as a user of a master's name: their mail may reset what makes them one.
func (a *Auth) byMaster(ctx context.Context, c *handoff.Credentials, p pair) (e entrant, f finding) {
	user, master, _ := parted(c)
	l := a.proving()
	if err := a.hashing.enter(ctx); err != nil {
		return e, unavailable(err)
	}
	defer a.hashing.leave()
	if f := a.admit(p); f != good {
		return e, f
	}
	hash, exists := l.masters[master]
	if !exists {
		hash = l.dummy
	}
	right := hash.verify != nil && hash.Verify(c.Password)
	_, known := a.User(user)
	_, other := l.masters[user]
	switch {
	case !exists:
		f = refused.because("no such master")
	case !right:
		f = refused.because("wrong password of a master")
	case c.Listener == Web:
		f = refused.because("a master has no page of a user's")
	case other:
		f = refused.because("nobody comes in as a master")
	case !known:
		f = refused.because("the master is right, but there is no such user")
	default:
		return entrant{user: user, by: "master " + master}, good
	}
	return e, f
}
