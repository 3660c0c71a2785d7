package auth

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mailstead/imapserver/config"
)

// logins is how users prove who they are, as the description has it. It does not
// change but for what is kept.
type logins struct {
	config      config.Logins
	keep        *keep
	masters     map[string]Hash
	dummy       Hash // the work of a master whom there is not
	issuer      *issuer
	authorities map[string]authority // by listener
	noPlus      map[string]bool      // by listener: SCRAM with channel binding is switched off
}

// proving is the logins in force. Before Admit nobody proves anything but by the
// password that the table has, and nothing is kept.
func (a *Auth) proving() *logins { return a.logins.Load() }

// newLogins makes what the configuration says of how users prove who they are, and of
// those who may come in as any of them. What is kept is that of the logins in force,
// unless it is to be in another directory.
func (a *Auth) newLogins(c *config.Config, masters []config.User) (*logins, error) {
	l := &logins{masters: map[string]Hash{}, noPlus: map[string]bool{}}
	if c.Logins != nil {
		l.config = *c.Logins
	}
	for _, m := range masters {
		h, err := ParseHash(m.Hash)
		if err != nil {
			return nil, fmt.Errorf("master %q: %w", m.Name, err)
		}
		l.masters[m.Name], l.dummy = h, h
	}
	var err error
	if l.authorities, err = authorities(c.Listeners); err != nil {
		return nil, err
	}
	for _, each := range c.Listeners {
		l.noPlus[each.Name] = slices.ContainsFunc(each.Off, func(name string) bool { return strings.EqualFold(name, "AUTH="+scramPlus) })
	}
	l.issuer = newIssuer(l.config.Issuer, a.proving().issuer, a.log)
	if l.keep = a.proving().keep; l.config.Keep != l.keep.dir {
		if l.keep, err = openKeep(l.config.Keep, a.log); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// prove goes over to l.
func (a *Auth) prove(l *logins) {
	if old := a.proving(); l.keep != old.keep {
		old.keep.flush()
		a.lately.keepIn(l.keep.dir, time.Now())
	}
	a.logins.Store(l)
}

// hashOf gives the hash that counts for a row: what it has become, or its own.
func (l *logins) hashOf(row config.User) (Hash, error) {
	own, err := ParseHash(row.Hash, l.config.Weak...)
	if err != nil {
		return own, err
	}
	if now := l.keep.hash(row.Name, row.Hash); now != row.Hash {
		if h, err := ParseHash(now); err == nil {
			return h, nil
		}
	}
	return own, nil
}
