package auth

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// way is the steps of an explanation in short: "name ok", "users ends: wrong password".
func way(steps []Step) (all []string) {
	words := map[Came]string{OK: "ok", Passed: "passed", Ends: "ends", Untold: "untold"}
	for _, s := range steps {
		if s.Name == "name" && s.Came == OK || s.Name == "limits" && s.Came == OK {
			continue
		}
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s", s.Name, s.Of))+" "+words[s.Came]+": "+s.Seen)
	}
	return all
}

// openBook is a phoneBook that says who is in it.
type openBook struct{ *phoneBook }

func (b openBook) close() {}

func (b openBook) find(_ context.Context, c *handoff.Credentials) (config.User, finding) {
	if _, ok := b.users[c.User]; !ok {
		return config.User{}, unknown
	}
	return config.User{Name: c.User, Directory: b.name}, good
}

// shutBook is one that does not.
type shutBook struct{ *phoneBook }

func (b shutBook) close() {}

// A login is explained as it would be made, whoever knows the user.
func TestExplain(t *testing.T) {
	a, log := newProving(t, config.Logins{Keep: t.TempDir()}, []config.User{{Name: "admin", Hash: virtual(t, "", "strong").Hash, Master: true}},
		virtual(t, "alice", "right"), virtual(t, "carol", "c"), config.User{Name: "pam"})
	app, err := a.AddAppPassword("alice", "phone", []string{"imaps"})
	if err != nil {
		t.Fatal(err)
	}
	open, shut := newPhoneBook("open", map[string]string{"dave": "d"}), newPhoneBook("shut", map[string]string{"erin": "e"})
	a.table.Load().directories = []backend{
		configured{openBook{open}, config.Directory{Name: "open"}}, configured{shutBook{shut}, config.Directory{Name: "shut"}},
	}
	for _, test := range []struct {
		user, password, listener string
		want                     []string
		known                    string
	}{
		{"alice", "", "imap", []string{"users ok: there is such a user; the password was not asked for ($2a$)"}, "alice"},
		{"alice", "right", "imap", []string{"users ok: the password is right ($2a$)"}, "alice"},
		{"alice", "wrong", "imap", []string{"users ends: wrong password"}, "alice"},
		{"alice", app, "imaps", []string{`app password ok: it is the app password "phone"`}, "alice"},
		{"alice", app, "imap", []string{`app password passed: it is the app password "phone", which is good on imaps alone`, "users ends: wrong password"}, "alice"},
		{"pam", "", "imap", []string{"pam ok: a user of the host, whose password PAM checks; it was not asked for"}, "pam"},
		{"pam", "x", "imap", []string{"pam ends: no helper for PAM"}, "pam"},
		{"dave", "", "imap", []string{"directory open ok: there is such a user; the password was not asked for"}, "dave"},
		{"dave", "d", "imap", []string{"directory open ok: the password is right"}, "dave"},
		{"dave", "wrong", "imap", []string{"directory open ends: wrong password"}, "dave"},
		{"erin", "", "imap", []string{"directory open passed: no such user", "directory shut untold: it says nothing of a user without a password"}, ""},
		{"erin", "e", "imap", []string{"directory open passed: no such user", "directory shut ok: the password is right"}, "erin"},
		{"nobody", "x", "imap", []string{"directory open passed: no such user", "directory shut ends: no such user"}, ""},
		{"a(b", "x", "imap", []string{"directory passed: no directory is asked about a name with such characters", "users ends: no such user"}, ""},
		{"", "", "imap", []string{"name ends: empty user name or password"}, ""},
		{"alice*admin", "strong", "imap", []string{`name ends: it asks for the master "admin" to come in as "alice": explain each of the two`}, ""},
	} {
		steps, row, known := a.Explain(t.Context(), Question{User: test.user, Password: test.password, Listener: test.listener})
		if diff := cmp.Diff(test.want, way(steps)); diff != "" {
			t.Errorf("%q with %q: %s", test.user, test.password, diff)
		}
		if row.Name != test.known || known != (test.known != "") {
			t.Errorf("%q with %q: %q", test.user, test.password, row.Name)
		}
		if test.password == app && strings.Contains(fmt.Sprint(steps)+log.String(), app) {
			t.Errorf("%q with %q: it is repeated: %v\n%s", test.user, test.password, steps, log)
		}
	}
	if _, ok := a.known.get("erin"); !ok {
		t.Error("a directory's user whose password was right may have no session")
	}
	a.known.forget("dave") // whose password was right as well
	a.Explain(t.Context(), Question{User: "dave"})
	if _, ok := a.known.get("dave"); ok {
		t.Error("a directory's user may have a session without a password")
	}
	steps, _, _ := a.Explain(t.Context(), Question{User: "Carol"})
	if want := `but for capitals it is that of "carol"`; steps[0].Seen != want {
		t.Errorf("%q, want %q", steps[0].Seen, want)
	}
}

// What is explained is no guess, however often; what was guessed is told, with the
// time for which it is held against the user and the address.
func TestExplainLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAuth(t, Default, nil, virtual(t, "alice", "right"))
		limits := func(q Question) Step {
			q.User = "alice"
			steps, _, _ := a.Explain(t.Context(), q)
			return steps[1]
		}
		for i := range 100 {
			a.Explain(t.Context(), Question{User: "alice", Password: fmt.Sprint("no", i), Remote: from("192.0.2.1")})
		}
		if s := limits(Question{Remote: from("192.0.2.1")}); s.Came != OK || s.Seen != "0 failed logins of the user in the last minute, 0 of the address" {
			t.Errorf("%+v", s)
		}
		for i := range 100 {
			try(a, "192.0.2.1", "alice", fmt.Sprint("no", i))
		}
		s := limits(Question{Remote: from("192.0.2.1")})
		if s.Came != Ends || !strings.HasPrefix(s.Seen, "too many failed logins of this address: refused unheard for another ") {
			t.Errorf("%+v", s)
		}
		if s := limits(Question{Remote: from("198.51.100.1")}); s.Came != OK {
			t.Errorf("another address: %+v", s)
		}
		p := a.guesses.pair("alice", from("192.0.2.1"))
		wait := a.guesses.sources.until(p.source, time.Now())
		time.Sleep(wait - time.Second)
		if a.guesses.admit(p, time.Now()) == "" {
			t.Errorf("it is heard before %v have passed", wait)
		}
		time.Sleep(2 * time.Second)
		if reason := a.guesses.admit(p, time.Now()); reason != "" {
			t.Errorf("after %v: %s", wait, reason)
		}
		for i := range 300 { // of many addresses
			a.guesses.wrong(a.guesses.pair("alice", from(fmt.Sprintf("198.51.%d.1", i%200))), fmt.Sprint(i), time.Now())
		}
		if s := limits(Question{}); s.Came != Untold || !strings.Contains(s.Seen, "only addresses are heard from which they have logged in before") {
			t.Errorf("%+v", s)
		}
		a.guesses.right(p, time.Now())
		if s := limits(Question{Remote: from("192.0.2.1")}); s.Came != OK || !strings.HasSuffix(s.Seen, "is always heard") {
			t.Errorf("at home: %+v", s)
		}
	})
}

// Of a hash its form is told, and nothing else.
func TestExplainScheme(t *testing.T) {
	for hash, want := range map[string]string{"$2b$10$abcdefg": "$2b$", "$argon2id$v=19$m=1$salt$hash": "$argon2id$", "{SSHA512}c2VjcmV0": "SSHA512", "abJnggxhB/yWI": "crypt", "": "crypt"} {
		if got := scheme(user{row: config.User{Hash: hash}}); got != want {
			t.Errorf("%s: %q, want %q", hash, got, want)
		}
	}
}
