package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// maxApps is how many app passwords a user may have.
const maxApps = 50

// keptApp is an app password. It is made here, of 120 random bits, so that nobody
// guesses it however fast the digest is.
type keptApp struct {
	Name      string    `json:"name"`
	Digest    string    `json:"digest"`              // SHA-256 of user, NUL and password
	Listeners []string  `json:"listeners,omitempty"` // on which it is good; none: on all
	Made      time.Time `json:"made"`
	Used      time.Time `json:"used,omitzero"`    // the last time
	Listed    bool      `json:"listed,omitempty"` // its user is one of the description, or was
}

// AppPassword is what may be told of one.
type AppPassword struct {
	User      string    `json:"user"`
	Name      string    `json:"name"`
	Listeners []string  `json:"listeners,omitempty"`
	Made      time.Time `json:"made"`
	Used      time.Time `json:"used,omitzero"`
}

var (
	appForm  = config.Pattern(`^[a-z2-7]{24}$`)
	base32ab = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// bare is an app password without what people put between its groups, or "" for
// what cannot be one.
func bare(password string) string {
	if len(password) > 64 {
		return ""
	}
	s := strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(password))
	if !appForm().MatchString(s) {
		return ""
	}
	return s
}

func appDigest(user, bare string) string {
	sum := sha256.Sum256([]byte(user + "\x00" + bare))
	return hex.EncodeToString(sum[:])
}

// byApp tells which of a user's app passwords it is that was presented, and that it
// has been used.
func (a *Auth) byApp(c *handoff.Credentials) (by string, ok bool) {
	l := a.proving()
	app, ok := l.app(c)
	if !ok || !app.goodOn(c.Listener) {
		return "", false
	}
	l.keep.used(c.User, app, time.Now())
	return fmt.Sprintf("app password %q", app.Name), true
}

// app gives the app password of the user that was presented.
func (l *logins) app(c *handoff.Credentials) (keptApp, bool) {
	password := bare(c.Password)
	if password == "" || c.Listener == Web {
		return keptApp{}, false
	}
	digest := appDigest(c.User, password)
	for _, app := range l.keep.apps(c.User) {
		if subtle.ConstantTimeCompare([]byte(app.Digest), []byte(digest)) == 1 {
			return app, true
		}
	}
	return keptApp{}, false
}

func (a keptApp) goodOn(listener string) bool {
	return len(a.Listeners) == 0 || slices.Contains(a.Listeners, listener)
}

var errNotKept = errors.New("this daemon keeps nothing of logins: it has no directory for it")

// AddAppPassword makes an app password and gives it: nobody can say it again. It is
// durable on return.
func (a *Auth) AddAppPassword(user, name string, listeners []string) (password string, err error) {
	l := a.proving()
	if l.keep.dir == "" {
		return "", errNotKept
	}
	u, ok := a.User(user)
	if !ok {
		return "", fmt.Errorf("no user %q: a user of a directory has to log in once before", user)
	}
	if name == "" || utf8.RuneCountInString(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", errors.New("the name of an app password is 1 to 64 characters that can be seen")
	}
	random := make([]byte, 15)
	rand.Read(random)
	secret := base32ab.EncodeToString(random)
	app := keptApp{Name: name, Digest: appDigest(user, secret), Listeners: listeners, Made: time.Now().UTC().Truncate(time.Second), Listed: u.Directory == ""}
	err = l.keep.changeApps(user, func(apps []keptApp) ([]keptApp, error) {
		switch {
		case slices.ContainsFunc(apps, func(other keptApp) bool { return other.Name == name }):
			return nil, fmt.Errorf("user %q has an app password %q already", user, name)
		case len(apps) >= maxApps:
			return nil, fmt.Errorf("user %q has %d app passwords, and there may be no more", user, len(apps))
		}
		return append(apps, app), nil
	})
	if err != nil {
		return "", err
	}
	a.log.Info("app password made", "user", user, "name", name)
	var groups []string
	for group := range slices.Chunk([]byte(secret), 4) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, "-"), nil
}

// RevokeAppPassword has an app password be good no more; that is durable on return.
// Sessions that began with it go on.
func (a *Auth) RevokeAppPassword(user, name string) error {
	l := a.proving()
	err := l.keep.changeApps(user, func(apps []keptApp) ([]keptApp, error) {
		fewer := slices.DeleteFunc(apps, func(app keptApp) bool { return app.Name == name })
		if len(fewer) == len(apps) {
			return nil, fmt.Errorf("user %q has no app password %q", user, name)
		}
		return fewer, nil
	})
	if err == nil {
		a.log.Info("app password revoked", "user", user, "name", name)
	}
	return err
}

// AppPasswords gives what may be told of those of a user, or with "" of all users,
// by user.
func (a *Auth) AppPasswords(user string) []AppPassword {
	l := a.proving()
	l.keep.mu.RLock()
	defer l.keep.mu.RUnlock()
	names := []string{user}
	if user == "" {
		names = slices.Sorted(maps.Keys(l.keep.now.Apps))
	}
	var all []AppPassword
	for _, name := range names {
		for _, app := range l.keep.now.Apps[name] {
			all = append(all, AppPassword{name, app.Name, app.Listeners, app.Made, app.Used})
		}
	}
	return all
}

// apps gives a user's app passwords, which the caller does not change.
func (k *keep) apps(user string) []keptApp {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.now.Apps[user]
}

// changeApps replaces a user's app passwords by what change makes of a copy of them,
// and writes before it returns; what cannot be written has not been changed.
func (k *keep) changeApps(user string, change func([]keptApp) ([]keptApp, error)) error {
	return k.durably("app passwords", func() (undo func(), err error) {
		old := k.now.Apps[user]
		apps, err := change(slices.Clone(old))
		if err != nil {
			return nil, err
		}
		k.setApps(user, apps)
		return func() { k.setApps(user, old) }, nil
	})
}

// setApps replaces a user's app passwords. The caller holds mu.
func (k *keep) setApps(user string, apps []keptApp) {
	if k.now.Apps[user] = apps; len(apps) == 0 {
		delete(k.now.Apps, user)
	}
}

// dropApps forgets the app passwords of users who were listed and are no more: the name
// may be somebody else's next. Those of whom a directory may know stay, since that is
// how users are moved. It gives whose are gone.
func (k *keep) dropApps(listed, directory func(user string) bool) (gone []string) {
	k.changing.Lock()
	defer k.changing.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	changed := false
	for user, apps := range k.now.Apps {
		switch is := listed(user); {
		case !is && !directory(user) && slices.ContainsFunc(apps, func(app keptApp) bool { return app.Listed }):
			delete(k.now.Apps, user)
			gone, changed = append(gone, user), true
		case is && slices.ContainsFunc(apps, func(app keptApp) bool { return !app.Listed }):
			apps = slices.Clone(apps)
			for i := range apps {
				apps[i].Listed = true
			}
			k.now.Apps[user], changed = apps, true
		}
	}
	if changed {
		k.soon()
	}
	return gone
}

// used notes that an app password was used, to the minute and not at once.
func (k *keep) used(user string, used keptApp, now time.Time) {
	now = now.UTC().Truncate(time.Minute)
	if !used.Used.Before(now) {
		return
	}
	k.mu.Lock()
	apps := slices.Clone(k.now.Apps[user])
	for i := range apps {
		if apps[i].Digest == used.Digest {
			apps[i].Used = now
		}
	}
	k.setApps(user, apps)
	k.mu.Unlock()
	k.soon()
}
