package auth

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// A password that a user has chosen counts at once and after a restart, until the
// description has another one.
func TestSetPassword(t *testing.T) {
	dir := t.TempDir()
	c := config.Logins{Keep: dir, Upgrade: config.Argon2id}
	alice := virtual(t, "alice", "first word")
	a, _ := newProving(t, c, nil, alice)
	if err := a.SetPassword(t.Context(), "alice", "second word"); err != nil {
		t.Fatal(err)
	}
	check := func(a *Auth, password string, want bool) {
		t.Helper()
		if got := present(a, "", "alice", password, "").User == "alice"; got != want {
			t.Errorf("%q: %v", password, got)
		}
	}
	check(a, "first word", false)
	check(a, "second word", true)
	if err := a.Update([]config.User{alice}); err != nil {
		t.Fatal(err)
	}
	check(a, "second word", true)
	a = second(t, c, alice)
	check(a, "first word", false)
	check(a, "second word", true)
	a = second(t, c, virtual(t, "alice", "third word"))
	check(a, "second word", false)
	check(a, "third word", true)
}

// A hash is not made better of a password that was right a moment ago.
func TestSetPasswordWhileUpgrading(t *testing.T) {
	a, _ := newProving(t, config.Logins{Keep: t.TempDir(), Upgrade: config.Argon2id}, nil, virtual(t, "alice", "first word"))
	u := a.table.Load().users["alice"]
	old := *u.hash.Load()
	if err := a.SetPassword(t.Context(), "alice", "second word"); err != nil {
		t.Fatal(err)
	}
	a.upgrade(u, old, "first word")
	a.aside.Wait()
	if v := present(a, "", "alice", "first word", ""); v.User != "" {
		t.Error("the old password is back")
	}
}

func TestSetPasswordRefuses(t *testing.T) {
	dir := t.TempDir()
	a, _ := newProving(t, config.Logins{Keep: dir}, nil, virtual(t, "alice", "first word"), config.User{Name: "sys"})
	for user, passwords := range map[string][]string{
		"alice":  {"", "short", "Alice in chains", "has a \x00 in it", string(make([]byte, 5000))},
		"sys":    {"second word"},
		"nobody": {"second word"},
	} {
		for _, password := range passwords {
			if err := a.SetPassword(t.Context(), user, password); err == nil {
				t.Errorf("%s: %.20q was taken", user, password)
			}
		}
	}
	if a.OwnPassword("sys") || a.OwnPassword("nobody") || !a.OwnPassword("alice") {
		t.Error("OwnPassword")
	}
	// What cannot be written has not been changed.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := a.SetPassword(t.Context(), "alice", "second word"); err == nil {
		t.Error("nothing was written, and nothing said")
	}
	if v := present(a, "", "alice", "first word", ""); v.User != "alice" {
		t.Errorf("%+v", v)
	}
}

// A name that is a few letters is in many a good password.
func TestSetPasswordOfShortName(t *testing.T) {
	a, _ := newProving(t, config.Logins{Keep: t.TempDir()}, nil, virtual(t, "j", "first word"), virtual(t, "anna", "first word"))
	if err := a.SetPassword(t.Context(), "j", "jumping over it"); err != nil {
		t.Error(err)
	}
	if err := a.SetPassword(t.Context(), "anna", "Anna Karenina"); err == nil {
		t.Error("a password with a name of four letters in it is taken")
	}
}

// Where SCRAM is possible it stays so.
func TestSetPasswordKeepsVerifier(t *testing.T) {
	c := config.Logins{Keep: t.TempDir(), Upgrade: config.Verifier}
	a, _ := newProving(t, c, nil, virtual(t, "alice", "first word"))
	present(a, "", "alice", "first word", "")
	a.aside.Wait()
	a.logins.Load().config.Upgrade = ""
	if err := a.SetPassword(t.Context(), "alice", "second word"); err != nil {
		t.Fatal(err)
	}
	if a.table.Load().users["alice"].verifier() == nil {
		t.Error("the verifier is gone")
	}
}

// An app password is for a program, and opens no page.
func TestAppPasswordAtPage(t *testing.T) {
	a, _ := newProving(t, config.Logins{Keep: t.TempDir()}, nil, virtual(t, "alice", "first word"))
	app, err := a.AddAppPassword("alice", "phone", nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := present(a, "imap", "alice", app, ""); v.User != "alice" {
		t.Errorf("imap: %+v", v)
	}
	if v := present(a, Web, "alice", app, ""); v.User != "" {
		t.Errorf("page: %+v", v)
	}
}

// The last logins are told, alike ones as one, and none that was refused.
func TestLately(t *testing.T) {
	a, _ := newProving(t, config.Logins{}, []config.User{{Name: "boss", Hash: virtual(t, "", "strong").Hash, Master: true}}, virtual(t, "alice", "first word"))
	for i := range 20 {
		for range 2 {
			a.Authenticate(t.Context(), &handoff.Credentials{Listener: "imap", User: "alice", Password: "first word", Remote: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})})
		}
	}
	a.Authenticate(t.Context(), &handoff.Credentials{Listener: "imap", User: "alice", Password: "wrong word", Remote: netip.MustParseAddr("198.51.100.1")})
	if v := present(a, Web, "alice*boss", "strong", ""); v.User != "" {
		t.Errorf("a master at the page: %+v", v)
	}
	got := a.Lately("alice")
	if len(got) != perUser || got[0].Remote.String() != "192.0.2.19" || got[0].Count != 2 || len(a.Lately("bob")) != 0 {
		t.Errorf("%+v", got)
	}
}

// What was told of logins is told after a restart, once in the file, which is not
// written for each of them. What is in it of long ago, or more than is kept, goes.
func TestLatelyKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, latelyFile)
	users := []config.User{virtual(t, "alice", "first word"), virtual(t, "bob", "first word")}
	start := func() (*Auth, *journal) { return newProving(t, config.Logins{Keep: dir}, nil, users...) }
	a, _ := start()
	for range 50 {
		present(a, "imap", "alice", "first word", "")
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("written for a login: %v", err)
	}
	want := a.Lately("alice")
	a.Close()
	fi, err := os.Stat(file)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", fi, err)
	}
	a, _ = start()
	if got := a.Lately("alice"); len(got) != 1 || got[0].Count != 50 || !got[0].Last.Equal(want[0].Last) || got[0].Remote != want[0].Remote {
		t.Errorf("after a restart: %+v, want %+v", got, want)
	}
	present(a, "imap", "alice", "first word", "")
	if got := a.Lately("alice"); len(got) != 1 || got[0].Count != 51 {
		t.Errorf("goes on with: %+v", got)
	}
	a.Close()

	now := time.Now()
	kept := map[string][]Login{"bob": {{Last: now.Add(-latelyLife - time.Hour)}}}
	for i := range 3 * perUser {
		kept["alice"] = append(kept["alice"], Login{Listener: "imap", Last: now.Add(-time.Duration(i) * time.Hour), Count: 1})
	}
	data, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(data), "{", `{"alice":7}`, strings.Repeat("[", 1<<20)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a, log := start()
		lost := strings.Contains(log.String(), "last logins of users are lost")
		if got := a.Lately("alice"); lost != (text != string(data)) || !lost && len(got) != perUser || len(a.Lately("bob")) > 0 {
			t.Errorf("%.20q: %d logins; %s", text, len(got), log)
		}
		a.Close()
	}
	a, _ = start()
	present(a, "imap", "bob", "first word", "")
	a.Close()
	if a, _ = start(); len(a.Lately("bob")) != 1 {
		t.Error("a damaged file is not written anew")
	}
	a.Settled()
	if err := a.Update(users[:1]); err != nil {
		t.Fatal(err)
	}
	if len(a.Lately("bob")) != 1 {
		t.Error("gone by a change that may be taken back")
	}
	a.Settled()
	a.Close()
	if a, _ = start(); len(a.Lately("bob")) != 0 {
		t.Error("whoever has the name next is told of the logins of who had it before")
	}
}
