package auth

import (
	"testing"
	"time"

	"mailstead/imapserver/config"
)

// Who has logged in by a directory is known when an Update without it was taken back,
// and no more once one is settled.
func TestSettledDirectories(t *testing.T) {
	d := config.Directory{
		Name: "people", May: config.May{Owner: &config.Identity{UID: 500, GID: 500}, Roots: []string{"/var/vmail"}},
		Saslauthd: &config.Saslauthd{Socket: "/run/none", Service: "imap", Bounds: config.Bounds{Connections: 1, Timeout: 1}},
	}
	a, _ := newAuth(t, Default, nil)
	update := func(directories ...config.Directory) {
		t.Helper()
		if err := a.Update(nil, directories...); err != nil {
			t.Fatal(err)
		}
	}
	wantKnown := func(when string, want bool) {
		t.Helper()
		if _, known := a.User("carol"); known != want {
			t.Errorf("%s: known is %v", when, known)
		}
	}
	update(d)
	a.Settled()
	carol := config.User{Name: "carol", Directory: d.Name, UID: 500, GID: 500, Home: "/var/vmail/carol", Maildir: "/var/vmail/carol/Maildir"}
	a.known.update("carol", time.Now(), func(config.User) config.User { return carol })
	update()
	update(d)
	a.Settled()
	wantKnown("after what was taken back", true)
	update()
	a.Settled()
	wantKnown("without the directory", false)
}
