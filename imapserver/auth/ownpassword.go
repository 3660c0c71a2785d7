package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"mailstead/imapserver/sasl"
)

// minPassword is how many characters a password has that a user chooses, and minName how
// many the name of a user that must not be in it.
const (
	minPassword = 10
	minName     = 4
)

// OwnPassword tells whether a user's password is one that SetPassword can replace.
func (a *Auth) OwnPassword(user string) bool {
	u, ok := a.table.Load().users[user]
	return ok && u.hash != nil && a.proving().keep.dir != ""
}

// SetPassword makes password that of a user of the table. It counts in place of the
// one in the description until that is another one, and is durable on return. Whether
// the old one was known is the caller's to ask. The errors are for the user.
func (a *Auth) SetPassword(ctx context.Context, user, password string) error {
	l := a.proving()
	u, ok := a.table.Load().users[user]
	switch {
	case !ok || u.hash == nil:
		return errors.New("this password is kept elsewhere, and cannot be changed here")
	case l.keep.dir == "":
		return errNotKept
	case utf8.RuneCountInString(password) < minPassword:
		return fmt.Errorf("the new password has less than %d characters", minPassword)
	case utf8.RuneCountInString(user) >= minName && strings.Contains(strings.ToLower(password), strings.ToLower(user)):
		return errors.New("the new password has the name of the user in it")
	}
	if err := sasl.Check(sasl.Credentials{User: user, Password: password}); err != nil {
		return fmt.Errorf("the new password cannot be used: %w", err)
	}
	made, err := a.makeHash(ctx, u, l, password)
	if err != nil {
		return err
	}
	h, err := ParseHash(made)
	if err != nil {
		return err
	}
	a.upgrading.Lock() // one that has begun would put the old password back
	defer a.upgrading.Unlock()
	err = a.exchangeHash(u, h, func() error {
		return l.keep.own(user, u.row.Hash, made)
	})
	if err != nil {
		return err
	}
	a.log.Info("password changed", "user", user)
	return nil
}

// makeHash hashes a password when it is its turn: as a verifier where the user has one.
func (a *Auth) makeHash(ctx context.Context, u user, l *logins, password string) (string, error) {
	if err := a.hashing.enter(ctx); err != nil {
		return "", err
	}
	defer a.hashing.leave()
	if u.verifier() == nil {
		return l.hash(password)
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	v, err := sasl.MakeVerifier(password, salt, sasl.UseIterations)
	return v.String(), err
}

// own keeps the hash of a password that a user has chosen, and writes before it
// returns; what cannot be written has not been changed.
func (k *keep) own(user, of, hash string) error {
	return k.durably("the new password", func() (undo func(), err error) {
		old, had := k.now.Hashes[user]
		k.now.Hashes[user] = keptHash{Of: hashDigest(of), Hash: hash}
		return func() {
			if k.now.Hashes[user] = old; !had {
				delete(k.now.Hashes, user)
			}
		}, nil
	})
}
