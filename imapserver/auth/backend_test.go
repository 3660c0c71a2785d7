package auth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// phoneBook is a directory of passwords; a user whose password is "" is one of
// whom the directory does not say whether there is such a user.
type phoneBook struct {
	queue *queue
	name  string
	users map[string]string
	fault error
	asked []string
}

func newPhoneBook(name string, users map[string]string) *phoneBook {
	return &phoneBook{queue: newQueue(4, 10), name: name, users: users}
}

func (b *phoneBook) line() *queue { return b.queue }

func (b *phoneBook) check(_ context.Context, c *handoff.Credentials) (config.User, finding) {
	b.asked = append(b.asked, c.User)
	name := strings.ToLower(c.User)
	if nick, ok := strings.CutPrefix(name, "nick-"); ok {
		name = nick
	}
	password, ok := b.users[name]
	switch {
	case b.fault != nil:
		return config.User{}, unavailable(b.fault)
	case !ok:
		return config.User{}, unknown
	case password != c.Password:
		return config.User{}, refused.because("wrong password")
	}
	return config.User{Name: name, Directory: b.name, Maildir: "/srv/" + b.name + "/" + name}, good
}

// TestDirectories asks several directories about users.
func TestDirectories(t *testing.T) {
	first := newPhoneBook("first", map[string]string{"alice": "a1", "bob": "b1", "carol": "taken"})
	second := newPhoneBook("second", map[string]string{"alice": "a2", "dave": "d2"})
	a, log := newAuth(t, pamLimits(), nil, virtual(t, "carol", "c"))
	a.table.Load().directories = []backend{first, second}
	for _, tt := range []struct{ user, password, name, maildir, reason string }{
		{"alice", "a1", "alice", "/srv/first/alice", ""},
		{"Alice", "a1", "alice", "/srv/first/alice", ""},
		{"alice", "a2", "", "", "wrong password"}, // the first that knows the name decides
		{"dave", "d2", "dave", "/srv/second/dave", ""},
		{"carol", "c", "carol", "", ""},
		{"carol", "taken", "", "", "wrong password"},
		{"Carol", "c", "carol", "", ""},
		{"Carol", "taken", "", "", "wrong password"},
		{"nick-carol", "taken", "", "", "who is a user of the description"},
		{"nick-bob", "b1", "", "", "which another directory may call somebody else"},
		{"erin", "x", "", "", "no such user"},
	} {
		v, _ := try(a, "192.0.2.1", tt.user, tt.password)
		if v.User != tt.name {
			t.Errorf("%s with %s: %+v", tt.user, tt.password, v)
		}
		if row, ok := a.User(tt.name); v.User != "" && (!ok || row.Name != tt.name || row.Maildir != tt.maildir) {
			t.Errorf("%s: row %+v", tt.user, row)
		}
		if tt.reason != "" && !strings.Contains(log.String(), tt.reason) {
			t.Errorf("%s with %s: no %q in %s", tt.user, tt.password, tt.reason, log)
		}
	}
	if got := fmt.Sprint(first.asked, second.asked); strings.Contains(strings.ToLower(got), " carol") {
		t.Errorf("a directory was asked about a user of the table: %s", got)
	}
	second.fault = errors.New("it is down")
	for user, want := range map[string]string{"alice": "", "dave": "UNAVAILABLE", "erin": "UNAVAILABLE"} {
		if v, _ := try(a, "192.0.2.1", user, "a1"); v.Code != want {
			t.Errorf("%s while the second directory is down: %+v", user, v)
		}
	}
	// What fail2ban looks for is not said of a fault of ours.
	if failed := regexp.MustCompile(`login failed"[^\n]*it is down`).FindString(log.String()); failed != "" || !strings.Contains(log.String(), `msg="login not checked"`) {
		t.Errorf("a directory that is down is a failed login: %s", failed)
	}
	first.fault = errors.New("it is down")
	if v, _ := try(a, "192.0.2.1", "alice", "a2"); v.Code != "UNAVAILABLE" {
		t.Errorf("while the directory that knows alice is down, another one let her in: %+v", v)
	}
}

// TestSlowDirectory holds up a directory's own users alone.
func TestSlowDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := newPhoneBook("slow", nil)
		a, _ := newAuth(t, pamLimits(), nil, virtual(t, "alice", "right"))
		a.table.Load().directories = []backend{slow}
		for range cap(slow.queue.slots) {
			slow.queue.slots <- struct{}{}
		}
		go try(a, "192.0.2.1", "bob", "x")
		synctest.Wait()
		if v, d := try(a, "192.0.2.1", "alice", "right"); v.User != "alice" || d > 0 {
			t.Errorf("%+v after %v", v, d)
		}
		for range cap(slow.queue.slots) {
			<-slow.queue.slots
		}
	})
}

// TestKnown wants what directories have said to be bounded, and gone in time.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := map[string]string{}
		for i := range 20 {
			users[fmt.Sprintf("u%d", i)] = "p"
		}
		book := newPhoneBook("book", users)
		l := pamLimits()
		l.Table, l.Remember = 10, time.Hour
		a, _ := newAuth(t, l, nil)
		a.table.Load().directories = []backend{book}
		for name := range users {
			if v, _ := try(a, "192.0.2.1", name, "p"); v.User != name {
				t.Fatalf("%s: %+v", name, v)
			}
			if _, ok := a.User(name); !ok {
				t.Errorf("%s has logged in and is not known", name)
			}
		}
		if n := len(a.known.m); n > l.Table {
			t.Errorf("%d users are remembered, more than %d", n, l.Table)
		}
		try(a, "192.0.2.1", "u0", "p")
		time.Sleep(time.Hour - time.Second)
		if _, ok := a.User("u0"); !ok {
			t.Error("a user is forgotten too early")
		}
		time.Sleep(time.Second)
		if _, ok := a.User("u0"); ok {
			t.Error("a user is remembered for too long")
		}
		try(a, "192.0.2.1", "u1", "p")
		try(a, "192.0.2.1", "u1", "wrong")
		if _, ok := a.User("u1"); !ok {
			t.Error("a wrong password has taken a user's row away")
		}
		delete(users, "u1")
		try(a, "192.0.2.1", "u1", "p")
		if _, ok := a.User("u1"); ok {
			t.Error("a user whom the directory does not know any more is remembered")
		}
	})
}
