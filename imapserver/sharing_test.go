package imapserver

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

func user(name, hash string, uid, gid int) config.User {
	return config.User{Name: name, Hash: hash, UID: uid, GID: gid, Maildir: "/" + name}
}

// Only virtual users share, and only with those who have the same uid and gid.
func TestNeighbours(t *testing.T) {
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
			var told handoff.Session
			if err := s.sharing.tell(&told, s, id, nil); err != nil || told.Beside != nil != (want != nil) {
				t.Errorf("%v: a worker is told %v, %v", id, told.Beside, err)
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
	login := func(user string, beside *os.File) *client {
		mine, stream, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		if err := ours.Send(&handoff.Session{
			Open:    handoff.Open{ID: user, User: user, Tag: "a", Remote: netip.MustParseAddr("192.0.2.1"), Stream: stream},
			Maildir: paths[user], Beside: beside,
		}); err != nil {
			t.Fatal(err)
		}
		return newClient(t, mine)
	}
	for _, user := range []string{"ann", "ben"} {
		paths[user] = newMaildir(t, filepath.Join(dir, user))
	}
	both := sealed(t, `{"neighbours":{"ann":"`+paths["ann"]+`","ben":"`+paths["ben"]+`"}}`)
	ann := login("ann", nil)
	ann.send("b NAMESPACE\r\nc STATUS #shared.ben (MESSAGES)\r\n")
	ann.until("* NAMESPACE ((\"\" \".\")) NIL NIL")
	ann.until("c NO [NONEXISTENT]")
	ben := login("ben", both)
	ben.send("b SETACL INBOX ann lr\r\n")
	ben.until("b OK")
	ann = login("ann", both)
	ann.send("d STATUS #shared.ben (MESSAGES)\r\n")
	ann.until("d OK")
	// Whose mailbox fails, theirs who have it open end too.
	ann.send("e SELECT #shared.ben\r\n")
	ann.until("e OK")
	m.mu.Lock()
	m.accounts[paths["ben"]].fail()
	m.mu.Unlock()
	ann.until("* BYE")
	ann = login("ann", both)
	login("ben", nil).until("a OK")
	ann.send("e STATUS #shared.ben (MESSAGES)\r\n")
	ann.until("e NO [NONEXISTENT]")
	login("ben", sealed(t, "{"))
	if err := <-done; err == nil {
		t.Error("a worker goes on after it was told nonsense")
	}
}

func sealed(t *testing.T, data string) *os.File {
	f, err := handoff.Seal([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestUsersOfAUid: the users of a uid are found without a look at all others, who may
// be as many as uids, each of which is asked for in a reload.
func TestUsersOfAUid(t *testing.T) {
	s := &Settings{Config: &config.Config{}}
	for _, uid := range []int{3, 1, 2, 1, 3} {
		s.Users = append(s.Users, user(fmt.Sprint("user", len(s.Users)), "", uid, uid))
	}
	s.Users = append(s.Users, user("other", "", 1, 7))
	for uid, want := range map[int]string{0: "", 1: "user1 user3", 2: "user2", 3: "user0 user4", 4: ""} {
		var got []string
		for u := range s.of(spawn.Identity{UID: uid, GID: uid}) {
			got = append(got, u.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("uid %d has %q, not %q", uid, got, want)
		}
	}
	s.owned.all = s.owned.all[:1] // of user1
	if got := s.known(spawn.Identity{UID: 1, GID: 1}); len(got) != 1 {
		t.Errorf("all users are looked at: %q", got)
	}
}

// TestToldOnce: what is the same for all sessions of a uid costs the later ones nothing,
// be it the directories of thousands of users.
func TestToldOnce(t *testing.T) {
	s := &Settings{Config: &config.Config{Sharing: true}}
	for n := range 4000 {
		s.Users = append(s.Users, user(fmt.Sprint("user", n), "$", 900, 900))
	}
	m := newMail(slog.New(slog.DiscardHandler))
	defer m.close()
	next := func() []string {
		told, err := s.workerSession(&handoff.Open{}, s.Users[7])
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Dup(int(told.Beside.Fd())) // as a process receives it
		if err != nil {
			t.Fatal(err)
		}
		told.Beside = os.NewFile(uintptr(fd), "memory")
		roots, err := m.meet(told)
		if err != nil {
			t.Fatal(err)
		}
		return roots
	}
	if got := next(); len(got) != 4000 {
		t.Fatalf("the first session is told %d roots", len(got))
	}
	if allocated := testing.AllocsPerRun(20, func() {
		if got := next(); got != nil {
			t.Fatalf("a session is told the %d roots of the one before", len(got))
		}
	}); allocated > 40 {
		t.Errorf("%.0f allocations for a session that is told nothing new", allocated)
	}
}
