package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// Prove is the one half of Admit, and Update the other.
func (a *Auth) Prove(c *config.Config, masters []config.User) error {
	l, err := a.newLogins(c, masters)
	if err == nil {
		a.prove(l)
	}
	return err
}

func (a *Auth) Update(users []config.User, directories ...config.Directory) error {
	a.updating.Lock()
	defer a.updating.Unlock()
	return a.replace(a.proving(), users, directories)
}

// newProving is an Auth with logins as described; dir is where it keeps things.
func newProving(t testing.TB, c config.Logins, masters []config.User, users ...config.User) (*Auth, *journal) {
	t.Helper()
	log := &journal{}
	a := New(Options{Log: slog.New(slog.NewTextHandler(log, nil)), Limits: Limits{
		Table: 1024, Queue: 64, SourceMinute: 1e9, SourceDay: 1e9, AccountMinute: 1e9, AccountDay: 1e9,
	}})
	err := a.Prove(&config.Config{Logins: &c}, masters)
	if err == nil {
		err = a.Update(users)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, log
}

// present logs in with the password as one who acts for somebody.
func present(a *Auth, listener, user, password, other string) handoff.Verdict {
	return a.Authenticate(context.Background(), &handoff.Credentials{ID: "id", Listener: listener, User: user, Password: password, For: other, Remote: from("192.0.2.1"), TLS: true})
}

// Weak schemes, made by openssl, are right where they are named and refused anywhere
// else.
func TestWeak(t *testing.T) {
	const password = "correct horse"
	all := map[string]string{
		"MD5-CRYPT": "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80", "SHA256-CRYPT": "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/",
		"PLAIN": "{PLAIN}correct horse", "MD5": "{MD5}PLTnMmMfR+brlh80VUt83g==", "SMD5": "{SMD5}WvNhLLitFNNM0XshzutEnU5hQ2w=",
		"SHA": "{SHA}2f9e53523b62abc141a2b4d6019d23cba835dbd0", "SSHA": "{SSHA}Ki+Q9Ri8Nn2QN1jUbcaqfsgK/pJOYUNs",
		"SHA256": "{SHA256}QQTTb42iwlQ0n4WDZ5Pr4CngyVcGOjTJHC6SAxh7VjE=", "SSHA256": "{SSHA256}RZt1ffPUBCPIm1ExiBme2/Pq6LjxmOV+UuwTDxYUEXlOYUNs",
		"SHA512":  "{SHA512}VraY3v7bWkNbY0r+MyC7rz/c2SC2xQOkRvx7endrKY1HnRumqLYXgI6wv1ec6aldZoNHvKtxSQhayTyyeZUZew==",
		"SSHA512": "{SSHA512}xdqJoPZy0z2ISyVALjTvBo5x9AkjiFnWKH0NsOP4U82KzmxCREKHlAwAwogawzZlmhW7qTj1fJZE7cutApWFGE5hQ2w=",
	}
	if len(all) != len(weakForms) {
		t.Errorf("%d of %d schemes are tried", len(all), len(weakForms))
	}
	for scheme, s := range all {
		for _, allowed := range [][]string{nil, {"DES-CRYPT"}} {
			if _, err := ParseHash(s, allowed...); !errors.Is(err, ErrWeak) {
				t.Errorf("%s, with %q allowed: %v", scheme, allowed, err)
			}
		}
		h, err := ParseHash(s, scheme)
		if err != nil || !h.Verify(password) || h.Verify(password+"x") || h.Verify("") {
			t.Errorf("%s: %v", scheme, err)
		}
		if _, err := ParseHash(s[:len(s)-7], scheme); err == nil && scheme != "PLAIN" {
			t.Errorf("%s: cut off, and accepted", scheme)
		}
	}
	if _, err := ParseHash("{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A=", "SSHA"); err == nil {
		t.Error("SSHA without a salt is accepted")
	}
	for _, s := range []string{"", "!", "*", "!$6$", "{CRYPT}rqXexS6ZhobKA", "rqXexS6ZhobKA", "{NTLM}x"} {
		if _, err := ParseHash(s, "DES-CRYPT", "PLAIN", "CRYPT", "NTLM", ""); !errors.Is(err, ErrWeak) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A hash becomes a better one at a login, for that password, also for the next
// daemon; a new one in the description wins.
func TestUpgrade(t *testing.T) {
	for form, prefix := range map[string]string{config.Argon2id: "$argon2id$", config.Verifier: "SCRAM-SHA-256$"} {
		t.Run(form, func(t *testing.T) {
			c := config.Logins{Keep: t.TempDir(), Upgrade: form, Weak: []string{"SSHA"}}
			alice := config.User{Name: "alice", Hash: "{SSHA}Ki+Q9Ri8Nn2QN1jUbcaqfsgK/pJOYUNs"}
			a, log := newProving(t, c, nil, alice)
			if v := present(a, "", "alice", "wrong", ""); v.User != "" {
				t.Fatalf("%+v", v)
			}
			a.aside.Wait()
			if len(a.logins.Load().keep.now.Hashes) != 0 {
				t.Fatal("a wrong password has become a hash")
			}
			if v := present(a, "", "alice", "correct horse", ""); v.User != "alice" {
				t.Fatalf("%+v", v)
			}
			a.Close()
			if got := a.logins.Load().keep.hash("alice", alice.Hash); !strings.HasPrefix(got, prefix) {
				t.Fatalf("it is %.20q\n%s", got, log)
			}
			if strings.Contains(log.String(), "correct horse") {
				t.Error("the password is in the log")
			}
			for _, who := range []*Auth{a, second(t, c, alice)} {
				if now := who.table.Load().users["alice"].hash.Load(); strings.HasPrefix(now.cost, "digest") {
					t.Errorf("it is still checked as %s", now.cost)
				}
				if v := present(who, "", "alice", "correct horse", ""); v.User != "alice" {
					t.Errorf("after it: %+v", v)
				}
				if v := present(who, "", "alice", "correct horsf", ""); v.User != "" {
					t.Errorf("after it, a wrong password: %+v", v)
				}
			}
			offered := second(t, c, alice).Mechanisms("imap")
			if (len(offered) > 0) != (form == config.Verifier) {
				t.Errorf("offered after it: %q", offered)
			}
			changed := second(t, c, virtual(t, "alice", "another one"))
			if v := present(changed, "", "alice", "correct horse", ""); v.User != "" {
				t.Errorf("the old password, after the description has a new one: %+v", v)
			}
			if v := present(changed, "", "alice", "another one", ""); v.User != "alice" {
				t.Errorf("the new one: %+v", v)
			}
		})
	}
}

func second(t *testing.T, c config.Logins, users ...config.User) *Auth {
	a, _ := newProving(t, c, nil, users...)
	return a
}

// A password whose end bcrypt does not see is not made one that counts whole.
func TestUpgradeKeepsLength(t *testing.T) {
	long := strings.Repeat("x", 72)
	h, err := bcrypt.GenerateFromPassword([]byte(long), minBcryptCost)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := newProving(t, config.Logins{Keep: t.TempDir(), Upgrade: config.Argon2id}, nil, config.User{Name: "alice", Hash: string(h)})
	for _, password := range []string{long + "y", long + "z", long} {
		if v := present(a, "", "alice", password, ""); v.User != "alice" {
			t.Errorf("%d octets: %+v", len(password), v)
		}
		a.aside.Wait()
		if n := len(a.logins.Load().keep.now.Hashes); n != 0 && len(password) > 72 || n == 0 && len(password) == 72 {
			t.Errorf("%d octets: %d hashes were made", len(password), n)
		}
	}
}

// Hundreds of logins at once make one hash after the other, and none in a login's
// time or beyond the queue (T18).
func TestUpgradesAreFew(t *testing.T) {
	a, _ := newProving(t, config.Logins{Keep: t.TempDir(), Upgrade: config.Argon2id, Weak: []string{"PLAIN"}}, nil, config.User{Name: "alice", Hash: "{PLAIN}correct horse"})
	for range cap(a.hashing.slots) {
		a.hashing.slots <- struct{}{} // all processors hash
	}
	u := a.table.Load().users["alice"]
	for range 300 {
		a.upgrade(u, *u.hash.Load(), "correct horse")
	}
	time.Sleep(10 * time.Millisecond)
	if n := a.hashing.waiting.Load(); n > 1 {
		t.Errorf("%d wait to make a hash better", n)
	}
	for range cap(a.hashing.slots) {
		a.hashing.leave()
	}
}

// T14: nobody acts for another but a master, whose two names are logged.
func TestMaster(t *testing.T) {
	masters := []config.User{{Name: "admin", Hash: virtual(t, "", "strong").Hash, Master: true}, {Name: "boss", Hash: virtual(t, "", "stronger").Hash, Master: true}}
	users := []config.User{virtual(t, "alice", "right"), virtual(t, "boss", "mail"), virtual(t, "bob", "right")}
	a, log := newProving(t, config.Logins{Keep: t.TempDir()}, masters, users...)
	refused := handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Authentication failed."}
	admin := handoff.Verdict{User: "alice", By: "master admin"}
	for _, tt := range []struct {
		user, password, other string
		want                  handoff.Verdict
	}{
		{"alice", "right", "", handoff.Verdict{User: "alice"}},
		{"alice", "right", "alice", handoff.Verdict{User: "alice"}},
		{"alice", "right", "bob", refused},
		{"alice", "right", "Alice", handoff.Verdict{User: "alice"}},
		{"Alice*admin", "strong", "", admin},
		{"admin", "strong", "Alice", admin},
		{"Boss*admin", "strong", "", refused},
		{"alice*admin", "strong", "", admin},
		{"admin", "strong", "alice", admin},
		{"alice*admin", "right", "", refused},
		{"alice*admin", "stronger", "", refused},
		{"alice*bob", "right", "", refused},
		{"bob", "right", "alice*admin", refused},
		{"admin", "strong", "", refused}, // a master has no mail
		{"admin", "strong", "nobody", refused},
		{"nobody*admin", "strong", "", refused},
		{"boss*admin", "strong", "", refused},
		{"admin", "strong", "boss", refused},
		{"admin*boss", "stronger", "", refused},
		{"admin*admin", "strong", "", refused},
		{"boss*boss", "stronger", "", refused},
		{"boss", "mail", "", handoff.Verdict{User: "boss"}},
		{"*admin", "strong", "", refused},
		{"alice*", "right", "", refused},
		{"alice*bob*admin", "strong", "", refused},
	} {
		if got := present(a, "", tt.user, tt.password, tt.other); got != tt.want {
			t.Errorf("%q for %q: %+v, not %+v", tt.user, tt.other, got, tt.want)
		}
	}
	for _, want := range []string{"user=boss*admin", "for=boss", "the master is right, but there is no such user"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q", want)
		}
	}
	without, _ := newProving(t, config.Logins{Keep: t.TempDir()}, nil, users...)
	for _, name := range []string{"alice*admin", "alice*alice"} {
		if got := present(without, "", name, "right", ""); got != refused {
			t.Errorf("without masters, %q: %+v", name, got)
		}
	}
	if got := present(without, "", "alice", "right", "bob"); got != refused {
		t.Errorf("without masters, for another: %+v", got)
	}
	if err := without.Prove(&config.Config{Logins: &config.Logins{Keep: t.TempDir(), Weak: []string{"PLAIN"}}}, []config.User{{Name: "m", Hash: "{PLAIN}x"}}); err == nil {
		t.Error("a master with a weak hash is accepted")
	}
}

// Guesses at a master's password count against the master, whomever the guesser would
// come in as: a user more is no quota more.
func TestMasterGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAuth(t, Default, nil, virtual(t, "alice", "right"))
		if err := a.Prove(&config.Config{}, []config.User{{Name: "admin", Hash: virtual(t, "", "strong").Hash}}); err != nil {
			t.Fatal(err)
		}
		addr := func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) }
		if n := guess(a, 500, addr, func(i int) string { return fmt.Sprintf("user%d*admin", i) }); n == 0 || n > int(Default.AccountMinute) {
			t.Errorf("%d guesses at a master were heard at once", n)
		}
		if v, _ := try(a, "192.0.2.1", "alice", "right"); v.User != "alice" {
			t.Errorf("a user, meanwhile: %+v", v)
		}
	})
}

func TestAppPasswords(t *testing.T) {
	dir := t.TempDir()
	pam := config.User{Name: "carol"} // whom PAM knows
	a, log := newProving(t, config.Logins{Keep: dir}, nil, virtual(t, "alice", "right"), virtual(t, "bob", "right"), pam)
	add := func(user, name string, listeners ...string) string {
		t.Helper()
		p, err := a.AddAppPassword(user, name, listeners)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	phone, laptop, carols := add("alice", "phone"), add("alice", "laptop", "imaps"), add("carol", "phone")
	if len(strings.Split(phone, "-")) != 6 || phone == laptop {
		t.Errorf("%q %q", phone, laptop)
	}
	b, _ := newProving(t, config.Logins{Keep: dir}, nil, virtual(t, "alice", "right"), virtual(t, "bob", "right"), pam)
	for _, who := range []*Auth{a, b} {
		for _, tt := range []struct{ listener, user, password, by string }{
			{"imap", "alice", phone, `app password "phone"`},
			{"imap", "alice", strings.ToUpper(strings.ReplaceAll(phone, "-", " ")), `app password "phone"`},
			{"imaps", "alice", laptop, `app password "laptop"`},
			{"imap", "carol", carols, `app password "phone"`},
			{"imap", "alice", "right", ""},
		} {
			if v := present(who, tt.listener, tt.user, tt.password, ""); v != (handoff.Verdict{User: tt.user, By: tt.by}) {
				t.Errorf("%s on %s: %+v", tt.user, tt.listener, v)
			}
		}
	}
	for what, v := range map[string]handoff.Verdict{
		"another listener": present(a, "imap", "alice", laptop, ""), "another user": present(a, "imap", "bob", phone, ""),
		"cut": present(a, "imap", "alice", phone[:len(phone)-1], ""), "changed": present(a, "imap", "alice", "a"+phone[1:]+"a", ""),
	} {
		if v.User != "" {
			t.Errorf("%s: %+v", what, v)
		}
	}
	all := a.AppPasswords("alice")
	if len(all) != 2 || all[0].Name != "phone" || all[0].Used.IsZero() || len(all[1].Listeners) != 1 {
		t.Errorf("%+v", all)
	}
	for _, wrong := range [][2]string{{"alice", "phone"}, {"nobody", "phone"}, {"alice", ""}, {"alice", "a\nb"}} {
		if _, err := a.AddAppPassword(wrong[0], wrong[1], nil); err == nil {
			t.Errorf("%q is made", wrong)
		}
	}
	add("alice", strings.Repeat("ü", 64))
	if _, err := a.AddAppPassword("alice", strings.Repeat("u", 65), nil); err == nil {
		t.Error("a name of 65 characters is taken")
	}
	if err := a.RevokeAppPassword("alice", "phone"); err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeAppPassword("alice", "phone"); err == nil {
		t.Error("it is revoked twice")
	}
	if v := present(a, "imap", "alice", phone, ""); v.User != "" {
		t.Errorf("revoked: %+v", v)
	}
	a.Close()
	text, err := os.ReadFile(filepath.Join(dir, keepFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{phone, laptop, carols} {
		if s := string(text) + log.String() + fmt.Sprint(all); strings.Contains(s, secret) || strings.Contains(s, strings.ReplaceAll(secret, "-", "")) {
			t.Error("an app password is in the file, in the log or in the list")
		}
	}
	if info, err := os.Stat(filepath.Join(dir, keepFile)); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// TestAppPasswordsTakenBack: what cannot be written is taken back, and nothing else that was
// changed meanwhile.
func TestAppPasswordsTakenBack(t *testing.T) {
	a, _ := newProving(t, config.Logins{Keep: t.TempDir()}, nil, config.User{Name: "alice"})
	k := a.proving().keep
	encode := k.encode
	writing, full := make(chan bool), make(chan bool)
	k.encode = func() ([]byte, error) {
		k.encode = encode
		close(writing)
		<-full
		return nil, errors.New("no space left")
	}
	first, second := make(chan error), make(chan error)
	add := func(name string, done chan error) {
		_, err := a.AddAppPassword("alice", name, nil)
		done <- err
	}
	go add("phone", first)
	<-writing
	go add("laptop", second)
	time.Sleep(50 * time.Millisecond) // of the second, to get as far as it can
	close(full)
	if err := <-first; err == nil {
		t.Error("what was not written is no error")
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	for name, all := range map[string][]AppPassword{"in force": a.AppPasswords("alice"), "kept": appsIn(t, k.path())} {
		if len(all) != 1 || all[0].Name != "laptop" {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// appsIn gives alice's app passwords that a file has.
func appsIn(t *testing.T, path string) (all []AppPassword) {
	t.Helper()
	k, err := openKeep(filepath.Dir(path), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, app := range k.apps("alice") {
		all = append(all, AppPassword{User: "alice", Name: app.Name})
	}
	return all
}

// TestKeptOfMany: what one of many users is shown and does costs no more than it would
// beside a few: the page of their app passwords, and their use.
func TestKeptOfMany(t *testing.T) {
	a, _ := newProving(t, config.Logins{Keep: t.TempDir()}, nil, virtual(t, "alice", "right"))
	if _, err := a.AddAppPassword("alice", "phone", nil); err != nil {
		t.Fatal(err)
	}
	k := a.proving().keep
	shown := func() float64 { return testing.AllocsPerRun(10, func() { a.AppPasswords("alice") }) }
	alone, patience := shown(), k.patience()
	for n := range 10_000 {
		name := fmt.Sprint("user", n)
		k.setApps(name, []keptApp{{Name: "phone", Digest: appDigest(name, "x"), Made: time.Unix(1, 0)}})
	}
	if beside := shown(); beside > alone {
		t.Errorf("%v allocations for a user's app passwords, %v without others", beside, alone)
	}
	if err := k.write(); err != nil {
		t.Fatal(err)
	}
	// A use is written down before long: here it would be a whole file every two seconds.
	info, err := os.Stat(k.path())
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Duration(info.Size()) * time.Microsecond; patience != lazy || info.Size() < 1<<20 || k.patience() != max(want, lazy) {
		t.Errorf("a file of %d octets is written again after %v; the small one after %v", info.Size(), k.patience(), patience)
	}
}

// What is kept is damaged in every way, and nobody is kept from logging in with what
// the description has.
func TestKeepDamaged(t *testing.T) {
	dir := t.TempDir()
	alice := virtual(t, "alice", "right")
	a, _ := newProving(t, config.Logins{Keep: dir}, nil, alice)
	if _, err := a.AddAppPassword("alice", "phone", nil); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, keepFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{}", "[]", string(whole[:len(whole)/2]), strings.Replace(string(whole), `"version":1`, `"version":0`, 1), `{"version":1,"apps":{}}`, "\x00"} {
		if err := os.WriteFile(filepath.Join(dir, keepFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, log := newProving(t, config.Logins{Keep: dir}, nil, alice)
		if v := present(b, "", "alice", "right", ""); v.User != "alice" {
			t.Errorf("%.10q: %+v", text, v)
		}
		if _, err := b.AddAppPassword("alice", "phone", nil); err != nil {
			t.Errorf("%.10q: %v", text, err)
		}
		if !strings.Contains(log.String(), "put aside") {
			t.Errorf("%.10q: the log does not say it: %s", text, log)
		}
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, keepFile+".damaged-*")); len(aside) == 0 {
		t.Error("nothing was put aside")
	}
	c, log := newProving(t, config.Logins{Keep: filepath.Join(dir, "nonexistent")}, nil, alice)
	if v := present(c, "", "alice", "right", ""); v.User != "alice" || !strings.Contains(log.String(), "nothing is kept") {
		t.Errorf("without a directory: %+v", v)
	}
	if _, err := c.AddAppPassword("alice", "phone", nil); !errors.Is(err, errNotKept) {
		t.Errorf("without a directory: %v", err)
	}
}

// What cannot be read is left where it is, and nothing is kept in its place: it may be
// sound. Whoever starts the daemon is told.
func TestKeepUnreadable(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a newer version": func(path string) error {
			return os.WriteFile(path, []byte(`{"version":2,"secret":""}`), 0o600)
		},
		"an error of reading": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, keepFile)
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		a, _ := newProving(t, config.Logins{Keep: t.TempDir()}, nil)
		if err := a.Admit(&config.Config{Logins: &config.Logins{Keep: dir}}, nil, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if all, err := os.ReadDir(dir); err != nil || len(all) != 1 || all[0].Name() != keepFile {
			t.Errorf("%s: left are %v, %v", name, all, err)
		}
	}
}

// A file of another's, as a copy that was put back by root is, is to be given to auth.
func TestReadFilePermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	path := filepath.Join(t.TempDir(), keepFile)
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeep(filepath.Dir(path), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("let uid %d read it", os.Geteuid())) {
		t.Error(err)
	}
}
