package login

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
)

// coded is an Authenticator that refuses a password with that as its code.
type coded struct{ users }

func (u coded) Authenticate(ctx context.Context, c *handoff.Credentials) handoff.Verdict {
	if v := u.users.Authenticate(ctx, c); v.User != "" || c.Password == "wrong" {
		return v
	}
	return handoff.Verdict{Code: c.Password, Text: "No."}
}

// refusals is what has been counted of a metric, by its labels but for the first.
func (s *served) refusals(name string) map[string]float64 {
	all := map[string]float64{}
	for _, one := range s.counts.List() {
		if one.Name == name {
			all[strings.Join(one.Labels, " ")] += one.Sum
		}
	}
	return all
}

// Whatever a connection or a login fails by is counted once, by its reason.
func TestRefusals(t *testing.T) {
	s := startWith(t, func(l *Limits) { l.PerUser, l.PerUserSource, l.Failures = 1, 1, 10 }, coded{users{"alice", "bob"}})
	say := func(listener, line, want string) *client {
		c := s.dial(listener)
		c.want("* OK ")
		c.send(line + "\r\n")
		c.want(want)
		return c
	}
	say("imap", "a LOGIN alice right", "a NO [PRIVACYREQUIRED]")
	say("plain", "a LOGIN alice wrong", "a NO [AUTHENTICATIONFAILED]")
	say("plain", "a LOGIN alice LIMIT", "a NO [LIMIT]")
	say("plain", "a LOGIN alice UNAVAILABLE", "a NO [UNAVAILABLE]")
	say("plain", "a LOGIN alice right", "a OK ")
	say("plain", "a LOGIN alice right", "a NO [LIMIT]")
	s.echo.mu.Lock()
	s.echo.refuse = errors.New("no worker")
	s.echo.mu.Unlock()
	say("plain", "a LOGIN bob right", "a NO [UNAVAILABLE]")
	for _, c := range []*tls.Config{
		{ServerName: "mail.example"}, // an authority that the client does not know
		{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}},
	} {
		if conn, err := tls.Dial("tcp", s.addr["imaps"], c); err == nil {
			conn.Close()
			t.Fatalf("%+v: a handshake", c)
		}
	}
	s.dial("imaps").send("this is no TLS\r\n")
	want := map[string]float64{"imap no_tls": 1, "plain credentials": 1, "plain guessing": 1, "plain unchecked": 1, "plain sessions_of_user": 1, "plain no_worker": 1,
		"imaps tls_certificate": 1, "imaps tls_version": 2, "imaps tls_other": 1}
	have := s.refusals(metrics.Refusals)
	for deadline := time.Now().Add(5 * time.Second); !cmp.Equal(want, have) && time.Now().Before(deadline); have = s.refusals(metrics.Refusals) {
		time.Sleep(time.Millisecond)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	// One who may come in, and is one too many, is no fault of auth's or of a worker.
	want = map[string]float64{"plain command ok": 1, "plain command refused": 2, "plain command limited": 1, "plain command unavailable": 2}
	if diff := cmp.Diff(want, s.refusals(metrics.Logins)); diff != "" {
		t.Error(diff)
	}
}

// Each way in which the gate or the table of sessions refuses somebody has a reason
// that the table of metrics has.
func TestRefusalsHaveReasons(t *testing.T) {
	row, _ := metrics.Find(metrics.Refusals)
	for _, all := range []map[string]string{crowding, fullness} {
		for text, reason := range all {
			if !slices.Contains(row.Labels[1].Values, reason) {
				t.Errorf("%s: %q is not in the table", text, reason)
			}
		}
	}
	for want, change := range map[string]func(*Limits){
		metrics.CrowdedAddress: func(l *Limits) { l.PerSource = 1 },
		metrics.CrowdedMinute:  func(l *Limits) { l.NewMinute = 1 },
		metrics.Crowded:        func(l *Limits) { l.Full, l.Begin = 1, 1 },
	} {
		s := start(t, change)
		s.dial("plain").want("* OK ")
		s.dial("plain").end()
		if diff := cmp.Diff(map[string]float64{"plain " + want: 1}, s.refusals(metrics.Refusals)); diff != "" {
			t.Error(diff)
		}
	}
}
