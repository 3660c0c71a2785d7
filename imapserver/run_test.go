package imapserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// TestMain is also each role of the daemon, where a test starts its own program
// as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && roleOf[os.Args[1]] != nil {
		serveRole(os.Args[1])
	}
	if path := os.Getenv("IMAPSERVER_TEST_SERVE"); path != "" {
		if err := Run(context.Background(), path, Options{Log: NewLog(os.Stderr), Auth: fast()}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// testAnswer is what workers have to answer a login in a daemon that is this
// test's own program.
const testAnswer = 3 * time.Second

// roleOf is the roles by their verb, with the flags that startProcesses gives.
var roleOf = map[string]func(context.Context, Options) error{
	"worker": func(ctx context.Context, o Options) error { return RunWorker(ctx, os.Args[2:], o) },
	"login":  func(ctx context.Context, o Options) error { return RunLogin(ctx, os.Args[3], os.Args[5], o) },
	"serve":  func(ctx context.Context, o Options) error { return Run(ctx, os.Args[3], o) },
	"spawn":  func(ctx context.Context, o Options) error { return RunSpawn(ctx, serviceUID, o) },
}

func serveRole(verb string) {
	if err := roleOf[verb](context.Background(), Options{Log: NewLog(os.Stderr), Login: impatient(testAnswer), Auth: fast()}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// systemd is a socket that takes what a service tells systemd.
type systemd struct {
	t    *testing.T
	told chan string // which is long: a socket that nobody reads holds the service up
}

func newSystemd(t *testing.T) (*systemd, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	told := make(chan string, 10_000)
	go func() {
		for buf := make([]byte, 4096); ; {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			told <- string(buf[:n])
		}
	}()
	return &systemd{t, told}, path
}

// want waits for a notification that begins so, past those of the watchdog.
func (s *systemd) want(prefix string) string {
	s.t.Helper()
	for late := time.After(10 * time.Second); ; {
		var got string
		select {
		case got = <-s.told:
		case <-late:
			s.t.Fatalf("waiting for %s", prefix)
		}
		if strings.HasPrefix(got, prefix) {
			return got
		}
		if got != "WATCHDOG=1" {
			s.t.Fatalf("told %q, not %q", got, prefix)
		}
	}
}

// running is a daemon as Run runs it.
func run(t *testing.T, path string) (log *journal, stop func() error) {
	t.Helper()
	log = &journal{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, path, Options{Log: slog.New(slog.NewTextHandler(log, nil)), Auth: fast()})
	}()
	return log, func() error { cancel(); return <-done }
}

func fileDigest(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return digest(data)
}

func ask(t *testing.T, c *config.Config, verb string) control.Status {
	t.Helper()
	s, err := control.Ask(t.Context(), c.Control, control.Request{Verb: verb})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// askSession begins a session of a user over the control socket.
func askSession(t *testing.T, c *config.Config, user string) net.Conn {
	t.Helper()
	nc, err := control.Session(t.Context(), c.Control, user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	return nc
}

// readUntil reads what comes, as far as a text.
func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var got []byte
	for buf := make([]byte, 1); !bytes.Contains(got, []byte(text)); got = append(got, buf...) {
		if _, err := r.Read(buf); err != nil {
			t.Fatalf("%v after %q", err, got)
		}
	}
	return string(got)
}

func TestRun(t *testing.T) {
	s, socket := newSystemd(t)
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	dir := t.TempDir()
	c := testConfig(dir)
	alice := testUser(t, dir, "alice")
	first := issue(t, time.Now().Add(time.Hour), "mail.example")
	path := write(t, dir, c, []config.User{alice}, first)
	log, stop := run(t, path)
	s.want("READY=1")
	s.want("WATCHDOG=1")

	st := ask(t, c, control.VerbStatus)
	if st.Generation != "first" || len(st.Listeners) != 2 || st.Listeners[0].Name != "imap" || st.Listeners[0].TLS != "starttls" ||
		len(st.Bundles) != 1 || st.PID != os.Getpid() || st.Error != "" || st.Sessions != 0 {
		t.Errorf("%+v", st)
	}
	if got := st.Users; got.Count != 1 || got.Digest != fileDigest(t, c.Users) || st.Config != fileDigest(t, path) {
		t.Errorf("read: %s, %+v", st.Config, got)
	}
	client := dialTLS(t, st.Listeners[1].Address, &tls.Config{ServerName: "mail.example", RootCAs: pool(t, first)})
	client.send("a LOGIN alice pw-alice\r\n")
	client.until("a OK")

	// A session without a password, for whoever may ask over the control socket.
	own := askSession(t, c, "alice")
	if got := readUntil(t, own, "\n"); !strings.HasPrefix(got, "* OK [CAPABILITY") {
		t.Errorf("greeted by %q", got)
	}
	io.WriteString(own, "a STATUS INBOX (MESSAGES)\r\n")
	if got := readUntil(t, own, "a OK"); !strings.Contains(got, "(MESSAGES 0)") {
		t.Errorf("%q", got)
	}
	own.Close()
	if got := readUntil(t, askSession(t, c, "nobody"), "\n"); !strings.HasPrefix(got, `* BYE no user "nobody"`) {
		t.Errorf("%q", got)
	}

	// A reload that is refused changes nothing and says why.
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if st := ask(t, c, control.VerbReload); st.Error == "" || st.Generation != "first" || st.Sessions != 1 {
		t.Errorf("a torn configuration: %+v", st)
	}
	if got := s.want("RELOADING=1\n"); !strings.Contains(got, "MONOTONIC_USEC=") {
		t.Errorf("%q", got)
	}
	s.want("READY=1")

	c.Generation = "second"
	second := issue(t, time.Now().Add(time.Hour), "mail.example")
	write(t, dir, c, []config.User{alice, testUser(t, dir, "bob")}, second)
	after := ask(t, c, control.VerbReload)
	if after.Error != "" || after.Generation != "second" || after.Users.Count != 2 || after.Users.Digest != fileDigest(t, c.Users) || after.Bundles[0].Fingerprint == st.Bundles[0].Fingerprint {
		t.Errorf("%+v", after)
	}
	s.want("RELOADING=1\n")
	s.want("READY=1")
	other := dialTLS(t, st.Listeners[1].Address, &tls.Config{ServerName: "mail.example", RootCAs: pool(t, second)})
	other.send("a LOGIN bob pw-bob\r\n")
	other.until("a OK")
	client.send("b NOOP\r\n")
	client.until("b OK")

	// By signal, as by hand.
	c.Generation = "third"
	write(t, dir, c, []config.User{alice}, second)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.want("RELOADING=1\n")
	s.want("READY=1")
	if st := ask(t, c, control.VerbStatus); st.Generation != "third" {
		t.Errorf("after SIGHUP: %+v", st)
	}
	if st := ask(t, c, "restart"); !strings.Contains(st.Error, "unknown verb") {
		t.Errorf("%+v", st)
	}

	if err := stop(); err != nil {
		t.Error(err)
	}
	s.want("STOPPING=1")
	client.until("* BYE")
	if _, err := control.Ask(t.Context(), c.Control, control.Request{Verb: control.VerbStatus}); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
	for _, want := range []string{"msg=serving listener=imap ", "reload refused", "msg=reloaded generation=second"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c.Listeners[1].Port = taken.Addr().(*net.TCPAddr).Port
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	_, stop := run(t, write(t, dir, c, nil, cert))
	if err := stop(); err == nil || !strings.Contains(err.Error(), "listener imaps") || !strings.Contains(err.Error(), "taken by another program") {
		t.Errorf("a port that is taken: %v", err)
	}
	c.Listeners[1].Port = 0
	l, err := control.Listen(c.Control)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	defer l.Close()
	_, stop = run(t, write(t, dir, c, nil, cert))
	if err := stop(); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("a second daemon: %v", err)
	}
	_, stop = run(t, filepath.Join(dir, "none.json"))
	if err := stop(); err == nil {
		t.Error("no configuration")
	}
}

// TestActivation starts the daemon as systemd does, with the sockets in another
// order than the configuration's.
func TestActivation(t *testing.T) {
	s, socket := newSystemd(t)
	dir := t.TempDir()
	c := testConfig(dir)
	c.Listeners[0].Port, c.Listeners[1].Port = 143, 993 // which it does not bind
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	path := write(t, dir, c, []config.User{testUser(t, dir, "alice")}, cert)
	var files []*os.File
	addr := map[string]string{}
	names := []string{"imaps", "imap"}
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addr[name] = append(files, f), l.Addr().String()
	}
	start := func(names string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
		cmd.Env = append(os.Environ(), "IMAPSERVER_TEST_SERVE="+path, "LISTEN_FDS=2", "LISTEN_FDNAMES="+names, "NOTIFY_SOCKET="+socket, "JOURNAL_STREAM=1:2")
		cmd.ExtraFiles = files
		var out bytes.Buffer
		cmd.Stderr = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &out
	}
	cmd, out := start(strings.Join(names, ":"))
	s.want("READY=1")
	plain, err := net.Dial("tcp", addr["imap"])
	if err != nil {
		t.Fatal(err)
	}
	if said := newClient(t, plain).until("* OK"); !strings.Contains(said, "LOGINDISABLED") {
		t.Errorf("imap: %q", said)
	}
	client := dialTLS(t, addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)})
	client.send("a LOGIN alice pw-alice\r\nb IDLE\r\n")
	client.until("+ ")
	if st := ask(t, c, control.VerbStatus); len(st.Listeners) != 2 || st.Listeners[0].Address != addr["imap"] || st.Sessions != 1 || len(st.On) != 1 || st.On["imaps"] != 1 {
		t.Errorf("%+v", st)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	client.until("* BYE")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	s.want("STOPPING=1")
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "<6>msg=") {
			t.Errorf("not a line for the journal: %q", line)
		}
	}

	// A socket unit too many and one too few cost the others nothing.
	cmd, out = start("other:imap")
	s.want("READY=1")
	plain, err = net.Dial("tcp", addr["imap"])
	if err != nil {
		t.Fatal(err)
	}
	newClient(t, plain).until("* OK")
	if st := ask(t, c, control.VerbStatus); len(st.Listeners) != 1 || st.Listeners[0].Name != "imap" {
		t.Errorf("%+v", st)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "socket other is no listener") || !strings.Contains(out.String(), "listener imaps") {
		t.Errorf("sockets of other names: %v\n%s", err, out)
	}
	s.want("STOPPING=1")

	cmd, out = start("another:other")
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "listener imap:") {
		t.Errorf("no socket of any listener: %v\n%s", err, out)
	}
}

func TestJournal(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "1:2")
	var b bytes.Buffer
	log := NewLog(&b).With("user", "a\nb").WithGroup("g")
	log.Debug("no")
	log.Info("one", "k", "v w")
	log.Warn("two\nlines", "k", 1)
	log.Error("three")
	want := `<6>msg=one user="a\nb" g.k="v w"` + "\n" +
		`<4>msg="two\nlines" user="a\nb" g.k=1` + "\n" +
		`<3>msg=three user="a\nb"` + "\n"
	if b.String() != want {
		t.Errorf("%s\nnot\n%s", &b, want)
	}
}
