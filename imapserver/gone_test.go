package imapserver

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// TestMovedUser: a reload ends the sessions of users whose mail is elsewhere by then, or
// another account's, and no others.
func TestMovedUser(t *testing.T) {
	dir := t.TempDir()
	cfg := partedConfig(dir)
	var users []config.User
	for i, name := range []string{"alice", "bob", "carol", "dora"} {
		users = append(users, partedUser(t, dir, name, 61101+i))
	}
	p := startParted(t, cfg, users...)
	login, _ := p.login("imap")
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 1 })
	moved := append([]config.User(nil), users...)
	moved[1].Maildir = newMaildir(t, filepath.Join(dir, "bob", "moved"))
	moved[2].UID = 61110
	moved[3].GID = 61110
	reloaded := make(chan error, 1)
	go func() {
		reloaded <- p.Reload(settingsOf(t, cfg, moved, issue(t, time.Now().Add(time.Hour), "mail.example")))
	}()
	login.Send(&handoff.Ready{Serial: receive[*handoff.Settings](t, login).Serial})
	login.Send(&handoff.Ready{Serial: receive[*handoff.Commit](t, login).Serial})
	ended(t, login, []string{"alice", "bob", "carol", "dora"}, `["bob","carol","dora"]`)
	if err := <-reloaded; err != nil {
		t.Error(err)
	}
}

// ended is a login that has sessions of these users, and wants to be told whose to end.
func ended(t *testing.T, login *handoff.Conn, users []string, want string) {
	t.Helper()
	data, err := json.Marshal(loginState{Users: users})
	if err != nil {
		t.Fatal(err)
	}
	login.Send(&handoff.State{Serial: receive[*handoff.Query](t, login).Serial, Data: data})
	if e := receive[*handoff.End](t, login); string(e.Data) != want {
		t.Errorf("ended: %s, not %s", e.Data, want)
	}
}
