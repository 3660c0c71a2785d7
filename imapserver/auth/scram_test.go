package auth

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// verified is a user with a verifier.
func verified(t testing.TB, name, password string) config.User {
	t.Helper()
	v, err := sasl.MakeVerifier(password, []byte("salt of " + name + "........")[:16], sasl.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	return config.User{Name: name, Hash: v.String()}
}

// step presents one response.
func step(a *Auth, addr, mechanism string, e *handoff.Exchange) handoff.Verdict {
	return a.Authenticate(context.Background(), &handoff.Credentials{ID: "id of " + addr, Mechanism: mechanism, Remote: from(addr), TLS: true, Exchange: e})
}

// tryDriven has a client of another make log in, and gives every challenge besides.
func tryDriven(a *Auth, addr, user, password string) (v handoff.Verdict, challenges []string) {
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		panic(err)
	}
	conversation := client.NewConversation()
	response, err := conversation.Step("")
	e := &handoff.Exchange{Response: []byte(response)}
	for err == nil {
		if v = step(a, addr, scramPlain, e); v.Exchange == "" {
			return v, challenges
		}
		challenges = append(challenges, v.Challenge)
		if response, err = conversation.Step(v.Challenge); conversation.Done() {
			response = ""
		}
		e = &handoff.Exchange{ID: v.Exchange, Response: []byte(response)}
	}
	return handoff.Verdict{Text: err.Error()}, challenges
}

func TestSCRAM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := newAuth(t, Default, nil, verified(t, "alice", "right"), verified(t, "bob", "other"))
		if v, challenges := tryDriven(a, "192.0.2.1", "alice", "right"); v != (handoff.Verdict{User: "alice"}) || len(challenges) != 2 {
			t.Errorf("%+v %q", v, challenges)
		}
		if v, _ := try(a, "192.0.2.1", "alice", "right"); v.User != "alice" {
			t.Errorf("with the password: %+v", v)
		}
		want := handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Authentication failed."}
		for i, tt := range [][2]string{{"alice", "other"}, {"bob", "right"}, {"nobody", "right"}} {
			start := time.Now()
			v, challenges := tryDriven(a, fmt.Sprintf("198.51.100.%d", i), tt[0], tt[1])
			want.Tried = tt[0]
			if v != want || len(challenges) != 1 || time.Since(start) != Default.Delay {
				t.Errorf("%q: %+v %q after %v", tt, v, challenges, time.Since(start))
			}
		}
		for _, reason := range []string{`addr=198.51.100.2 user=nobody session="id of 198.51.100.2" mechanism=SCRAM-SHA-256 tls=true reason="no such user"`, `reason="wrong password"`} {
			if !strings.Contains(log.String(), reason) {
				t.Errorf("the log has no %s:\n%s", reason, log)
			}
		}
	})
}

// What is asked of users and of nobody has the same form, and the same salt each
// time, by another process with the secret of the host too.
func TestSCRAMTellsNobody(t *testing.T) {
	a, _ := newAuth(t, Default, nil, verified(t, "alice", "right"), verified(t, "bob", "right"))
	b, _ := newAuth(t, Default, nil, verified(t, "alice", "right"), verified(t, "bob", "right"))
	b.proving().keep = a.proving().keep
	salt := func(a *Auth, user string) string {
		v := step(a, "192.0.2.1", scramPlain, &handoff.Exchange{Response: []byte("n,,n=" + user + ",r=abc")})
		_, s, ok := strings.Cut(v.Challenge, ",")
		if !ok || !strings.HasPrefix(v.Challenge, "r=abc") || v.Code != "" || v.User != "" {
			t.Fatalf("%s: %+v", user, v)
		}
		return s
	}
	seen := map[string]string{}
	for _, user := range []string{"alice", "bob", "nobody", "no=2Cbody"} {
		s := salt(a, user)
		if s != salt(a, user) || s != salt(b, user) {
			t.Errorf("%s: the salt is another each time", user)
		}
		if other, ok := seen[s]; ok || len(s) != len(salt(a, "alice")) {
			t.Errorf("%s: %q, as of %q", user, s, other)
		}
		seen[s] = user
		if s != salt(a, strings.ToUpper(user)) && user != "no=2Cbody" { // the escape has a small letter
			t.Errorf("%s: capitals change the salt", user)
		}
	}
}

func TestMechanisms(t *testing.T) {
	hashed := virtual(t, "carol", "right")
	for _, tt := range []struct {
		users []config.User
		want  int
	}{
		{nil, 0},
		{[]config.User{verified(t, "alice", "x"), verified(t, "dave", "right")}, 2},
		{[]config.User{verified(t, "alice", "x"), hashed}, 0},
		{[]config.User{verified(t, "alice", "x"), {Name: "pam"}}, 0},
	} {
		a, _ := newAuth(t, Default, nil, tt.users...)
		if got := a.Mechanisms("imap"); len(got) != tt.want {
			t.Errorf("%d users: %q", len(tt.users), got)
		}
		if v := step(a, "192.0.2.1", scramPlain, &handoff.Exchange{Response: []byte("n,,n=alice,r=abc")}); (v.Code == "CANNOT") != (tt.want == 0) {
			t.Errorf("%d users: %+v", len(tt.users), v)
		}
	}
}

// An exchange is of one connection and one mechanism, and each challenge is
// answered once.
func TestExchangeIsOfItsConnection(t *testing.T) {
	a, _ := newAuth(t, Default, nil, verified(t, "alice", "right"))
	begin := func() string {
		return step(a, "192.0.2.1", scramPlain, &handoff.Exchange{Response: []byte("n,,n=alice,r=abc")}).Exchange
	}
	final := []byte("c=biws,r=abc,p=AAAA") // of wrong syntax, where it is heard
	for what, v := range map[string]handoff.Verdict{
		"another connection": step(a, "192.0.2.2", scramPlain, &handoff.Exchange{ID: begin(), Response: final}),
		"another mechanism":  step(a, "192.0.2.1", scramPlus, &handoff.Exchange{ID: begin(), Response: final}),
		"a made-up name":     step(a, "192.0.2.1", scramPlain, &handoff.Exchange{ID: "x", Response: final}),
	} {
		if v.Code != "CANNOT" {
			t.Errorf("%s: %+v", what, v)
		}
	}
	id := begin()
	if v := step(a, "192.0.2.1", scramPlain, &handoff.Exchange{ID: id, Response: final}); !v.Syntax {
		t.Errorf("%+v", v)
	}
	if v := step(a, "192.0.2.1", scramPlain, &handoff.Exchange{ID: id, Response: final}); v.Code != "CANNOT" {
		t.Errorf("once more: %+v", v)
	}
	synctest.Test(t, func(t *testing.T) {
		id := begin()
		time.Sleep(exchangeLife + time.Second)
		if v := step(a, "192.0.2.1", scramPlain, &handoff.Exchange{ID: id, Response: final}); v.Code != "CANNOT" {
			t.Errorf("too late: %+v", v)
		}
	})
}

// Exchanges that are given up at each step leave nothing, and keep nobody else from
// logging in. MAILSTEAD_ABORTS=100000 is the number that is asked for.
func TestAbortedExchanges(t *testing.T) {
	aborts := 10_000
	if testing.Short() {
		aborts = 2000
	}
	if n, err := strconv.Atoi(os.Getenv("MAILSTEAD_ABORTS")); err == nil {
		aborts = n
	}
	a, _ := newAuth(t, Limits{Table: 1024, Queue: 16, SourceMinute: 1e9, SourceDay: 1e9, AccountMinute: 1e9, AccountDay: 1e9}, nil, verified(t, "alice", "right"), verified(t, "bob", "right"))
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if v, _ := tryDriven(a, "192.0.2.9", "bob", "right"); v.User != "bob" {
				t.Errorf("another user: %+v", v)
			}
		}
	})
	abort := func(n int) {
		for i := range n {
			name := fmt.Sprintf("u%d", i)
			step(a, "192.0.2.1", scramPlain, &handoff.Exchange{Response: []byte("n,,n=" + name)}) // bad
			v := step(a, "192.0.2.1", scramPlain, &handoff.Exchange{})                            // never answered
			if v = step(a, "192.0.2.1", scramPlain, &handoff.Exchange{ID: v.Exchange, Response: []byte("n,,n=" + name + ",r=a")}); v.Exchange == "" {
				t.Fatalf("%+v", v)
			}
			if i%2 == 0 {
				step(a, "192.0.2.1", scramPlain, &handoff.Exchange{ID: v.Exchange, Cancelled: true})
			}
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	abort(2 * maxExchanges) // until it is as full as it gets
	before := heap()
	abort(aborts)
	if after := heap(); after > before+1<<20 {
		t.Errorf("%d octets more after %d exchanges", after-before, aborts)
	}
	close(stop)
	others.Wait()
	if n := len(a.exchanges.waiting); n > maxExchanges || n != a.exchanges.order.Len() {
		t.Errorf("%d exchanges wait, %d in order", n, a.exchanges.order.Len())
	}
}

// TestOfferedWithTheLast: SCRAM is offered from the login on at which the last user got a
// verifier, whatever the table has become meanwhile, and somebody is told; nobody looks
// like the others from then on.
func TestOfferedWithTheLast(t *testing.T) {
	c := config.Logins{Keep: t.TempDir(), Upgrade: config.Verifier}
	alice, bob := virtual(t, "alice", "right of alice"), virtual(t, "bob", "right of bob")
	a, _ := newProving(t, c, nil, alice, bob)
	told := 0
	a.changed = func() { told++ }
	login := func(user string) {
		t.Helper()
		if v := present(a, "", user, "right of "+user, ""); v.User != user {
			t.Fatalf("%+v", v)
		}
		a.aside.Wait()
	}
	login("alice")
	if m := a.Mechanisms("imap"); len(m) > 0 || told > 0 {
		t.Fatalf("offered before bob has a verifier: %q, told %d times", m, told)
	}
	if err := a.Update([]config.User{alice, bob}); err != nil { // a reload has what is kept
		t.Fatal(err)
	}
	login("bob")
	if m := a.Mechanisms("imap"); !slices.Equal(m, []string{scramPlus, scramPlain}) || told != 1 {
		t.Fatalf("offered: %q, told %d times", m, told)
	}
	for _, user := range []string{"alice", "bob"} {
		if v, _ := tryDriven(a, "192.0.2.1", user, "right of "+user); v.User != user {
			t.Errorf("%s: %+v", user, v)
		}
	}
	v, challenges := tryDriven(a, "192.0.2.1", "nobody", "right")
	if v.User != "" || len(challenges) != 1 || !strings.HasSuffix(challenges[0], fmt.Sprintf(",i=%d", sasl.UseIterations)) {
		t.Errorf("nobody: %+v %q", v, challenges)
	}
	if like := a.table.Load().like.Load(); like.dummy.cost != fmt.Sprintf("scram %d", sasl.UseIterations) {
		t.Errorf("an unknown user costs %s, and all others are verifiers", like.dummy.cost)
	}
	if err := a.Update([]config.User{alice, bob, {Name: "carol"}}); err != nil { // of the host
		t.Fatal(err)
	}
	if m := a.Mechanisms("imap"); len(m) > 0 {
		t.Errorf("offered beside a user of PAM: %q", m)
	}
}

// TestUpgradeAfterReload: a hash that was made while the table was replaced counts in the
// new one.
func TestUpgradeAfterReload(t *testing.T) {
	alice := virtual(t, "alice", "right of alice")
	a, _ := newProving(t, config.Logins{Keep: t.TempDir(), Upgrade: config.Verifier}, nil, alice)
	old := a.table.Load().users["alice"]
	if err := a.Update([]config.User{alice}); err != nil {
		t.Fatal(err)
	}
	a.upgrade(old, *old.hash.Load(), "right of alice")
	a.aside.Wait()
	if a.table.Load().users["alice"].verifier() == nil {
		t.Error("the new table has the old hash")
	}
}

// TestPlusSwitchedOff takes a client at its word that no -PLUS was offered, where that is
// so: it would have to ask for it elsewhere (RFC 5802 §6).
func TestPlusSwitchedOff(t *testing.T) {
	a, _ := newAuth(t, Default, nil, verified(t, "alice", "right"))
	c := &config.Config{Listeners: []config.Listener{{Name: "imap", Off: []string{"auth=scram-sha-256-plus"}}, {Name: "imaps"}}}
	if err := a.Prove(c, nil); err != nil {
		t.Fatal(err)
	}
	for listener, good := range map[string]bool{"imap": true, "imaps": false} {
		v := a.Authenticate(t.Context(), &handoff.Credentials{
			ID: "id", Listener: listener, Mechanism: scramPlain, Remote: from("192.0.2.1"), TLS: true,
			Exchange: &handoff.Exchange{Response: []byte("y,,n=alice,r=nonce")},
		})
		if (v.Exchange != "") != good {
			t.Errorf("%s: %+v", listener, v)
		}
	}
}
