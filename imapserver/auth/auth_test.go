package auth

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// journal is a log that tests can read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// virtual is a user with a hash.
func virtual(t testing.TB, name, password string) config.User {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), minBcryptCost)
	if err != nil {
		t.Fatal(err)
	}
	return config.User{Name: name, Hash: string(h)}
}

func newAuth(t testing.TB, l Limits, helpers HelperSource, users ...config.User) (*Auth, *journal) {
	t.Helper()
	log := &journal{}
	a := New(Options{Log: slog.New(slog.NewTextHandler(log, nil)), Limits: l, Helpers: helpers})
	if err := a.Update(users); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, log
}

func from(addr string) netip.Addr { return netip.MustParseAddr(addr) }

// A name in other capitals is that of who has it so, then of who has it in small letters,
// then of the one who is left; guesses at it count against them.
func TestCapitals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := newAuth(t, Default, nil, virtual(t, "alice", "a"), virtual(t, "Bob", "b"), virtual(t, "carol", "c"), virtual(t, "Carol", "C"), virtual(t, "Dan", "d"), virtual(t, "DAN", "D"))
		for _, tt := range []struct{ user, password, name string }{
			{"alice", "a", "alice"}, {"Alice", "a", "alice"}, {"ALICE", "a", "alice"},
			{"Bob", "b", "Bob"}, {"bob", "b", "Bob"}, {"BOB", "b", "Bob"},
			{"carol", "c", "carol"}, {"Carol", "C", "Carol"}, {"Carol", "c", ""}, {"CAROL", "c", "carol"}, {"CAROL", "C", ""},
			{"Dan", "d", "Dan"}, {"DAN", "D", "DAN"}, {"dan", "d", ""}, {"dan", "D", ""},
		} {
			if v, _ := try(a, "192.0.2.1", tt.user, tt.password); v.User != tt.name {
				t.Errorf("%s with %s: %+v, not %q", tt.user, tt.password, v, tt.name)
			}
		}
		for i := range int(Default.AccountMinute) + 20 {
			try(a, fmt.Sprintf("198.51.%d.1", i), []string{"alice", "Alice", "ALICE", "aLICE"}[i%4], fmt.Sprint("guess ", i))
		}
		if !strings.Contains(log.String(), "too many failed logins of this user") || strings.Contains(log.String(), "user=aLICE") {
			t.Errorf("guesses in capitals are nobody's: %s", log)
		}
		// So it is of users of directories, whom the table does not know.
		if a.guesses.pair("dora", from("192.0.2.1")) != a.guesses.pair("DORA", from("192.0.2.1")) {
			t.Error("capitals give a name a quota of its own")
		}
	})
}

// try logs in, and gives the verdict and the time it took.
func try(a *Auth, addr, user, password string) (handoff.Verdict, time.Duration) {
	start := time.Now()
	v := a.Authenticate(context.Background(), &handoff.Credentials{ID: "id", User: user, Password: password, Remote: from(addr), TLS: true})
	return v, time.Since(start)
}

func TestAuthenticate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := newAuth(t, Default, nil, virtual(t, "alice", "right"), virtual(t, "Grüße", "päss"))
		for user, password := range map[string]string{"alice": "right", "Grüße": "päss"} {
			if v, d := try(a, "192.0.2.1", user, password); v != (handoff.Verdict{User: user}) || d > 0 {
				t.Errorf("%s: %+v after %v", user, v, d)
			}
		}
		if log.String() != "" {
			t.Errorf("good logins are logged by login: %s", log)
		}
		want := handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Authentication failed."}
		for i, tt := range [][2]string{
			{"alice", "wr0ng"}, {"alice", "Right"}, {"alice", "right "}, {"Alice", "Right"}, {"nobody", "right"}, {"alice ", "right"},
			{"", "right"}, {"alice", ""}, {"alice\x00", "right"}, {"alice", "right\x00"}, {"*", "right"}, {"alice\n", "right"},
			{strings.Repeat("a", 64<<10), "x"}, {"alice", strings.Repeat("a", 64<<10)}, {"\xff", "x"}, {"../alice", "right"}, {"%{user}", "x"},
		} {
			// Each from a source of its own: what they have in common is the answer.
			v, d := try(a, fmt.Sprintf("198.51.100.%d", i), tt[0], tt[1])
			if v != want {
				t.Errorf("%.20q %.20q: %+v", tt[0], tt[1], v)
			}
			if d != Default.Delay {
				t.Errorf("%.20q %.20q: refused after %v", tt[0], tt[1], d)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 17 {
			t.Errorf("%d lines for 17 failed logins", n)
		}
		for _, secret := range []string{"right", "wr0ng", "Right"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("%q is in the log", secret)
			}
		}
		if len(log.String()) > 17*1000 {
			t.Errorf("%d octets of log for 17 failed logins", len(log.String()))
		}
		if !strings.Contains(log.String(), `user="alice\n"`) {
			t.Error("a line feed in a name is not escaped in the log")
		}
	})
}

// TestFailureIsLoggedAtOnce looks for the line while the client still waits.
func TestFailureIsLoggedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := newAuth(t, Default, nil, virtual(t, "alice", "right"))
		go try(a, "192.0.2.1", "alice", "wrong")
		synctest.Wait()
		if !strings.Contains(log.String(), `msg="login failed" addr=192.0.2.1 user=alice session=id`) {
			t.Errorf("log: %s", log)
		}
		time.Sleep(time.Minute)
	})
}

// TestDummy spends on unknown users what most of the known ones cost.
func TestDummy(t *testing.T) {
	nothing, err := openKeep("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	table, err := newTable([]config.User{
		{Name: "a", Hash: hashes["sha512"]},
		{Name: "b", Hash: hashes["bcrypt b"]},
		{Name: "c", Hash: hashes["bcrypt y"]},
		{Name: "d"},
	}, &logins{keep: nothing})
	if err != nil {
		t.Fatal(err)
	}
	like := table.like.Load()
	if like.dummy.cost != "bcrypt 05" {
		t.Errorf("dummy: %s", like.dummy.cost)
	}
	called := false
	like.dummy.verify = func([]byte) bool { called = true; return true }
	a := New(Options{Log: slog.New(slog.DiscardHandler), Limits: Limits{Table: 10, SourceMinute: 10, SourceDay: 10, AccountMinute: 10, AccountDay: 10, Queue: 10}})
	a.table.Store(table)
	for name, want := range map[string]backend{"a": hashTable{a, table}, "d": a.pool, "x": hashTable{a, table}} {
		if got := a.backends(table, &handoff.Credentials{User: name}); len(got) != 1 || got[0] != want {
			t.Errorf("%s is known by %T", name, got)
		}
	}
	if _, f := a.judge(t.Context(), &handoff.Credentials{User: "x", Password: "p"}, pair{}); f.reason != "no such user" || !called {
		t.Errorf("%+v; the dummy was computed: %v", f, called)
	}
}

func TestUpdate(t *testing.T) {
	a, _ := newAuth(t, Default, nil, virtual(t, "alice", "right"))
	err := a.Update([]config.User{{Name: "bob", Hash: "$1$x$y"}, {Name: "carol", Hash: "$6$x"}, virtual(t, "dave", "x")})
	if err == nil || !strings.Contains(err.Error(), `"bob"`) || !strings.Contains(err.Error(), `"carol"`) {
		t.Errorf("bad hashes: %v", err)
	}
	if v, _ := try(a, "192.0.2.1", "alice", "right"); v.User != "alice" {
		t.Error("after a refused update the old table is not in force")
	}
	if err := a.Update([]config.User{virtual(t, "alice", "new")}); err != nil {
		t.Fatal(err)
	}
	if v, _ := try(a, "192.0.2.1", "alice", "new"); v.User != "alice" {
		t.Error("the new password is refused")
	}
}

// TestTarpit makes a source that goes on wait longer, and never one that gets
// it right.
func TestTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAuth(t, Default, nil, virtual(t, "alice", "right"))
		var took []time.Duration
		for i := range 4 {
			_, d := try(a, "192.0.2.1", "alice", fmt.Sprint(i))
			took = append(took, d)
		}
		if want := []time.Duration{2 * time.Second, 8 * time.Second, 15 * time.Second, 15 * time.Second}; fmt.Sprint(took) != fmt.Sprint(want) {
			t.Errorf("refused after %v, not %v", took, want)
		}
		if v, d := try(a, "192.0.2.1", "alice", "right"); v.User != "alice" || d > 0 {
			t.Errorf("the right password: %+v after %v", v, d)
		}
		if _, d := try(a, "192.0.2.2", "alice", "0"); d != Default.Delay {
			t.Errorf("another source: %v", d)
		}
		time.Sleep(time.Hour)
		if _, d := try(a, "192.0.2.1", "alice", "new guess"); d != Default.Delay {
			t.Errorf("an hour later: %v", d)
		}
	})
}

// guessed makes every guess another one.
var guessed atomic.Int64

// guess tries n passwords at once and says how many were looked at.
func guess(a *Auth, n int, addr func(i int) string, user func(i int) string) int {
	var heard atomic.Int64
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if v, _ := try(a, addr(i), user(i), fmt.Sprint("guess ", guessed.Add(1))); v.Code == "AUTHENTICATIONFAILED" {
				heard.Add(1)
			}
		})
	}
	all.Wait()
	return int(heard.Load())
}

func always(s string) func(int) string { return func(int) string { return s } }

// TestGuesses holds one source to its quota, however many accounts it tries, and
// one account to its, however many sources try it, the owner excepted.
func TestGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Default
		limits.Hashing = 1
		a, _ := newAuth(t, limits, nil, virtual(t, "alice", "right"), virtual(t, "bob", "right"))
		if v, _ := try(a, "192.0.2.200", "alice", "right"); v.User == "" {
			t.Fatal("the owner cannot log in")
		}
		start := time.Now()
		heard := 0
		for time.Since(start) < time.Minute-Default.MaxDelay {
			heard += guess(a, 20, always("2001:db8::1"), func(i int) string { return fmt.Sprint("user", i) })
		}
		if heard > int(Default.SourceMinute) || heard == 0 {
			t.Errorf("%d guesses of one source in a minute", heard)
		}
		if v, _ := try(a, "2001:db8::2", "bob", "right"); v.Code != "LIMIT" {
			t.Errorf("another address of the same /64: %+v", v)
		}
		for time.Since(start) < 24*time.Hour-time.Minute {
			heard += guess(a, 3, always("2001:db8::1"), func(i int) string { return fmt.Sprint("user", i) })
			time.Sleep(10 * time.Minute)
		}
		if heard > int(Default.SourceDay) {
			t.Errorf("%d guesses of one source in a day", heard)
		}

		heard = guess(a, 1000, func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) }, always("alice"))
		if heard > int(Default.AccountMinute) || heard == 0 {
			t.Errorf("%d guesses at one account at once", heard)
		}
		if v, d := try(a, "192.0.2.200", "alice", "right"); v.User != "alice" || d > 2*time.Second {
			t.Errorf("the owner at home: %+v after %v", v, d)
		}
		if v, _ := try(a, "192.0.2.200", "bob", "right"); v.User != "bob" {
			t.Errorf("another user: %+v", v)
		}
	})
}

// TestLimitsChange has a reload change what holds for guesses, and keeps what
// has been counted.
func TestLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAuth(t, Default, nil, virtual(t, "alice", "right"))
		if n := guess(a, 20, always("192.0.2.1"), always("alice")); n == 20 {
			t.Fatal("no limit at all")
		}
		a.Limit(map[string]int64{"guessesPerAddress": 1000, "guessesPerAddressAndDay": 1000, "guessesPerUser": 1000, "guessesPerUserAndDay": 1000, "delay": 1, "longestDelay": 1})
		if n := guess(a, 20, always("192.0.2.1"), always("alice")); n != 20 {
			t.Errorf("%d of 20 guesses were heard under a limit of 1000", n)
		}
		if _, d := try(a, "192.0.2.1", "alice", "one more"); d != time.Second {
			t.Errorf("refused after %v", d)
		}
		a.Limit(nil)
		if v, _ := try(a, "192.0.2.1", "alice", "right"); v.Code != "LIMIT" {
			t.Errorf("back to the defaults, what was counted is forgotten: %+v", v)
		}
	})
}

// TestOldPassword lets a device go on with a password that is no longer right
// without locking anyone out.
func TestOldPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAuth(t, Default, nil, virtual(t, "alice", "new"), virtual(t, "bob", "right"))
		for range 200 {
			if v, d := try(a, "192.0.2.1", "alice", "old"); v.Code != "AUTHENTICATIONFAILED" || d != Default.Delay {
				t.Fatalf("%+v after %v", v, d)
			}
		}
		for user, password := range map[string]string{"alice": "new", "bob": "right"} {
			if v, _ := try(a, "192.0.2.1", user, password); v.User != user {
				t.Errorf("%s: %+v", user, v)
			}
		}
	})
}

// TestNobodyForAnother logs many users in at once, with right and with wrong
// passwords: each verdict is about the one who asked.
func TestNobodyForAnother(t *testing.T) {
	limits := Default
	limits.Delay, limits.MaxDelay = 0, 0
	var users []config.User
	hash := virtual(t, "", "right").Hash
	for i := range 100 {
		users = append(users, config.User{Name: fmt.Sprint("user", i), Hash: hash})
	}
	a, _ := newAuth(t, limits, nil, users...)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			name, password := fmt.Sprint("user", i%100), "right"
			if i%2 == 1 {
				password = "wrong"
			}
			v, _ := try(a, fmt.Sprintf("10.0.%d.1", i), name, password)
			if want := map[string]string{"right": name, "wrong": ""}[password]; v.User != want {
				t.Errorf("%s with the %s password: %+v", name, password, v)
			}
		})
	}
	all.Wait()
}

// TestQueueIsBounded turns logins away that would wait behind too many others.
func TestQueueIsBounded(t *testing.T) {
	q := newQueue(1, 2)
	if err := q.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 3)
	for range 3 {
		go func() { results <- q.enter(ctx) }()
	}
	if err := <-results; err != errBusy {
		t.Errorf("the third who waits: %v", err)
	}
	cancel()
	for range 2 {
		if err := <-results; err == nil || err == errBusy {
			t.Errorf("given up: %v", err)
		}
	}
	q.leave()
	if err := q.enter(t.Context()); err != nil {
		t.Errorf("after all have left: %v", err)
	}
}

func TestTablesAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBuckets[int](quota{10, 50}, 100)
	b.add(5, now)
	for i := range 1000 {
		b.add(i, now)
	}
	if len(b.m) != 100 || b.full(5, now) || b.level(5, now) != 2 || b.level(999, now) != 1 {
		t.Errorf("%d entries; the first counts %v, the last %v", len(b.m), b.level(5, now), b.level(999, now))
	}
	later := now.Add(48 * time.Hour)
	b.add(5000, later)
	if len(b.m) != 1 {
		t.Errorf("%d entries after two days", len(b.m))
	}
	m := newMemory[int, int](100)
	for i := range 1000 {
		m.update(i, now.Add(time.Duration(i)), func(int) int { return i })
	}
	if len(m.m) != 100 {
		t.Errorf("%d things remembered", len(m.m))
	}
	if v, ok := m.get(999); !ok || v != 999 {
		t.Error("the latest is forgotten")
	}
}
