package auth

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/handoff"
)

// behind is servers that are named like their users: slow does not answer, and the
// others say what their users are called.
type behind struct{}

func (behind) Server(c *handoff.Credentials) string { return c.User }
func (behind) Shared(_ string, a netip.Addr) bool   { return a.IsLoopback() }
func (behind) Check(ctx context.Context, c *handoff.Credentials) (handoff.Verdict, error) {
	if strings.HasPrefix(c.Password, "guess ") {
		return handoff.Verdict{Code: refused.code, Text: "No."}, nil
	}
	switch c.User {
	case "slow":
		<-ctx.Done()
		return handoff.Verdict{}, ctx.Err()
	case "good":
		return handoff.Verdict{User: c.User}, nil
	}
	return handoff.Verdict{Code: c.User, Text: "No."}, nil
}

// A server behind a proxy that hangs has a line of its own.
func TestRemoteLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Options{Log: slog.New(slog.DiscardHandler), Limits: Default, Remote: behind{}})
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 * Default.Remote {
			go a.Authenticate(ctx, &handoff.Credentials{User: "slow", Password: "x", Remote: from("192.0.2.1")})
		}
		synctest.Wait()
		if v, _ := try(a, "192.0.2.2", "good", "x"); v.User != "good" {
			t.Errorf("%+v", v)
		}
		cancel()
		synctest.Wait()
	})
}

// fail2ban bans nobody for what says nothing of the password.
func TestRemoteRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for code, event := range map[string]string{
			"AUTHENTICATIONFAILED": "login failed", "EXPIRED": "login failed",
			"LIMIT": "login not checked", "INUSE": "login not checked", "UNAVAILABLE": "login not checked", "SERVERBUG": "login not checked",
		} {
			log := &journal{}
			a := New(Options{Log: slog.New(slog.NewTextHandler(log, nil)), Limits: Default, Remote: behind{}})
			v, _ := try(a, "192.0.2.1", code, "x")
			if v.Code != code || !strings.Contains(log.String(), `msg="`+event+`" addr=192.0.2.1 `) {
				t.Errorf("%s: %+v %s", code, v, log)
			}
		}
	})
}

// A proxy in front of us delays refusals itself, and says where many users come from.
func TestInFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAuth(t, Default, nil, virtual(t, "alice", "right"), virtual(t, "bob", "right"))
		try := func(user, password string) (handoff.Verdict, time.Duration) {
			start := time.Now()
			v := a.Authenticate(t.Context(), &handoff.Credentials{User: user, Password: password, Remote: from("192.0.2.1"), AtOnce: true, Shared: true})
			return v, time.Since(start)
		}
		for i := range 100 {
			if v, d := try("alice", fmt.Sprint("guess ", i)); v.Code == "" || d > 0 {
				t.Fatalf("%+v after %v", v, d)
			}
		}
		if v, _ := try("bob", "right"); v.User != "bob" {
			t.Errorf("guesses at one user of web mail keep another out: %+v", v)
		}
	})
}

// At web mail guesses count for the user there, also of one who has logged in there; those
// of other addresses keep nobody out who has.
func TestRemoteShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Options{Log: slog.New(slog.DiscardHandler), Limits: Default, Remote: behind{}})
		if v, _ := try(a, "127.0.0.1", "good", "x"); v.User != "good" {
			t.Fatalf("%+v", v)
		}
		guess(a, 1000, func(i int) string { return fmt.Sprintf("10.0.%d.%d", i/250, i%250) }, always("good"))
		if v, _ := try(a, "127.0.0.1", "good", "x"); v.User != "good" {
			t.Errorf("guesses elsewhere: %+v", v)
		}
		heard := 0
		start := time.Now()
		for time.Since(start) < time.Minute {
			heard += guess(a, 100, always("127.0.0.1"), always("good"))
		}
		if most := int(Default.SourceMinute * math.Ceil(time.Since(start).Minutes())); heard == 0 || heard > most {
			t.Errorf("%d guesses were heard in %v, more than %d or none", heard, time.Since(start), most)
		}
		if guess(a, 1, always("127.0.0.1"), always("other")) != 1 {
			t.Error("guesses at one user there keep another out")
		}
	})
}
