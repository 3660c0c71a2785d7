package imapserver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/login"
	"mailstead/imapserver/session"
)

// channelPair makes a channel with both its ends in this process.
func channelPair(t *testing.T) (ours, theirs *handoff.Conn) {
	t.Helper()
	ours, f, err := handoff.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = handoff.NewConn(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// receive waits for a message of that type.
func receive[M handoff.Message](t *testing.T, c *handoff.Conn) M {
	t.Helper()
	got := make(chan handoff.Message, 1)
	go func() {
		for {
			m, err := c.Receive()
			if err != nil {
				t.Error(err)
			}
			_, wanted := any(*new(M)).(*handoff.Told)
			if _, told := m.(*handoff.Told); told && !wanted {
				continue // what a role has counted, which comes at any time
			}
			got <- m
			return
		}
	}()
	select {
	case m := <-got:
		if m, ok := m.(M); ok {
			return m
		}
		t.Fatalf("received %T", m)
	case <-time.After(10 * time.Second):
		t.Fatal("nothing received")
	}
	panic("not reached")
}

func settingsOf(t *testing.T, c *config.Config, users []config.User, pem ...[]byte) *Settings {
	t.Helper()
	s, err := NewSettings(c, users, pem)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// impatient is limits under which a worker has that long to answer a login.
func impatient(d time.Duration) *login.Limits {
	l := login.Default
	l.Answer = d
	return &l
}

// listenPackets makes a socket at which a role can be found.
func listenPackets(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// meetRole waits for somebody to connect.
func meetRole(t *testing.T, l net.Listener) *handoff.Conn {
	t.Helper()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := handoff.Over(nc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// testLogin is the login process of the listener imaps, to which the test is auth.
type testLogin struct {
	*handoff.Conn
	t    *testing.T
	auth net.Listener
	addr string
	cert []byte
	stop context.CancelFunc
	done chan error
	log  *journal
	ask  *handoff.Ask // that has come before a Ready: who waits for auth asks once there is one

	board *os.File
}

func startLogin(t *testing.T, limits *login.Limits, c *config.Config) *testLogin {
	t.Helper()
	dir := t.TempDir()
	f := &testLogin{t: t, auth: listenPackets(t, filepath.Join(dir, "auth")), cert: issue(t, time.Now().Add(time.Hour), "mail.example"), done: make(chan error, 1), log: &journal{}}
	l, err := Bind(&config.Config{Listeners: c.Listeners[1:]})
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l["imaps"][0].Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	t.Cleanup(stop)
	go func() {
		o := Options{Log: slog.New(slog.NewTextHandler(f.log, nil)), Login: limits}
		f.done <- newLoginRole("imaps", filepath.Join(dir, "auth"), l, false, o).run(ctx)
	}()
	f.meet()
	if e := f.configure(settingsOf(t, c, nil, f.cert)); e != "" {
		t.Fatal(e)
	}
	return f
}

// meet takes its connection, and what it says first.
func (f *testLogin) meet() {
	f.t.Helper()
	f.Conn = meetRole(f.t, f.auth)
	h := receive[*handoff.Hello](f.t, f.Conn)
	if h.Listener != "imaps" || len(h.Sockets) != 1 || h.Board == nil {
		f.t.Fatalf("%+v", h)
	}
	if at, ok := handoff.Listening(h.Sockets[0]); !ok || at.String() != f.addr {
		f.t.Fatalf("it listens at %v", at)
	}
	f.t.Cleanup(func() { h.Board.Close() })
	f.board = h.Board
}

// configure sends settings, and has them committed unless they are refused.
func (f *testLogin) configure(s *Settings) (refused string) {
	f.t.Helper()
	data, err := s.forLogin("imaps", nil, []byte("key"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.Send(&handoff.Settings{Serial: 1, Data: data})
	if r := receive[*handoff.Ready](f.t, f.Conn); r.Serial != 1 || r.Error != "" {
		return r.Error
	}
	f.Send(&handoff.Commit{Serial: 2})
	m := receive[handoff.Message](f.t, f.Conn)
	if ask, ok := m.(*handoff.Ask); ok {
		f.ask = ask
		m = receive[handoff.Message](f.t, f.Conn)
	}
	if r, ok := m.(*handoff.Ready); !ok || r.Serial != 2 || r.Error != "" {
		f.t.Fatalf("%+v", m)
	}
	return ""
}

func (f *testLogin) dial() *client {
	f.t.Helper()
	c := dialTLS(f.t, f.addr, &tls.Config{ServerName: "mail.example", RootCAs: pool(f.t, f.cert)})
	c.until("* OK ")
	return c
}

func (f *testLogin) state(selfTest bool) (*handoff.State, loginState) {
	f.t.Helper()
	return f.query(handoff.Query{SelfTest: selfTest, Users: true})
}

func (f *testLogin) query(q handoff.Query) (*handoff.State, loginState) {
	f.t.Helper()
	q.Serial = 99
	if err := f.Send(&q); err != nil {
		f.t.Fatal(err)
	}
	s := receive[*handoff.State](f.t, f.Conn)
	var state loginState
	if err := json.Unmarshal(s.Data, &state); err != nil || s.Serial != 99 {
		f.t.Fatalf("%+v %v", s, err)
	}
	return s, state
}

// testWorker is the number of the test as a worker.
const testWorker = 77

// claimed lets a user in, and takes what the login claims for that.
func (f *testLogin) claimed(user, tag string) *handoff.Claim {
	f.t.Helper()
	a := f.ask
	if f.ask = nil; a == nil {
		a = receive[*handoff.Ask](f.t, f.Conn)
	}
	if c := a.Credentials; c.User != user || c.Password != "pw-"+user || c.Remote != netip.MustParseAddr("127.0.0.1") || !c.TLS || c.ID == "" {
		f.t.Errorf("%+v", c)
	}
	f.Send(&handoff.Answer{Serial: a.Serial, Verdict: handoff.Verdict{User: user, Ticket: "ticket of " + user}})
	m := receive[*handoff.Claim](f.t, f.Conn)
	if m.Ticket != "ticket of "+user || m.Tag != tag {
		f.t.Errorf("%+v", m)
	}
	return m
}

// accept takes the session that a login opens, as a worker would.
func (f *testLogin) accept(user, tag string) *net.UnixConn {
	f.t.Helper()
	m := f.claimed(user, tag)
	stream, err := handoff.Stream(m.Stream)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { stream.Close() })
	if err := f.Send(&handoff.Opened{Serial: m.Serial, Worker: testWorker}); err != nil {
		f.t.Fatal(err)
	}
	return stream
}

func TestLoginRole(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	f := startLogin(t, nil, c)

	// No worker: the client hears nothing of the reason.
	first := f.dial()
	first.send("a LOGIN alice pw-alice\r\n")
	m := f.claimed("alice", "a")
	m.Stream.Close()
	f.Send(&handoff.Opened{Serial: m.Serial, Error: "fork: secret"})
	if said := first.until("a "); !strings.HasPrefix(said, "a NO [UNAVAILABLE]") || strings.Contains(said, "secret") {
		t.Errorf("%q", said)
	}
	first.send("b LOGIN alice pw-alice\r\nc NOOP\r\n")
	stream := f.accept("alice", "b")
	io.WriteString(stream, "b OK in\r\n")
	first.until("b OK in")
	buf := make([]byte, 100)
	if n, err := stream.Read(buf); string(buf[:n]) != "c NOOP\r\n" || err != nil {
		t.Errorf("%q %v", buf[:n], err)
	}
	second := f.dial()
	second.send("a LOGIN bob pw-bob\r\n")
	worker := f.accept("bob", "a")
	io.WriteString(worker, "a OK in\r\n")
	second.until("a OK")
	s, state := f.state(true)
	if s.Error != "" || s.Sessions["imaps"] != 2 || len(state.Bundles) != 1 || len(state.Bundles[0].Fingerprint) != 64 || strings.Join(state.Users, " ") != "alice bob" {
		t.Errorf("%+v %+v", s, state)
	}
	for _, row := range []struct {
		ask        handoff.Query
		users, who string
	}{
		{handoff.Query{}, "", ""}, // as whoever scrapes does
		{handoff.Query{Users: true}, "alice bob", ""},
		{handoff.Query{Sessions: true}, "", "alice bob"},
		{handoff.Query{Sessions: true, User: "bob"}, "", "bob"},
		{handoff.Query{Sessions: true, ID: "nobody's"}, "", ""},
	} {
		_, state := f.query(row.ask)
		var who []string
		for _, c := range state.Connected {
			who = append(who, c.User)
		}
		if users := strings.Join(state.Users, " "); users != row.users || strings.Join(who, " ") != row.who {
			t.Errorf("%+v: users %q, sessions %q", row.ask, users, who)
		}
	}

	// What cannot be served changes nothing, and neither does what is dropped.
	before := state.Bundles[0].Fingerprint
	for _, data := range []string{"", `{"config":{"tls":{"bundles":[{}]}}}`} {
		f.Send(&handoff.Settings{Serial: 2, Data: []byte(data)})
		if r := receive[*handoff.Ready](t, f.Conn); r.Serial != 2 || r.Error == "" {
			t.Errorf("%q: %+v", data, r)
		}
		f.Send(&handoff.Commit{Serial: 3})
		if r := receive[*handoff.Ready](t, f.Conn); r.Error == "" {
			t.Errorf("%q is in force", data)
		}
	}
	other, err := settingsOf(t, c, nil, issue(t, time.Now().Add(time.Hour), "mail.example")).forLogin("imaps", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Send(&handoff.Settings{Serial: 4, Data: other})
	receive[*handoff.Ready](t, f.Conn)
	f.Send(&handoff.Commit{Serial: 5, Drop: true})
	receive[*handoff.Ready](t, f.Conn)
	if _, state := f.state(false); state.Bundles[0].Fingerprint != before {
		t.Error("a certificate that was dropped is served")
	}
	f.Send(&handoff.End{Data: []byte(`["alice"]`)})
	if rest, err := io.ReadAll(first.r); len(rest) > 0 {
		t.Errorf("alice's session after she was removed: %q %v", rest, err)
	}

	// Who is logged in does not notice that auth dies; who is not waits for another.
	waiting := f.dial()
	f.Close()
	io.WriteString(worker, "* 1 EXISTS\r\n")
	second.until("* 1 EXISTS")
	waiting.send("a LOGIN alice pw-alice\r\n")
	f.meet()
	f.configure(settingsOf(t, c, nil, f.cert))
	io.WriteString(f.accept("alice", "a"), "a OK in\r\n")
	waiting.until("a OK")

	// At its end the sessions are seen off by their workers.
	early := f.dial()
	f.stop()
	early.until("* BYE ")
	if n, err := worker.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("bob's worker hears %q %v", buf[:n], err)
	}
	io.WriteString(worker, "* BYE bob\r\n")
	worker.Close()
	second.until("* BYE bob")
}

// TestLoginSaysWhoHangs has the login tell which worker does not answer.
func TestLoginSaysWhoHangs(t *testing.T) {
	f := startLogin(t, impatient(300*time.Millisecond), testConfig(t.TempDir()))
	c := f.dial()
	c.send("a LOGIN alice pw-alice\r\n")
	f.accept("alice", "a")
	if h := receive[*handoff.Hangs](t, f.Conn); h.Worker != testWorker {
		t.Errorf("%+v", h)
	}
	c.until("a NO [UNAVAILABLE]")
	c.until("* BYE")
}

func TestWorkerRole(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := channelPair(t)
	log := &journal{}
	m := newMail(slog.New(slog.NewTextHandler(log, nil)))
	m.linger = 50 * time.Millisecond
	done := make(chan error, 1)
	go func() { done <- runWorker(context.Background(), theirs, m, nil) }()

	session := func(id, path string) *client {
		t.Helper()
		mine, stream, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		err = ours.Send(&handoff.Session{
			Open:    handoff.Open{ID: id, User: "alice", Tag: "a", Remote: netip.MustParseAddr("192.0.2.1"), TLS: true, Stream: stream},
			Maildir: path, Namespace: "INBOX.",
		})
		stream.Close()
		if err != nil {
			t.Fatal(err)
		}
		return newClient(t, mine)
	}
	path := newMaildir(t, filepath.Join(dir, "Maildir"))
	one, two := session("1", path), session("2", path)
	for _, c := range []*client{one, two} {
		c.until("a OK [CAPABILITY ")
	}
	one.send("b NAMESPACE\r\nc APPEND INBOX {5+}\r\nx: y\n\r\n")
	if said := one.until("b OK"); !strings.Contains(said, `(("INBOX." "."))`) {
		t.Errorf("%q", said)
	}
	one.until("c OK")
	two.send("d STATUS INBOX (MESSAGES)\r\n")
	if said := two.until("d OK"); !strings.Contains(said, "(MESSAGES 1)") {
		t.Errorf("%q", said)
	}
	missing := session("3", filepath.Join(dir, "none"))
	if said := missing.until("* BYE"); !strings.HasPrefix(said, "a NO [UNAVAILABLE] ") || strings.Contains(said, dir) {
		t.Errorf("%q", said)
	}
	one.send("e LOGOUT\r\n")
	one.until("e OK")
	two.Close()

	// Idle says how many sessions there were; one that comes later is served all
	// the same.
	if i := receive[*handoff.Idle](t, ours); i.Sessions != 3 {
		t.Errorf("%+v", i)
	}
	late := session("4", path)
	late.until("a OK")
	late.send("f IDLE\r\n")
	late.until("+ ")
	ours.Send(&handoff.Stop{})
	late.until("* BYE")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "msg=disconnect "); n != 3 {
		t.Errorf("%d sessions have ended in\n%s", n, log)
	}
}

// TestWorkerOpensAgain has sessions come while their account is being closed.
func TestWorkerOpensAgain(t *testing.T) {
	path := newMaildir(t, filepath.Join(t.TempDir(), "Maildir"))
	m := newMail(slog.New(slog.DiscardHandler))
	m.linger = time.Microsecond
	for range 20 {
		a, err := m.acquire(t.Context(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.store.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.release(path, a, m.linger)
		time.Sleep(time.Millisecond)
	}
	m.close()
	if len(m.accounts) != 0 {
		t.Error("accounts are left open")
	}
}

// TestFailedAccount has sessions come to an account that has failed, while others still
// have it, and when nobody does: they get one that is opened anew.
func TestFailedAccount(t *testing.T) {
	path := newMaildir(t, filepath.Join(t.TempDir(), "Maildir"))
	m := newMail(slog.New(slog.DiscardHandler))
	defer m.close()
	failed, err := m.acquire(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	borrower, end := context.WithCancelCause(t.Context())
	_, giveBack, err := m.lend(context.WithValue(borrower, endOf{}, end), path)
	if err != nil {
		t.Fatal(err)
	}
	failed.fail()
	came := make(chan *account, 1)
	come := func() {
		a, err := m.acquire(t.Context(), path, nil)
		if err != nil {
			t.Error(err)
		}
		came <- a
	}
	go come()
	<-borrower.Done()
	if cause := context.Cause(borrower); cause != session.ErrBroken {
		t.Errorf("who had borrowed it is ended by %v", cause)
	}
	giveBack()
	select {
	case <-came:
		t.Error("a session joins an account that has failed")
	case <-time.After(50 * time.Millisecond):
	}
	m.release(path, failed, time.Hour)
	anew := <-came
	m.release(path, anew, time.Hour)
	anew.fail() // by what is done behind
	go come()
	if last := <-came; last == anew || anew == failed {
		t.Error("it is not opened anew")
	} else {
		m.release(path, last, 0)
	}
}

func TestDropped(t *testing.T) {
	// Whoever runs a test has not been started by the spawn.
	if err := dropped(); err == nil {
		t.Error("this process has nothing left to drop")
	}
	if err := RunLogin(t.Context(), "imaps", "/nonexistent", Options{}); err == nil {
		t.Error("a login by hand")
	}
	if err := RunWorker(t.Context(), nil, Options{}); err == nil {
		t.Error("a worker by hand")
	}
}
