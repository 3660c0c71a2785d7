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
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/login"
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
		m, err := c.Receive()
		if err != nil {
			t.Error(err)
		}
		got <- m
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

// testFront is a front role, to which the test is the supervisor.
type testFront struct {
	*handoff.Conn
	t    *testing.T
	addr map[string]string
	cert []byte
	done chan error
	log  *journal
}

func settingsOf(t *testing.T, c *config.Config, users []config.User, pem ...[]byte) *Settings {
	t.Helper()
	s, err := NewSettings(c, users, pem)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func startFront(t *testing.T, c *config.Config, users ...config.User) *testFront {
	t.Helper()
	return startFrontWith(t, nil, c, users...)
}

// impatient is limits under which a worker has that long to answer a login.
func impatient(d time.Duration) *login.Limits {
	l := login.Default
	l.Answer = d
	return &l
}

func startFrontWith(t *testing.T, limits *login.Limits, c *config.Config, users ...config.User) *testFront {
	t.Helper()
	ours, theirs := channelPair(t)
	f := &testFront{Conn: ours, t: t, addr: map[string]string{}, cert: issue(t, time.Now().Add(time.Hour), "mail.example"), done: make(chan error, 1), log: &journal{}}
	go func() {
		f.done <- runFront(context.Background(), theirs, Options{Log: slog.New(slog.NewTextHandler(f.log, nil)), Login: limits, Auth: fast()})
	}()
	l, err := Bind(c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := &handoff.Settings{Serial: 1}
	for name, each := range l {
		f.addr[name] = each[0].Addr().String()
		file, err := each[0].(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		m.Listeners, m.Sockets = append(m.Listeners, name), append(m.Sockets, file)
	}
	if m.Data, err = settingsOf(t, c, users, f.cert).encode(); err != nil {
		t.Fatal(err)
	}
	if err := f.Send(m); err != nil {
		t.Fatal(err)
	}
	if r := receive[*handoff.Ready](t, f.Conn); r.Serial != 1 || r.Error != "" {
		t.Fatalf("%+v", r)
	}
	return f
}

func (f *testFront) dial() *client {
	f.t.Helper()
	c := dialTLS(f.t, f.addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: pool(f.t, f.cert)})
	c.until("* OK ")
	return c
}

func (f *testFront) state(selfTest bool) (*handoff.State, []control.Bundle) {
	f.t.Helper()
	if err := f.Send(&handoff.Query{Serial: 99, SelfTest: selfTest}); err != nil {
		f.t.Fatal(err)
	}
	s := receive[*handoff.State](f.t, f.Conn)
	var bundles []control.Bundle
	if err := json.Unmarshal(s.Data, &bundles); err != nil || s.Serial != 99 {
		f.t.Fatalf("%+v %v", s, err)
	}
	return s, bundles
}

// testWorker is the number of the test as a worker.
const testWorker = 77

// accept takes the session that a login opens, as a worker would.
func (f *testFront) accept(user, tag string) *net.UnixConn {
	f.t.Helper()
	o := receive[*handoff.Open](f.t, f.Conn)
	if o.User != user || o.Tag != tag || o.Remote != netip.MustParseAddr("127.0.0.1") || !o.TLS || o.ID == "" {
		f.t.Errorf("%+v", o)
	}
	stream, err := handoff.Stream(o.Stream)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { stream.Close() })
	if err := f.Send(&handoff.Opened{Serial: o.Serial, Worker: testWorker}); err != nil {
		f.t.Fatal(err)
	}
	return stream
}

func TestFrontRole(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	alice, bob := testUser(t, dir, "alice"), testUser(t, dir, "bob")
	f := startFront(t, c, alice, bob)

	// No worker: the client hears nothing of the reason.
	first := f.dial()
	first.send("a LOGIN alice pw-alice\r\n")
	o := receive[*handoff.Open](t, f.Conn)
	o.Stream.Close()
	f.Send(&handoff.Opened{Serial: o.Serial, Error: "fork: secret"})
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
	s, bundles := f.state(true)
	if s.Error != "" || s.Sessions["imaps"] != 2 || len(bundles) != 1 || bundles[0].Name != "mail.example" || len(bundles[0].Fingerprint) != 64 {
		t.Errorf("%+v %+v", s, bundles)
	}

	// What cannot be served changes nothing.
	before := bundles[0].Fingerprint
	for _, data := range []string{"", "{}", `{"config":"e30="}`} {
		f.Send(&handoff.Settings{Serial: 2, Data: []byte(data)})
		if r := receive[*handoff.Ready](t, f.Conn); r.Serial != 2 || r.Error == "" {
			t.Errorf("%q: %+v", data, r)
		}
	}
	// Alice is no user any more, and there is a new certificate.
	data, err := settingsOf(t, c, []config.User{bob}, issue(t, time.Now().Add(time.Hour), "mail.example")).encode()
	if err != nil {
		t.Fatal(err)
	}
	f.Send(&handoff.Settings{Serial: 3, Data: data})
	if r := receive[*handoff.Ready](t, f.Conn); r.Serial != 3 || r.Error != "" {
		t.Fatalf("%+v", r)
	}
	if rest, err := io.ReadAll(first.r); len(rest) > 0 {
		t.Errorf("alice's session after she was removed: %q %v", rest, err)
	}
	if _, bundles = f.state(false); bundles[0].Fingerprint == before {
		t.Error("the old certificate is still served")
	}

	waiting, err := net.Dial("tcp", f.addr["imap"])
	if err != nil {
		t.Fatal(err)
	}
	w := newClient(t, waiting)
	w.until("* OK ")
	f.Send(&handoff.Stop{})
	w.until("* BYE ")
	io.WriteString(worker, "* BYE bob\r\n") // sessions are carried on until their workers end
	worker.Close()
	second.until("* BYE bob")
	if err := <-f.done; err != nil {
		t.Error(err)
	}
}

// TestFrontSaysWhoHangs has the front tell which worker does not answer.
func TestFrontSaysWhoHangs(t *testing.T) {
	dir := t.TempDir()
	f := startFrontWith(t, impatient(300*time.Millisecond), testConfig(dir), testUser(t, dir, "alice"))
	c := f.dial()
	c.send("a LOGIN alice pw-alice\r\n")
	f.accept("alice", "a")
	if h := receive[*handoff.Hangs](t, f.Conn); h.Worker != testWorker {
		t.Errorf("%+v", h)
	}
	c.until("a NO [UNAVAILABLE]")
	c.until("* BYE")
	// The connection ends a moment after its last line.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s, _ := f.state(false)
		if len(s.Sessions) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("sessions: %v", s.Sessions)
		}
	}
}

func TestFrontWithoutSupervisor(t *testing.T) {
	dir := t.TempDir()
	f := startFront(t, testConfig(dir), testUser(t, dir, "alice"))
	f.Close()
	if err := <-f.done; err == nil || !strings.Contains(err.Error(), "supervisor") {
		t.Errorf("%v", err)
	}
}

func TestFrontAsksForHelpers(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.PAM = &config.PAM{Service: "imap", Helper: "/nonexistent"}
	user := testUser(t, dir, "alice")
	user.Hash = ""
	f := startFront(t, c, user)
	client := f.dial()

	client.send("a LOGIN alice one\r\n")
	n := receive[*handoff.NeedHelper](t, f.Conn)
	f.Send(&handoff.Helper{Serial: n.Serial, Error: "none"})
	client.until("a NO [UNAVAILABLE]")

	client.send("b LOGIN alice two\r\n")
	n = receive[*handoff.NeedHelper](t, f.Conn)
	helper, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer helper.Close()
	f.Send(&handoff.Helper{Serial: n.Serial, ID: 7, Pipe: theirs})
	theirs.Close()
	var r handoff.PAMRequest
	if err := handoff.ReadFrame(helper, &r); err != nil || r != (handoff.PAMRequest{User: "alice", Password: "two", Remote: "127.0.0.1", Within: 10000}) {
		t.Errorf("%+v %v", r, err)
	}
	helper.Close() // it dies of that
	client.until("b NO [UNAVAILABLE]")
	if e := receive[*handoff.EndHelper](t, f.Conn); e.ID != 7 {
		t.Errorf("%+v", e)
	}
}

func TestWorkerRole(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := channelPair(t)
	log := &journal{}
	m := newMail(slog.New(slog.NewTextHandler(log, nil)))
	m.linger = 50 * time.Millisecond
	done := make(chan error, 1)
	go func() { done <- runWorker(context.Background(), theirs, m) }()

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
	path := maildir(t, filepath.Join(dir, "Maildir"))
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
	path := maildir(t, filepath.Join(t.TempDir(), "Maildir"))
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

func TestDropped(t *testing.T) {
	// Whoever runs a test has not been started by the supervisor.
	if err := dropped(); err == nil {
		t.Error("this process has nothing left to drop")
	}
	if err := RunFront(t.Context(), Options{}); err == nil {
		t.Error("a front by hand")
	}
	if err := RunWorker(t.Context(), Options{}); err == nil {
		t.Error("a worker by hand")
	}
	if os.Getuid() != 0 {
		if _, err := NewSupervisor(&Settings{}, Options{}); err == nil {
			t.Error("a supervisor without root")
		}
	}
}
