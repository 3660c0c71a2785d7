package imapserver

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

// Only virtual users share, and only with those who have the same uid and gid.
func TestNeighbours(t *testing.T) {
	user := func(name, hash string, uid, gid int) config.User {
		return config.User{Name: name, Hash: hash, UID: uid, GID: gid, Maildir: "/" + name}
	}
	s := &Settings{Config: &config.Config{Sharing: true}, Users: []config.User{
		user("alice", "", 1000, 1000), user("ann", "$", 900, 900), user("ben", "$", 900, 900), user("bob", "", 1001, 1001),
		user("be n", "$", 900, 900), user("carol", "$", 900, 901), user("dan", "", 900, 900), user("eve", "$", 901, 900),
	}}
	for id, want := range map[spawn.Identity]map[string]string{
		{UID: 900, GID: 900}:   {"ann": "/ann", "ben": "/ben"},
		{UID: 900, GID: 901}:   nil, // alone
		{UID: 901, GID: 900}:   nil,
		{UID: 1000, GID: 1000}: nil,
		{UID: 5, GID: 5}:       nil,
	} {
		if diff := cmp.Diff(want, s.neighbours(id)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", id, diff)
		}
		for range 2 {
			if told := s.sharing.of(s, id, nil); len(told) > 0 != (want != nil) {
				t.Errorf("%v: a worker is told %q", id, told)
			}
		}
	}
	s.Config.Sharing = false
	if n := s.neighbours(spawn.Identity{UID: 900, GID: 900}); n != nil {
		t.Errorf("%v share, though nobody may", n)
	}
}

// A worker shares as far as it is told, and no further once it is told so.
func TestWorkerIsToldNeighbours(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := channelPair(t)
	m := newMail(slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- runWorker(t.Context(), theirs, m, nil) }()
	paths := map[string]string{}
	login := func(user, beside string) *client {
		mine, stream, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		if err := ours.Send(&handoff.Session{
			Open:    handoff.Open{ID: user, User: user, Tag: "a", Remote: netip.MustParseAddr("192.0.2.1"), Stream: stream},
			Maildir: paths[user], Beside: []byte(beside),
		}); err != nil {
			t.Fatal(err)
		}
		return newClient(t, mine)
	}
	for _, user := range []string{"ann", "ben"} {
		paths[user] = newMaildir(t, filepath.Join(dir, user))
	}
	both := `{"neighbours":{"ann":"` + paths["ann"] + `","ben":"` + paths["ben"] + `"}}`
	ann := login("ann", "")
	ann.send("b NAMESPACE\r\nc STATUS #shared.ben (MESSAGES)\r\n")
	ann.until("* NAMESPACE ((\"\" \".\")) NIL NIL")
	ann.until("c NO [NONEXISTENT]")
	ben := login("ben", both)
	ben.send("b SETACL INBOX ann lr\r\n")
	ben.until("b OK")
	ann = login("ann", both)
	ann.send("d STATUS #shared.ben (MESSAGES)\r\n")
	ann.until("d OK")
	login("ben", "").until("a OK")
	ann.send("e STATUS #shared.ben (MESSAGES)\r\n")
	ann.until("e NO [NONEXISTENT]")
	login("ben", "{")
	if err := <-done; err == nil {
		t.Error("a worker goes on after it was told nonsense")
	}
}
