package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// backend knows users and checks their passwords: the table with their hashes,
// PAM, or a directory. Its methods may be called from many goroutines.
type backend interface {
	// line is where a login waits before check, so that a slow backend keeps
	// nobody waiting who is another's.
	line() *queue
	// check judges credentials that sasl.Check has let pass. With good it gives the
	// user as there are sessions of them: of the table's users only the name.
	// Unknown passes the login on to the next backend; a fault of its own is
	// unavailable, never refused.
	check(ctx context.Context, c *handoff.Credentials) (config.User, finding)
}

// backends gives those who are asked about a name, in order. A name of the
// table is the table's alone: no directory may let somebody else in as that
// user, or see their password. No directory sees a name that could mean
// something to it.
func (a *Auth) backends(t *table, c *handoff.Credentials) []backend {
	u, exists := t.users[c.User]
	switch {
	case a.remote != nil:
		return []backend{a.remote.of(c)}
	case exists && u.row.Hash == "":
		return []backend{a.pool}
	case exists || len(t.directories) == 0 || !directoryUser().MatchString(c.User):
		return []backend{hashTable{a, t}}
	}
	return t.directories
}

// hashTable is the backend of the users with a hash.
type hashTable struct {
	auth  *Auth
	table *table
}

func (h hashTable) line() *queue { return h.auth.hashing }

// check does for a user that there is not the work that most of the others cost.
func (h hashTable) check(_ context.Context, c *handoff.Credentials) (config.User, finding) {
	u, exists := h.table.users[c.User]
	hash := h.table.like.Load().dummy
	if exists {
		hash = *u.hash.Load()
	}
	right := hash.verify != nil && hash.Verify(c.Password)
	switch {
	case !exists:
		return config.User{}, unknown
	case !right:
		return config.User{}, refused.because("wrong password")
	}
	h.auth.upgrade(u, hash, c.Password)
	return config.User{Name: c.User}, good
}

// User gives the row of somebody who may have a session: of the table, or what a
// directory has said when that user logged in last.
func (a *Auth) User(name string) (config.User, bool) {
	if u, ok := a.table.Load().users[name]; ok {
		return u.row, true
	}
	return a.known.recent(name, time.Now().Add(-a.limits.Remember))
}

// Seen is User, however long ago that was: a session may last longer than what auth goes
// by for a new one.
func (a *Auth) Seen(name string) (config.User, bool) {
	if u, ok := a.table.Load().users[name]; ok {
		return u.row, true
	}
	return a.known.get(name)
}

// learn keeps what a directory has said of a user.
func (a *Auth) learn(t *table, c *handoff.Credentials, row config.User) error {
	if err := mayCall(t, c.User, row); err != nil {
		return err
	}
	a.known.update(row.Name, time.Now(), func(config.User) config.User { return row })
	return nil
}

// mayCall says why a directory may not call somebody as it does: by another name than
// was asked for it may, but not by that of a user whom somebody else knows.
func mayCall(t *table, asked string, row config.User) error {
	if _, taken := t.users[t.called(row.Name)]; taken {
		return fmt.Errorf("the directory calls the user %q, who is a user of the description", row.Name)
	}
	if len(t.directories) > 1 && !strings.EqualFold(row.Name, asked) {
		return fmt.Errorf("the directory calls the user %q, which another directory may call somebody else", row.Name)
	}
	if row.Name == "" {
		return errors.New("the directory gives the user no name")
	}
	return nil
}
