package imapserver

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
)

// testParted is auth, to which the test is spawn and every login.
type testParted struct {
	*Parted
	t    *testing.T
	log  *journal
	path string               // of its socket
	told chan handoff.Message // what spawn is told
}

// partedConfig is a configuration whose roles are processes of the user that runs
// the test.
func partedConfig(dir string) *config.Config {
	c := testConfig(dir)
	c.Workers = config.WorkerPerUID
	c.Service = config.Identity{UID: 61100, GID: 61100}
	c.Roles = &config.Roles{Login: config.Identity{UID: os.Getuid(), GID: os.Getgid()}, Auth: filepath.Join(dir, "auth"), Spawn: filepath.Join(dir, "spawn")}
	return c
}

// partedUser has mail of a uid that no test runs as.
func partedUser(t *testing.T, dir, name string, uid int) config.User {
	u := testUser(t, dir, name)
	u.UID, u.GID = uid, uid
	return u
}

func startParted(t *testing.T, c *config.Config, users ...config.User) *testParted {
	t.Helper()
	return startPartedBy(t, fast(), c, users...)
}

// startPartedBy has other limits.
func startPartedBy(t *testing.T, limits *limit.Auth, c *config.Config, users ...config.User) *testParted {
	t.Helper()
	p := &testParted{t: t, log: &journal{}, path: c.Roles.Auth, told: make(chan handoff.Message, 10)}
	go p.spawn(listenPackets(t, c.Roles.Spawn))
	var err error
	p.Parted, err = NewParted(settingsOf(t, c, users, issue(t, time.Now().Add(time.Hour), "mail.example")),
		Options{Log: slog.New(slog.NewTextHandler(p.log, nil)), Auth: limits})
	if err != nil {
		t.Fatal(err)
	}
	p.Start(listenPackets(t, c.Roles.Auth))
	t.Cleanup(p.Stop)
	return p
}

// connect is a login that has just connected.
func (p *testParted) connect() *handoff.Conn {
	p.t.Helper()
	c, err := handoff.Dial(p.t.Context(), p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// login is one that has gone over to its settings, which it gives.
func (p *testParted) login(listener string) (*handoff.Conn, *loginSettings) {
	p.t.Helper()
	return p.loginAt(listener, listening(p.t, "tcp", "127.0.0.1:0"))
}

// loginAt is one that has these sockets.
func (p *testParted) loginAt(listener string, sockets ...*os.File) (*handoff.Conn, *loginSettings) {
	p.t.Helper()
	c := p.connect()
	c.Send(&handoff.Hello{Listener: listener, Sockets: sockets})
	return c, p.takeSettings(c)
}

// listening is a descriptor of a socket that listens.
func listening(t *testing.T, network, address string) *os.File {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fileOf(t, l)
}

// fileOf is another descriptor of a socket.
func fileOf(t *testing.T, socket any) *os.File {
	t.Helper()
	f, err := socket.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func (p *testParted) takeSettings(c *handoff.Conn) *loginSettings {
	p.t.Helper()
	m := receive[*handoff.Settings](p.t, c)
	s, _, err := decodeLoginSettings(m.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	c.Send(&handoff.Ready{Serial: m.Serial})
	c.Send(&handoff.Ready{Serial: receive[*handoff.Commit](p.t, c).Serial})
	q := receive[*handoff.Query](p.t, c)
	c.Send(&handoff.State{Serial: q.Serial, Data: []byte("{}")})
	return s
}

// ask presents credentials, as the login's connection of that name.
func (p *testParted) ask(c *handoff.Conn, id, user, password string) handoff.Verdict {
	p.t.Helper()
	c.Send(&handoff.Ask{Serial: 7, Credentials: handoff.Credentials{ID: id, User: user, Password: password, Remote: netip.MustParseAddr("192.0.2.1"), TLS: true}})
	return receive[*handoff.Answer](p.t, c).Verdict
}

// claim presents a ticket; the session is whose spawn is told that it is.
func (p *testParted) claim(c *handoff.Conn, ticket string) (refused string, session *handoff.Session) {
	p.t.Helper()
	ours, stream, err := handoff.StreamPair()
	if err != nil {
		p.t.Fatal(err)
	}
	defer ours.Close()
	c.Send(&handoff.Claim{Serial: 8, Ticket: ticket, Tag: "a", Stream: stream})
	stream.Close()
	refused = receive[*handoff.Opened](p.t, c).Error
	select {
	case m := <-p.told:
		session, _ = m.(*handoff.Session)
	default:
	}
	return refused, session
}

// spawn opens every session that auth asks for.
func (p *testParted) spawn(l net.Listener) {
	nc, err := l.Accept()
	if err != nil {
		return
	}
	c, err := handoff.Over(nc)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		m, err := c.Receive()
		if err != nil {
			return
		}
		p.told <- m
		if s, ok := m.(*handoff.Session); ok {
			s.Stream.Close()
			c.Send(&handoff.Opened{Serial: s.Serial, Worker: 5})
		}
	}
}

// TestSettingsOfLogin: a login gets what concerns its listener, and nobody's hash.
func TestSettingsOfLogin(t *testing.T) {
	dir := t.TempDir()
	alice := partedUser(t, dir, "alice", 61101)
	p := startParted(t, partedConfig(dir), alice)
	c := p.connect()
	c.Send(&handoff.Hello{Listener: "imaps", Sockets: []*os.File{listening(t, "tcp", "127.0.0.1:0")}})
	m := receive[*handoff.Settings](t, c)
	for _, secret := range []string{alice.Hash, "alice", dir + "/users", `"imap"`, p.path} {
		if strings.Contains(string(m.Data), secret) {
			t.Errorf("a login is told %q:\n%s", secret, m.Data)
		}
	}
	s, bundles, err := decodeLoginSettings(m.Data)
	if err != nil || len(bundles) != 1 || len(s.Config.Listeners) != 1 || s.Config.Listeners[0].Name != "imaps" {
		t.Errorf("%+v %v", s, err)
	}
	if _, s := p.login("pop3s"); len(s.Config.Listeners) != 0 {
		t.Errorf("a listener that is not configured: %+v", s.Config.Listeners)
	}
}

// TestCapturedLogin is a login that somebody has taken over: it opens the session
// of whoever has just given it their password, and no other.
func TestCapturedLogin(t *testing.T) {
	dir := t.TempDir()
	p := startParted(t, partedConfig(dir), partedUser(t, dir, "alice", 61101), partedUser(t, dir, "bob", 61102))
	c, _ := p.login("imaps")
	other, _ := p.login("imap")

	if v := p.ask(c, "one", "alice", "wrong"); v.User != "" || v.Ticket != "" {
		t.Errorf("a wrong password: %+v", v)
	}
	v := p.ask(c, "one", "bob", "pw-bob")
	if v.User != "bob" || v.Ticket == "" {
		t.Fatalf("%+v", v)
	}
	for name, ticket := range map[string]string{"none": "", "forged": strings.Repeat("A", len(v.Ticket)), "a name": "alice"} {
		if refused, s := p.claim(c, ticket); refused == "" || s != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if refused, s := p.claim(other, v.Ticket); refused == "" || s != nil {
		t.Errorf("the ticket of another login: %+v", s)
	}
	refused, s := p.claim(c, v.Ticket)
	if refused != "" || s.User != "bob" || s.UID != 61102 || s.GID != 61102 || s.ID != "one" || s.Maildir != filepath.Join(dir, "bob", "Maildir") {
		t.Errorf("%q %+v", refused, s)
	}
	if l, ok := (<-p.told).(*handoff.Look); !ok || !l.Follow { // which comes after the session
		t.Errorf("%+v", l)
	}
	if refused, s := p.claim(c, v.Ticket); refused == "" || s != nil {
		t.Errorf("a ticket twice: %+v", s)
	}
	// Those whom it is told of who may hang are its own alone.
	other.Send(&handoff.Hangs{Worker: 5})
	c.Send(&handoff.Hangs{Worker: 99})
	c.Send(&handoff.Hangs{Worker: 5})
	if h, ok := (<-p.told).(*handoff.Hangs); !ok || h.Worker != 5 {
		t.Errorf("%+v", h)
	}
	select {
	case m := <-p.told:
		t.Errorf("%+v", m)
	case <-time.After(50 * time.Millisecond):
	}
}

// TestCapturedListener: an app password for one listener is good on no other, whatever
// a login says that its client has come in by.
func TestCapturedListener(t *testing.T) {
	dir := t.TempDir()
	c := partedConfig(dir)
	c.Logins = &config.Logins{Keep: t.TempDir()}
	p := startParted(t, c, partedUser(t, dir, "alice", 61101))
	password, err := p.auth.AddAppPassword("alice", "phone", []string{"imaps"})
	if err != nil {
		t.Fatal(err)
	}
	for listener, user := range map[string]string{"imaps": "alice", "imap": ""} {
		login, _ := p.login(listener)
		login.Send(&handoff.Ask{Serial: 7, Credentials: handoff.Credentials{ID: "one", User: "alice", Password: password, Listener: "imaps", Remote: netip.MustParseAddr("192.0.2.1"), TLS: true}})
		if v := receive[*handoff.Answer](t, login).Verdict; v.User != user {
			t.Errorf("on %s: %+v", listener, v)
		}
	}
}

// TestCapturedName: which listener a login is says its socket, whatever it calls itself;
// after a reload, too.
func TestCapturedName(t *testing.T) {
	dir := t.TempDir()
	c := partedConfig(dir)
	c.Logins = &config.Logins{Keep: t.TempDir()}
	imap, imaps, strange := listening(t, "tcp", "127.0.0.1:0"), listening(t, "tcp", "127.0.0.1:0"), listening(t, "tcp", "127.0.0.1:0")
	c.Listeners[0].Port, c.Listeners[1].Port = portOf(t, imap), portOf(t, imaps)
	p := startParted(t, c, partedUser(t, dir, "alice", 61101))
	password, err := p.auth.AddAppPassword("alice", "phone", []string{"imaps"})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(c.Listeners[1].Port)).String())
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for name, row := range map[string]struct {
		listener string
		sockets  []*os.File
		served   bool
	}{
		"its own":                          {"imaps", []*os.File{imaps}, true},
		"its own beside a stranger's":      {"imaps", []*os.File{strange, imaps}, true},
		"while an apply is at work":        {"imaps", []*os.File{strange}, true},
		"another's":                        {"imaps", []*os.File{imap}, false},
		"another's beside a stranger's":    {"imaps", []*os.File{strange, imap}, false},
		"none":                             {"imaps", nil, false},
		"a local one":                      {"imaps", []*os.File{listening(t, "unix", filepath.Join(dir, "local"))}, false},
		"a client's":                       {"imaps", []*os.File{fileOf(t, accepted)}, false},
		"a file":                           {"imaps", []*os.File{os.Stdin}, false},
		"a name that nobody has described": {"web", []*os.File{imap}, false},
	} {
		login, s := p.loginAt(row.listener, row.sockets...)
		user := map[bool]string{true: "alice"}[row.served]
		login.Send(&handoff.Ask{Serial: 7, Credentials: handoff.Credentials{ID: "one", User: "alice", Password: password, Remote: netip.MustParseAddr("192.0.2.1"), TLS: true}})
		if v := receive[*handoff.Answer](t, login).Verdict; v.User != user || (len(s.Config.Listeners) > 0) != row.served {
			t.Errorf("%s: %+v, %+v", name, v, s.Config.Listeners)
		}
		login.Close()
	}

	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 0 })
	login, _ := p.loginAt("imaps", imaps)
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 1 })
	swapped := *c
	swapped.Listeners = slices.Clone(c.Listeners)
	swapped.Listeners[0].Port, swapped.Listeners[1].Port = c.Listeners[1].Port, c.Listeners[0].Port
	reloaded := make(chan error, 1)
	go func() {
		reloaded <- p.Reload(settingsOf(t, &swapped, []config.User{partedUser(t, dir, "alice", 61101)}, issue(t, time.Now().Add(time.Hour), "mail.example")))
	}()
	login.Send(&handoff.Ready{Serial: receive[*handoff.Settings](t, login).Serial})
	if m, err := login.Receive(); err == nil {
		t.Errorf("a login of another listener by now is told %T", m)
	}
	if err := <-reloaded; err != nil {
		t.Error(err)
	}

	// Nor is one told anything that came before the reload, and is to be configured after it.
	theirs, file, err := handoff.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := handoff.NewConn(file)
	if err != nil {
		t.Fatal(err)
	}
	theirs.Send(&handoff.Hello{Listener: "imaps", Sockets: []*os.File{imap}})
	d, err := meet(p.Parted, ours)
	if err != nil {
		t.Fatal(err)
	}
	p.settings.Store(settingsOf(t, c, nil, issue(t, time.Now().Add(time.Hour), "mail.example")))
	if err := p.configure(d); err == nil || !strings.Contains(err.Error(), "another listener's") {
		t.Error(err)
	}
}

func portOf(t *testing.T, socket *os.File) int {
	t.Helper()
	l, err := net.FileListener(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestCapturedProxy: a login says nothing of other listeners than its own, and of that
// nothing twice, which would be no metrics any more.
func TestCapturedProxy(t *testing.T) {
	p := startParted(t, partedConfig(t.TempDir()))
	for range 2 { // it may have several channels
		login, _ := p.login("imap")
		go func() {
			for {
				m, err := login.Receive()
				if err != nil {
					return
				}
				if q, ok := m.(*handoff.Query); ok {
					login.Send(&handoff.State{Serial: q.Serial, Data: []byte(`{"proxies":[{"listener":"imaps"},{"listener":"imap"},{"listener":"imap"},{"listener":"none"}]}`)})
				}
			}
		}()
	}
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 2 })
	st, err := p.Status(t.Context())
	if len(st.Proxies) != 1 || st.Proxies[0].Listener != "imap" || err != nil {
		t.Errorf("%+v %v", st.Proxies, err)
	}
	seen := map[string]bool{}
	for _, s := range p.metrics(t.Context()) {
		key := fmt.Sprint(s.Name, s.Labels)
		if seen[key] {
			t.Errorf("%s twice", key)
		}
		seen[key] = true
	}
}

// TestStuckLogin: a login that takes nothing is let go of, and holds nobody up for longer
// than the first message to it does.
func TestStuckLogin(t *testing.T) {
	t.Parallel()
	p := startParted(t, partedConfig(t.TempDir()))
	p.login("imap")
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 1 })
	begun := time.Now()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			tell := func(d *door) error { return d.Send(&handoff.Mechanisms{Names: []string{strings.Repeat("x", 8<<10)}}) }
			for p.each(tell) == nil && time.Since(begun) < time.Minute {
			}
		})
	}
	all.Wait()
	if d := time.Since(begun); d > 15*time.Second {
		t.Errorf("it was let go of after %v", d)
	}
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 0 })
}

// TestLoginSaysTooMuch: what only auth and spawn may say ends a login's channel.
func TestLoginSaysTooMuch(t *testing.T) {
	dir := t.TempDir()
	p := startParted(t, partedConfig(dir), partedUser(t, dir, "alice", 61101))
	ours, stream, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer stream.Close()
	open := handoff.Open{User: "alice", Tag: "a", Stream: stream}
	for _, m := range []handoff.Message{
		&handoff.Session{Open: open, UID: 61101, GID: 61101, Maildir: "/"},
		&handoff.Retire{UID: 61101, GID: 61101},
		&handoff.Settings{Serial: 1},
		&handoff.Opened{Serial: 1, Worker: 1},
		&handoff.Answer{Serial: 1, Verdict: handoff.Verdict{User: "alice", Ticket: "x"}},
		&handoff.Stop{},
		&handoff.Hello{Listener: "imap"},
	} {
		c, _ := p.login("imaps")
		c.Send(m)
		if got, err := c.Receive(); err != io.EOF {
			t.Errorf("%T: %v %v", m, got, err)
		}
	}
	c := p.connect()
	c.Send(&handoff.Ask{Serial: 1})
	if got, err := c.Receive(); err != io.EOF {
		t.Errorf("before Hello: %v %v", got, err)
	}
}

func TestNobodyElseAsksAuth(t *testing.T) {
	c := partedConfig(t.TempDir())
	c.Roles.Login.UID++
	p := startParted(t, c)
	if got, err := p.connect().Receive(); err != io.EOF {
		t.Errorf("%v %v", got, err)
	}
	if log := p.log.String(); !strings.Contains(log, "somebody who is no login asks") {
		t.Errorf("log: %s", log)
	}
}

func TestTicketsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all tickets
		c := &handoff.Credentials{ID: "x"}
		issued := func() string {
			ticket, err := all.issue("alice", c, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return ticket
		}
		early, late := issued(), issued()
		time.Sleep(ticketLife)
		if _, err := all.claim(early, time.Now()); err != nil {
			t.Errorf("within its life: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := all.claim(late, time.Now()); err == nil {
			t.Error("a ticket beyond its life")
		}
		for range maxTickets {
			issued()
		}
		if _, err := all.issue("alice", c, time.Now()); err == nil {
			t.Errorf("%d tickets", len(all.all))
		}
		time.Sleep(ticketLife + 1)
		if issued(); len(all.all) != 1 {
			t.Errorf("%d tickets are kept", len(all.all))
		}
	})
}

// TestPartedAnnounces: logins are told at once when the last user has got a verifier.
func TestPartedAnnounces(t *testing.T) {
	dir := t.TempDir()
	cfg := partedConfig(dir)
	cfg.Logins = &config.Logins{Keep: t.TempDir(), Upgrade: config.Verifier}
	p := startParted(t, cfg, partedUser(t, dir, "alice", 61101))
	c, s := p.login("imap")
	if len(s.Mechanisms) > 0 {
		t.Fatalf("%q before there is a verifier", s.Mechanisms)
	}
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 1 })
	c.Send(&handoff.Ask{Serial: 1, Credentials: handoff.Credentials{ID: "c0ffee", User: "alice", Password: "pw-alice", Remote: netip.MustParseAddr("192.0.2.1"), TLS: true}})
	for range 2 { // in either order: the verifier is made aside
		switch m := receive[handoff.Message](t, c).(type) {
		case *handoff.Answer:
			if m.Verdict.User != "alice" {
				t.Fatalf("%+v", m)
			}
		case *handoff.Mechanisms:
			if !slices.Contains(m.Names, "SCRAM-SHA-256") {
				t.Errorf("offered: %q", m.Names)
			}
		default:
			t.Fatalf("received %T", m)
		}
	}
	if _, s := p.login("imaps"); !slices.Contains(s.Mechanisms, "SCRAM-SHA-256") {
		t.Errorf("offered to who comes later: %q", s.Mechanisms)
	}
}

// TestPartedReload: all logins go over to new settings, or none does.
func TestPartedReload(t *testing.T) {
	dir := t.TempDir()
	cfg := partedConfig(dir)
	alice, bob := partedUser(t, dir, "alice", 61101), partedUser(t, dir, "bob", 61102)
	p := startParted(t, cfg, alice, bob)
	one, _ := p.login("imap")
	two, _ := p.login("imaps")
	waitUntil(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.doors) == 2 })

	second := *cfg
	second.Generation = "second"
	s := settingsOf(t, &second, []config.User{bob}, issue(t, time.Now().Add(time.Hour), "mail.example"))
	reloaded := make(chan error, 1)
	go func() { reloaded <- p.Reload(s) }()
	m, n := receive[*handoff.Settings](t, one), receive[*handoff.Settings](t, two)
	one.Send(&handoff.Ready{Serial: m.Serial})
	two.Send(&handoff.Ready{Serial: n.Serial, Error: "no such file"})
	for _, c := range []*handoff.Conn{one, two} {
		d := receive[*handoff.Commit](t, c)
		if !d.Drop {
			t.Error("a login goes over alone")
		}
		c.Send(&handoff.Ready{Serial: d.Serial})
	}
	if err := <-reloaded; err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("reload: %v", err)
	}
	if v := p.ask(one, "x", "alice", "pw-alice"); v.User != "alice" {
		t.Errorf("alice after a reload that was refused: %+v", v)
	}

	go func() { reloaded <- p.Reload(s) }()
	for _, c := range []*handoff.Conn{one, two} {
		c.Send(&handoff.Ready{Serial: receive[*handoff.Settings](t, c).Serial})
	}
	for _, c := range []*handoff.Conn{one, two} {
		d := receive[*handoff.Commit](t, c)
		if d.Drop {
			t.Error("dropped")
		}
		c.Send(&handoff.Ready{Serial: d.Serial})
		data, _ := json.Marshal(loginState{Users: []string{"alice", "bob"}})
		c.Send(&handoff.State{Serial: receive[*handoff.Query](t, c).Serial, Data: data})
		if e := receive[*handoff.End](t, c); string(e.Data) != `["alice"]` {
			t.Errorf("ended: %s", e.Data)
		}
	}
	if err := <-reloaded; err != nil {
		t.Error(err)
	}
	if v := p.ask(one, "x", "alice", "pw-alice"); v.User != "" {
		t.Errorf("alice after she was removed: %+v", v)
	}
}

func waitUntil(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

func TestRoots(t *testing.T) {
	c := partedConfig("/x")
	c.MailRoot = "/var/vmail"
	s := &Settings{Config: c}
	add := func(uid int, maildirs ...string) {
		for _, m := range maildirs {
			s.Users = append(s.Users, config.User{UID: uid, GID: uid, Maildir: m})
		}
	}
	add(1, "/home/alice/Maildir")
	add(2, "/var/vmail/a/Maildir", "/var/vmail/b/Maildir", "/home/vmail/Maildir")
	var apart []string
	for i := range limit.Default().Worker.Roots {
		apart = append(apart, fmt.Sprintf("/srv/%04d/%s", i, strings.Repeat("x", 50)))
	}
	add(3, apart...)
	c.Directories = []config.Directory{
		{Name: "virtual", May: config.May{Owner: &config.Identity{UID: 5, GID: 5}, Roots: []string{"/srv/virtual"}}},
		{Name: "people", May: config.May{MinUID: 6, MaxUID: 9, Roots: []string{"/home"}}},
	}
	for id, want := range map[int]string{
		1: "/home/alice/Maildir", 2: "/home/vmail/Maildir /var/vmail", 3: strings.Join(apart, " "), 4: "", 5: "/srv/virtual",
		6: "", // until somebody has logged in, whose home is known then
	} {
		if got := strings.Join(s.roots(identityOf(&config.User{UID: id, GID: id})), " "); got != want {
			t.Errorf("uid %d: %q, not %q", id, got, want)
		}
	}
	session := func(u config.User) *handoff.Session {
		told, err := s.workerSession(&handoff.Open{}, u)
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	for _, row := range []struct{ home, maildir, want string }{
		{"/home/carol", "/home/carol/Maildir", "/home/carol"},
		{"/home/carol", "/home/mail/carol/Maildir", "/home/carol /home/mail/carol"}, // of another name for the same uid
		{"/home/carol", "/home/carol/Maildir", "/home/carol /home/mail/carol"},
	} {
		u := config.User{Name: "carol", Directory: "people", UID: 6, GID: 6, Home: row.home, Maildir: row.maildir}
		if got := strings.Join(session(u).Roots, " "); got != row.want {
			t.Errorf("%s: %q, not %q", row.maildir, got, row.want)
		}
	}
	many := session(config.User{UID: 3, GID: 3})
	if !slices.Equal(many.AllRoots(), apart) || len(many.Roots) > 0 {
		t.Errorf("%d roots of many, %d of them in the message itself", len(many.AllRoots()), len(many.Roots))
	}
	if err := s.checkRoots(); err != nil {
		t.Error(err)
	}
	more := config.User{Name: "erin", Directory: "people", UID: 3, GID: 3, Home: "/home/erin", Maildir: "/home/erin/Maildir"}
	if got := session(more).AllRoots(); !slices.Equal(got, append([]string{"/home/erin"}, apart...)) {
		t.Errorf("%d roots, with one that there is no room for", len(got))
	}
	s = &Settings{Config: c, Users: s.Users}
	add(3, "/one/more")
	if err := s.checkRoots(); err == nil || !strings.Contains(err.Error(), "uid 3: its mail is in 4097 directories") {
		t.Errorf("one root more than may be: %v", err)
	}
	virtual := config.User{Name: "dora", Directory: "virtual", UID: 5, GID: 5, Home: "/srv/virtual/dora", Maildir: "/srv/virtual/dora/Maildir"}
	if got := session(virtual).Roots; strings.Join(got, " ") != "/srv/virtual" {
		t.Errorf("virtual: %q", got)
	}
}

// TestChannels: one process has some channels and no more, until it gives some back, and
// whoever has one may not fill auth's memory by it.
func TestChannels(t *testing.T) {
	p := startParted(t, partedConfig(t.TempDir()))
	first, _ := p.login("imap")
	for range maxChannels - 1 {
		p.login("imap")
	}
	more := p.connect()
	more.Send(&handoff.Hello{Listener: "imap", Sockets: []*os.File{listening(t, "tcp", "127.0.0.1:0")}}) // or it is closed already
	if m, err := more.Receive(); err == nil {
		t.Errorf("one channel too many is told %T", m)
	}
	first.Close()
	waitUntil(t, func() bool {
		p.channels.mu.Lock()
		defer p.channels.mu.Unlock()
		return p.channels.of[os.Getpid()] < maxChannels
	})
	c, _ := p.login("imap")
	c.Send(&handoff.State{Data: make([]byte, maxState+1)})
	for {
		if _, err := c.Receive(); err != nil {
			break
		}
	}
}
