package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// TestFindUser: what auth says of a user whom only a directory knows is believed where a
// directory may say it: what is done for that user is done as that uid.
func TestFindUser(t *testing.T) {
	dir := t.TempDir()
	daemon := &config.Config{
		Workers: config.WorkerPerUID, Service: config.Identity{UID: 2001, GID: 2001},
		Users: filepath.Join(dir, "users"), Control: filepath.Join(dir, "control"),
		Directories: []config.Directory{
			{Name: "staff", May: config.May{MinUID: 2000, MaxUID: 3000, MinGID: 100, Roots: []string{"/home"}}},
			{Name: "guests", May: config.May{Owner: &config.Identity{UID: 999, GID: 999}, Roots: []string{"/srv/guests"}}},
		},
	}
	if err := os.WriteFile(daemon.Users, []byte("{\"version\":1,\"users\":0}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", control.RecipientSocket(daemon.Control))
	if err != nil {
		t.Fatal(err)
	}
	var says atomic.Pointer[control.Recipient]
	go control.RecipientServer{
		Allow:  func(int) bool { return true },
		Answer: func(context.Context, int, control.RecipientRequest) control.Recipient { return *says.Load() },
	}.Serve(t.Context(), l)
	for _, row := range []struct {
		uid, gid int
		maildir  string
		fault    string
	}{
		{2000, 2000, "/home/dora/Maildir", ""},
		{999, 999, "/srv/guests/dora", ""},
		{0, 0, "/home/dora/Maildir", "directory staff: uid 0 is not between 2000 and 3000"},
		{2000, 0, "/home/dora/Maildir", "gid 0 is less than 100"},
		{999, 999, "/home/dora/Maildir", "directory guests: the Maildir \"/home/dora/Maildir\" is not below /srv/guests"},
		{2001, 2001, "/home/dora/Maildir", "uid 2001 is that of the service"},
		{2000, 2000, "/etc", "is not below /home"},
		{2000, 2000, "/home/../etc", "maildir"},
	} {
		says.Store(&control.Recipient{Known: true, Name: "dora", UID: row.uid, GID: row.gid, Maildir: row.maildir})
		u, err := findUser(t.Context(), daemon, "dora")
		switch {
		case row.fault == "" && (err != nil || u.Name != "dora" || u.UID != row.uid || u.GID != row.gid || u.Maildir != row.maildir):
			t.Errorf("%+v: %+v, %v", row, u, err)
		case row.fault != "" && (err == nil || !strings.Contains(err.Error(), row.fault)):
			t.Errorf("%+v: %+v, %v", row, u, err)
		}
	}
}
