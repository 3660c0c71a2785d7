package auth

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"mailstead/imapserver/handoff"
)

// behind is servers that are named like their users: slow does not answer, and the
// others say what their users are called.
type behind struct{}

func (behind) Server(c *handoff.Credentials) string { return c.User }
func (behind) Shared(string, netip.Addr) bool       { return false }
func (behind) Check(ctx context.Context, c *handoff.Credentials) (handoff.Verdict, error) {
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
