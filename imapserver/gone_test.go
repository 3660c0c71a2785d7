package imapserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
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

// TestFollowedOnce: a worker that tells is not asked to tell by another way when its
// sessions are found again, as its number is not known then.
func TestFollowedOnce(t *testing.T) {
	h := newHearing(slog.New(slog.DiscardHandler), "", nil)
	none := func(string) bool { return false }
	for _, c := range []struct {
		worker teller
		want   bool
	}{
		{teller{7, spawn.Identity{UID: 61105, GID: 61105}}, true},
		{teller{0, spawn.Identity{UID: 61105, GID: 61105}}, false},
		{teller{8, spawn.Identity{UID: 61105, GID: 61105}}, true}, // of the one after it
		{teller{0, spawn.Identity{UID: 61106, GID: 61106}}, true},
	} {
		theirs, err := h.channel(c.worker, none)
		if err != nil || (theirs != nil) != c.want {
			t.Errorf("%+v: followed: %v, %v", c.worker, theirs != nil, err)
		}
		defer theirs.Close() // of nil, it does nothing
	}
}

// courierDirectory is a directory of accounts that Courier's authdaemon knows.
func courierDirectory(t *testing.T, name, dir string, accounts *atomic.Pointer[map[string]string]) config.Directory {
	return config.Directory{
		Name:       name,
		Authdaemon: &config.Authdaemon{Socket: courier(t, accounts), Service: "imap", Bounds: config.Bounds{Connections: 2, Timeout: 5}},
		May:        config.May{Owner: &config.Identity{UID: 61105, GID: 61105}, Roots: []string{dir}, Host: "mail.example"},
	}
}

// TestRenamedMeanwhile: a single directory may call users by another name than they type,
// by which it does not find them after a restart; they keep their sessions.
func TestRenamedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	var accounts atomic.Pointer[map[string]string]
	accounts.Store(&map[string]string{
		"dora@example.org": fmt.Sprintf("UID=%d\nGID=%d\nADDRESS=dora\n", 61105, 61105),
		"fay":              "ADDRESS=elsa\nOPTIONS=mailhost=other.example.org\n",
		"elsa":             "ADDRESS=elsa\nOPTIONS=mailhost=other.example.org\n",
	})
	c := partedConfig(dir)
	c.Directories = []config.Directory{courierDirectory(t, "courier", dir, &accounts)}
	p := startParted(t, c, partedUser(t, dir, "alice", 61101))
	login := p.connect()
	login.Send(&handoff.Hello{Listener: "imap"})
	login.Send(&handoff.Ready{Serial: receive[*handoff.Settings](t, login).Serial})
	login.Send(&handoff.Ready{Serial: receive[*handoff.Commit](t, login).Serial})
	ended(t, login, []string{"alice", "dora", "elsa", "fay"}, `["elsa"]`)
}

// TestRenamedAndGone: what such users have typed lately is kept, and by that the directory
// is asked: those who are gone lose their sessions, and nobody does while it is down.
func TestRenamedAndGone(t *testing.T) {
	dir := t.TempDir()
	var accounts atomic.Pointer[map[string]string]
	known := map[string]string{}
	for _, name := range []string{"dora", "elsa", "fay"} {
		known[name+"@example.org"] = fmt.Sprintf("UID=%d\nGID=%d\nADDRESS=%s\n", 61105, 61105, name)
	}
	known["fay@example.net"] = known["fay@example.org"]
	accounts.Store(&known)
	c := partedConfig(dir)
	c.Logins = &config.Logins{Keep: t.TempDir()}
	c.Directories = []config.Directory{courierDirectory(t, "courier", dir, &accounts)}
	p := startParted(t, c)
	login, _ := p.login("imap")
	for _, name := range []string{"dora@example.org", "elsa@example.org", "fay@example.org", "fay@example.net"} {
		if v := p.ask(login, "one", name, "pw-"+name); v.User == "" {
			t.Fatalf("%s: %+v", name, v)
		}
	}
	p.Stop()

	accounts.Store(&map[string]string{"dora@example.org": known["dora@example.org"], "elsa@example.org": known["dora@example.org"], "fay@example.net": known["fay@example.net"]})
	restarted := func(c config.Config, want string) {
		t.Helper()
		c.Roles = &config.Roles{Login: c.Roles.Login, Auth: filepath.Join(t.TempDir(), "auth"), Spawn: filepath.Join(t.TempDir(), "spawn")}
		p := startParted(t, &c, partedUser(t, t.TempDir(), "alice", 61101))
		defer p.Stop()
		var stay []string
		for _, user := range []string{"alice", "bob", "dora", "elsa", "fay"} {
			if p.mayStay(t.Context(), user) {
				stay = append(stay, user)
			}
		}
		if got := strings.Join(stay, " "); got != want {
			t.Errorf("stay: %s; not %s", got, want)
		}
	}
	restarted(*c, "alice bob dora fay")
	c.Directories[0].Authdaemon = &config.Authdaemon{Socket: filepath.Join(dir, "nobody"), Service: "imap", Bounds: config.Bounds{Connections: 2, Timeout: 5}}
	restarted(*c, "alice bob dora elsa fay")
	c.Directories = nil
	restarted(*c, "alice")
}

// TestGoneMeanwhile: an auth that finds sessions of those whom it does not know, as after
// a restart, asks the directories, and ends those of users whom nobody knows any more.
func TestGoneMeanwhile(t *testing.T) {
	dir := t.TempDir()
	var accounts atomic.Pointer[map[string]string]
	accounts.Store(&map[string]string{
		"dora": fmt.Sprintf("UID=%d\nGID=%d\nADDRESS=dora\n", 61105, 61105),
		"elsa": "ADDRESS=elsa\nOPTIONS=mailhost=other.example.org\n",
	})
	c := partedConfig(dir)
	c.Record = filepath.Join(t.TempDir(), "removals")
	var none atomic.Pointer[map[string]string]
	none.Store(&map[string]string{})
	c.Directories = []config.Directory{courierDirectory(t, "courier", dir, &accounts), courierDirectory(t, "other", dir, &none)}
	p := startParted(t, c, partedUser(t, dir, "alice", 61101))
	login := p.connect()
	login.Send(&handoff.Hello{Listener: "imap"})
	login.Send(&handoff.Ready{Serial: receive[*handoff.Settings](t, login).Serial})
	login.Send(&handoff.Ready{Serial: receive[*handoff.Commit](t, login).Serial})
	ended(t, login, []string{"alice", "bob", "dora", "elsa"}, `["bob","elsa"]`)

	// The workers of those who stay tell it what they have kept.
	for _, user := range []string{"alice", "dora"} {
		l, ok := (<-p.told).(*handoff.Look)
		if !ok || !l.Follow {
			t.Fatalf("%+v", l)
		}
		worker, err := handoff.NewConn(l.Answer)
		if err != nil {
			t.Fatal(err)
		}
		defer worker.Close()
		for uid, of := range []string{"bob", user} {
			data, _ := json.Marshal(told{Removals: []control.Removal{{User: of, UID: uint32(uid)}}})
			worker.Send(&handoff.Told{Data: data})
		}
	}
	all := removalsIn(t, c.Record, 2)
	users := []string{all[0].User, all[1].User}
	if slices.Sort(users); len(all) != 2 || !slices.Equal(users, []string{"alice", "dora"}) {
		t.Errorf("recorded: %+v", all)
	}
	if _, ok := p.auth.User("dora"); ok {
		t.Error("a new session is begun by what was asked for without a password")
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

// TestToldAtOnce: spawn is told of workers that an auth has not started itself.
func TestToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	p := startParted(t, partedConfig(dir), partedUser(t, dir, "alice", 61101))
	go p.doing(t.Context(), "alice", "")
	select {
	case m := <-p.told:
		if l, ok := m.(*handoff.Look); !ok || l.UID != 61101 || l.User != "alice" {
			t.Errorf("%+v", m)
		}
	case <-time.After(10 * time.Second):
		t.Error("spawn is told nothing")
	}
}

// TestLoginDiesAtStart: a login that goes while auth starts keeps nobody else from being
// served.
func TestLoginDiesAtStart(t *testing.T) {
	p := startParted(t, partedConfig(t.TempDir()))
	login, _ := p.login("imap")
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 1 })
	go func() {
		login.Receive() // the question how it does
		login.Close()
	}()
	r := &running{log: slog.New(slog.NewTextHandler(p.log, nil)), server: p.Parted}
	if err := r.started(t.Context()); err != nil {
		t.Error(err)
	}
	if log := p.log.String(); !strings.Contains(log, "not all logins say what they serve") {
		t.Errorf("the log: %s", log)
	}
}

// TestWorkersComeAndGo: of workers that are no more, auth remembers no more than of those
// that there are.
func TestWorkersComeAndGo(t *testing.T) {
	dir := t.TempDir()
	p := startParted(t, partedConfig(dir), partedUser(t, dir, "alice", 61101))
	login, _ := p.login("imap")
	var d *door
	waitUntil(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for d = range p.doors {
		}
		return d != nil
	})
	for n := range uint64(1000) {
		d.workers[n+100] = true // which have all ended
	}
	if refused, _ := p.claim(login, p.ask(login, "one", "alice", "pw-alice").Ticket); refused != "" {
		t.Fatal(refused)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.workers) != 1 || !d.workers[5] {
		t.Errorf("%d workers are remembered", len(d.workers))
	}
}

// TestMaildirGone: that the Maildir of a directory's user is there is looked at again.
func TestMaildirGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := 0
		d := &recipients{there: map[string]time.Time{}, begin: func(_ config.User, stream *os.File) error {
			begun++
			_, err := stream.WriteString("* OK\r\n")
			return errors.Join(err, stream.Close())
		}}
		for _, want := range []int{1, 1, 2} {
			if err := d.first(config.User{Name: "dora", Maildir: "/m/dora"}); err != nil || begun != want {
				t.Fatalf("asked %d times, not %d: %v", begun, want, err)
			}
			time.Sleep(thereFor/2 + 1)
		}
	})
}
