package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// What Find says of those of whom it gives no row.
var (
	ErrUnknown = errors.New("no directory knows the user")
	ErrUntold  = errors.New("a directory says nothing of a user without a password, who has not logged in within a day")
)

// Find gives whom a directory knows by a name, without a password: for mail that is to
// be delivered, and for sessions that the host's own programs ask for. It proves
// nothing, and is not remembered as a login is. The directories are asked in their
// order; one that says nothing without a password is not passed over, since the user
// might be its own. The errors: ErrUnknown; others say why it cannot be told now, and
// ErrUntold is one of them.
func (a *Auth) Find(ctx context.Context, name string) (config.User, error) {
	t := a.table.Load()
	if _, listed := t.users[t.called(name)]; listed || !directoryUser().MatchString(name) {
		return config.User{}, ErrUnknown
	}
	c := &handoff.Credentials{ID: "found", User: name, TLS: true}
	for _, b := range t.directories {
		u, f := a.findAt(ctx, b, c)
		switch {
		case f == good:
			return u, mayCall(t, name, u)
		case f == unknown:
		case f.code == unasked.code:
			if u, ok := a.User(name); ok {
				return u, nil
			}
			return u, ErrUntold
		default:
			return config.User{}, fmt.Errorf("user %q: %s", shortened(name), f.reason)
		}
	}
	return config.User{}, ErrUnknown
}

// Recall is Find for a user who has had a session since before this process was, by their
// own name or one that they have typed lately: they are remembered as of long ago, for Seen
// alone. A single directory, which may call users by another name than they type, is taken
// at its word that there is nobody only where such a name is known.
func (a *Auth) Recall(ctx context.Context, user string) (config.User, error) {
	names := []string{user}
	for _, l := range a.Lately(user) {
		if l.Asked != "" {
			names = append(names, l.Asked)
		}
	}
	sure := len(names) > 1 || len(a.table.Load().directories) != 1
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		u, err := a.Find(ctx, name)
		if err == nil && u.Name == user {
			if _, seen := a.Seen(user); !seen {
				a.known.update(user, time.Unix(0, 0), func(config.User) config.User { return u })
			}
			return u, nil
		}
		if err != nil && !errors.Is(err, ErrUnknown) {
			return config.User{}, err
		}
	}
	if !sure {
		return config.User{}, ErrUntold
	}
	return config.User{}, ErrUnknown
}

// findAt asks one directory once it is our turn.
func (a *Auth) findAt(ctx context.Context, b backend, c *handoff.Credentials) (config.User, finding) {
	if err := b.line().enter(ctx); err != nil {
		return config.User{}, unavailable(err)
	}
	defer b.line().leave()
	return a.explainFind(ctx, b, c)
}
