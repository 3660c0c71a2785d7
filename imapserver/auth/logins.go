package auth

import (
	"fmt"

	"mailstead/imapserver/config"
)

// logins is how users prove who they are, as the description has it; nil is by
// passwords alone, and nothing is kept. It does not change but for what is kept.
type logins struct {
	config  config.Logins
	keep    *keep
	masters map[string]Hash
	dummy   Hash // the work of a master whom there is not
}

// Prove goes over to what the description says of how users prove who they are,
// and to those who may come in as any of them. It comes before Update, which looks
// at it; after an error the old one is in force.
func (a *Auth) Prove(c *config.Logins, masters []config.User) error {
	if c == nil {
		if old := a.logins.Swap(nil); old != nil {
			old.keep.flush()
		}
		return nil
	}
	l := &logins{config: *c, masters: map[string]Hash{}}
	for _, m := range masters {
		h, err := ParseHash(m.Hash)
		if err != nil {
			return fmt.Errorf("master %q: %w", m.Name, err)
		}
		l.masters[m.Name], l.dummy = h, h
	}
	if old := a.logins.Load(); old != nil && old.config.Keep == c.Keep {
		l.keep = old.keep
	} else {
		if old != nil {
			old.keep.flush()
		}
		l.keep = openKeep(c.Keep, a.log)
	}
	a.logins.Store(l)
	return nil
}

// weak gives the schemes that are accepted although they are weak.
func (l *logins) weak() []string {
	if l == nil {
		return nil
	}
	return l.config.Weak
}

// hashOf gives the hash that counts for a row: what it has become, or its own.
func (l *logins) hashOf(row config.User) (Hash, error) {
	own, err := ParseHash(row.Hash, l.weak()...)
	if err != nil || l == nil {
		return own, err
	}
	if now := l.keep.hash(row.Name, row.Hash); now != row.Hash {
		if h, err := ParseHash(now); err == nil {
			return h, nil
		}
	}
	return own, nil
}
