package auth

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/config"
)

// newGuarded has masters, a directory and the usual limits.
func newGuarded(t *testing.T) *Auth {
	t.Helper()
	a, _ := newAuth(t, Default, nil)
	masters := []config.User{{Name: "admin", Hash: virtual(t, "", "strong").Hash, Master: true}}
	if err := a.Prove(&config.Config{Logins: &config.Logins{Keep: t.TempDir()}}, masters); err != nil {
		t.Fatal(err)
	}
	if err := a.Update([]config.User{virtual(t, "alice", "right"), virtual(t, "bob", "right")}); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestManyAtAMaster: many tries at once gain nothing at a master's password either.
func TestManyAtAMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newGuarded(t)
		a.hashing = newQueue(1, Default.Queue)
		if heard := guess(a, 100, always("192.0.2.1"), always("alice*admin")); heard > int(Default.SourceMinute) || heard == 0 {
			t.Errorf("%d of 100 guesses at once were heard", heard)
		}
	})
}

// TestUnheard: whoever has guessed too often is not let in by what no backend
// checks.
func TestUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newGuarded(t)
		app, err := a.AddAppPassword("alice", "phone", nil)
		if err != nil {
			t.Fatal(err)
		}
		guess(a, 20, always("192.0.2.1"), always("bob"))
		if v, _ := try(a, "192.0.2.1", "alice", app); v.Code != "LIMIT" {
			t.Errorf("where too many guesses came from: %+v", v)
		}
		if v, _ := try(a, "192.0.2.9", "alice", app); v.User != "alice" {
			t.Errorf("elsewhere: %+v", v)
		}
	})
}

// TestWrongAtHome: a device at home that has the wrong passwords does not lock its
// owner out elsewhere.
func TestWrongAtHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newGuarded(t)
		if v, _ := try(a, "192.0.2.1", "alice", "right"); v.User != "alice" {
			t.Fatalf("%+v", v)
		}
		guess(a, 200, always("192.0.2.1"), always("alice"))
		if v, _ := try(a, "198.51.100.1", "alice", "right"); v.User != "alice" {
			t.Errorf("%+v", v)
		}
	})
}

// TestMasterIsNotTold: a master whom there is not costs the hash of one.
func TestMasterIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newGuarded(t)
		l := a.proving()
		hashed := 0
		counted := func(h Hash) Hash {
			verify := h.verify
			h.verify = func(password []byte) bool { hashed++; return verify(password) }
			return h
		}
		l.dummy, l.masters["admin"] = counted(l.dummy), counted(l.masters["admin"])
		for i, name := range []string{"alice*admin", "alice*nobody", "nobody*admin", "nobody*nobody"} {
			present(a, "", name, fmt.Sprint("wrong", i), "")
			if hashed != i+1 {
				t.Errorf("%s: %d hashes after %d tries", name, hashed, i+1)
			}
		}
	})
}

// TestLateRefusal: a check that takes longer than a refusal does is rounded up.
func TestLateRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newGuarded(t)
		dummy := &a.table.Load().like.Load().dummy
		dummy.verify = func([]byte) bool { time.Sleep(Default.Delay * 5 / 4); return false }
		if _, d := try(a, "192.0.2.1", "nobody", "wrong"); d != 2*Default.Delay {
			t.Errorf("%v", d)
		}
	})
}
