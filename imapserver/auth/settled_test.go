package auth

import (
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
)

// staff is a directory that nobody serves.
var staff = config.Directory{
	Name: "staff", May: config.May{Owner: &config.Identity{UID: 500, GID: 500}, Roots: []string{"/var/vmail"}},
	Saslauthd: &config.Saslauthd{Socket: "/run/none", Service: "imap", Bounds: config.Bounds{Connections: 1, Timeout: 1}},
}

// Who has logged in by a directory is known when an Update without it was taken back,
// and no more once one is settled.
func TestSettledDirectories(t *testing.T) {
	d := staff
	a, _ := newAuth(t, Default, nil)
	update := func(directories ...config.Directory) {
		t.Helper()
		if err := a.Update(nil, directories...); err != nil {
			t.Fatal(err)
		}
	}
	wantKnown := func(when string, want bool) {
		t.Helper()
		if _, known := a.User("carol"); known != want {
			t.Errorf("%s: known is %v", when, known)
		}
	}
	update(d)
	a.Settled()
	carol := config.User{Name: "carol", Directory: d.Name, UID: 500, GID: 500, Home: "/var/vmail/carol", Maildir: "/var/vmail/carol/Maildir"}
	a.known.update("carol", time.Now(), func(config.User) config.User { return carol })
	update()
	update(d)
	a.Settled()
	wantKnown("after what was taken back", true)
	update()
	a.Settled()
	wantKnown("without the directory", false)
}

// App passwords are gone with a user of the description, also where that was while
// nothing ran, and not before it is settled; those of whom a directory may know stay.
func TestSettledAppPasswords(t *testing.T) {
	c := config.Logins{Keep: t.TempDir()}
	alice, bob := virtual(t, "alice", "right"), virtual(t, "bob", "right")
	a, log := newProving(t, c, nil, alice, bob)
	a.Settled()
	good := func(a *Auth, when, user, password string, want bool) {
		t.Helper()
		if got := present(a, "", user, password, "").User == user; got != want {
			t.Errorf("%s: %s is let in: %v", when, user, got)
		}
	}
	add := func(user string) string {
		t.Helper()
		password, err := a.AddAppPassword(user, "phone", nil)
		if err != nil {
			t.Fatal(err)
		}
		return password
	}
	update := func(a *Auth, settled bool, users []config.User, directories ...config.Directory) {
		t.Helper()
		if err := a.Update(users, directories...); err != nil {
			t.Fatal(err)
		}
		if settled {
			a.Settled()
		}
	}
	next := virtual(t, "bob", "of somebody else")
	ofAlice, ofBob := add("alice"), add("bob")
	update(a, false, []config.User{alice})
	update(a, true, []config.User{alice, bob})
	good(a, "a change that was taken back", "bob", ofBob, true)
	update(a, true, []config.User{alice}, staff)
	update(a, true, []config.User{alice, bob})
	good(a, "where a directory may know the name", "bob", ofBob, true)
	update(a, true, []config.User{alice})
	update(a, true, []config.User{alice, next})
	good(a, "somebody else of that name", "bob", ofBob, false)
	good(a, "somebody else", "alice", ofAlice, true)
	if !strings.Contains(log.String(), `msg="app passwords dropped with their user" user=bob`) {
		t.Errorf("log: %s", log)
	}

	ofBob = add("bob")
	good(a, "a new one", "bob", ofBob, true)
	a.Close()
	b := second(t, c, alice)
	b.Settled()
	update(b, true, []config.User{alice, bob})
	good(b, "taken out while nothing ran", "bob", ofBob, false)
	good(b, "somebody else, after that", "alice", ofAlice, true)
}

// App passwords of users of a directory outlast the directory.
func TestSettledAppPasswordsOfDirectories(t *testing.T) {
	a, _ := newProving(t, config.Logins{Keep: t.TempDir()}, nil)
	a.limits.Remember = time.Hour
	a.known.update("carol", time.Now(), func(config.User) config.User { return config.User{Name: "carol", Directory: "people"} })
	if _, err := a.AddAppPassword("carol", "phone", nil); err != nil {
		t.Fatal(err)
	}
	a.Settled()
	if got := a.AppPasswords("carol"); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}
