package imapserver

import (
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// TestRefusedReloadKeepsPasswords: a password that a user has chosen is good after a
// reload that a login has refused, whatever hash of theirs, or none, was in it.
func TestRefusedReloadKeepsPasswords(t *testing.T) {
	dir := t.TempDir()
	cfg := partedConfig(dir)
	cfg.Logins = &config.Logins{Keep: t.TempDir(), Upgrade: config.Argon2id}
	alice, bob := partedUser(t, dir, "alice", 61101), partedUser(t, dir, "bob", 61102)
	p := startParted(t, cfg, alice, bob)
	c, _ := p.login("imap")
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 1 })
	for _, user := range []string{"alice", "bob"} {
		if err := p.auth.SetPassword(t.Context(), user, "a chosen password"); err != nil {
			t.Fatal(err)
		}
	}
	other := alice
	other.Hash = bob.Hash
	second := *cfg
	second.Generation = "second"
	s := settingsOf(t, &second, []config.User{other}, issue(t, time.Now().Add(time.Hour), "mail.example"))
	reloaded := make(chan error, 1)
	go func() { reloaded <- p.Reload(s) }()
	c.Send(&handoff.Ready{Serial: receive[*handoff.Settings](t, c).Serial, Error: "no such file"})
	c.Send(&handoff.Ready{Serial: receive[*handoff.Commit](t, c).Serial})
	if err := <-reloaded; err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("reload: %v", err)
	}
	for _, user := range []string{"alice", "bob"} {
		if v := p.ask(c, "x", user, "a chosen password"); v.User != user {
			t.Errorf("%s by the chosen password: %+v", user, v)
		}
		if v := p.ask(c, "x", user, "pw-"+user); v.User != "" {
			t.Errorf("%s by the password before that: %+v", user, v)
		}
	}
}

// TestRefusedReloadAdmitsNobody: where a user's hash is refused, nothing of the new
// settings is in force, not even a master.
func TestRefusedReloadAdmitsNobody(t *testing.T) {
	dir := t.TempDir()
	cfg := partedConfig(dir)
	alice := partedUser(t, dir, "alice", 61101)
	p := startParted(t, cfg, alice)
	c, _ := p.login("imap")
	s := settingsOf(t, cfg, []config.User{alice}, issue(t, time.Now().Add(time.Hour), "mail.example"))
	s.Masters = []config.User{{Name: "admin", Hash: alice.Hash}}
	s.Users[0].Hash = "{PLAIN}pw-alice" // a scheme that is not named
	if err := p.Reload(s); err == nil || !strings.Contains(err.Error(), "alice") {
		t.Fatalf("reload: %v", err)
	}
	if v := p.ask(c, "x", "alice*admin", "pw-alice"); v.User != "" {
		t.Errorf("a master of settings that were refused: %+v", v)
	}
	if v := p.ask(c, "x", "alice", "pw-alice"); v.User != "alice" {
		t.Errorf("alice: %+v", v)
	}
}
