package auth

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/handoff"
)

// TestFaults turns away who ends one session after another by a fault of ours, where it came
// from, though the password is right and they are at home there; nobody else, not for long,
// and not in words for which fail2ban would ban the address.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := newAuth(t, Default, nil, virtual(t, "alice", "right"), virtual(t, "bob", "right"))
		start, sessions := time.Now(), 0
		for time.Since(start) < 10*time.Minute {
			if v, _ := try(a, "192.0.2.1", "alice", "right"); v.User != "" {
				sessions++
				a.Fault("alice", from("192.0.2.1"))
			} else if v.Code != "LIMIT" {
				t.Fatalf("%+v", v)
			}
			time.Sleep(time.Second)
		}
		if sessions < 8 || sessions > 5*int(Default.SourceMinute) {
			t.Errorf("%d sessions were let in", sessions)
		}
		a.Fault("alice", from("192.0.2.1"))
		if v, _ := try(a, "192.0.2.1", "bob", "right"); v.User != "bob" {
			t.Errorf("another user: %+v", v)
		}
		if v, _ := try(a, "192.0.2.2", "alice", "right"); v.User != "alice" {
			t.Errorf("from elsewhere: %+v", v)
		}
		if s := a.explainLimits(&handoff.Credentials{User: "alice", Remote: from("192.0.2.1")}); s.Came != Ends || !strings.Contains(s.Seen, faulty) || strings.Contains(s.Seen, "another 0s") {
			t.Errorf("explained: %+v", s)
		}
		if said := log.String(); strings.Contains(said, "login failed") || !strings.Contains(said, `msg="login not checked" addr=192.0.2.1 user=alice`) {
			t.Errorf("the log: %.500s", said)
		}
		time.Sleep(2 * time.Minute)
		if v, _ := try(a, "192.0.2.1", "alice", "right"); v.User != "alice" {
			t.Errorf("two minutes later: %+v", v)
		}
	})
}
