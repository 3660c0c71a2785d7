package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"mailstead/imapserver/config"
	"mailstead/imapserver/sasl"
)

// What an argon2id hash that is made here costs: what hash-password makes.
const (
	argon2Memory = 19456 // KiB
	argon2Passes = 2
)

// upgrade makes a better hash of a password that has just been found right, where
// the description asks for one. It takes its turn among the hashes, one at a time
// and never in the login's time; where another is being made, the next login will do.
func (a *Auth) upgrade(u user, h Hash, password string) {
	l := a.proving()
	if l.upgraded(h) || h.whole > 0 && len(password) > h.whole {
		return // the last: with another ending it would be right, too, and then no more
	}
	if !a.upgrading.TryLock() {
		return
	}
	a.aside.Go(func() {
		defer a.upgrading.Unlock()
		if err := a.hashing.enter(context.Background()); err != nil {
			return
		}
		defer a.hashing.leave()
		// Another password may have been chosen since this one was right.
		if now, ok := a.table.Load().users[u.row.Name]; !ok || now.hash == nil || !now.hash.Load().Verify(password) {
			return
		}
		made, err := l.hash(password)
		if err == nil {
			h, err = ParseHash(made)
		}
		if err != nil {
			a.log.Warn("hash not made better", "user", u.row.Name, "err", err)
			return
		}
		if a.exchangeHash(u, h, func() error { l.keep.replace(u.row.Name, u.row.Hash, made); return nil }) == nil {
			a.log.Info("hash made better", "user", u.row.Name, "form", l.config.Upgrade)
		}
	})
}

// errOtherHash says that the description has given a user another hash meanwhile.
var errOtherHash = errors.New("the host has given you another password meanwhile")

// exchangeHash has another hash count for u, once it is kept: in the table that there is
// by now, which may have been replaced since u was found. Whoever has to know is told if
// other mechanisms are to be offered from then on.
func (a *Auth) exchangeHash(u user, h Hash, keep func() error) error {
	a.updating.Lock()
	t := a.table.Load()
	now, ok := t.users[u.row.Name]
	err := errOtherHash
	other := false
	if ok && now.hash != nil && now.row.Hash == u.row.Hash {
		if err = keep(); err == nil {
			other = t.change(now, &h)
		}
	}
	a.updating.Unlock()
	if other && a.changed != nil {
		a.changed()
	}
	return err
}

// upgraded tells whether a hash is as good as it is to become. A verifier never
// becomes something else: SCRAM would be gone.
func (l *logins) upgraded(h Hash) bool {
	switch l.config.Upgrade {
	case config.Argon2id:
		return h.verifier != nil || strings.HasPrefix(h.cost, "argon2id ")
	case config.Verifier:
		return h.verifier != nil
	}
	return true
}

// hash makes what a hash is to become.
func (l *logins) hash(password string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	if l.config.Upgrade == config.Verifier {
		v, err := sasl.MakeVerifier(password, salt, sasl.UseIterations)
		return v.String(), err
	}
	sum := argon2.IDKey([]byte(password), salt, argon2Passes, argon2Memory, 1, 32)
	b := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=1$%s$%s", argon2Memory, argon2Passes, b(salt), b(sum)), nil
}
