package bench_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/bench"
	"mailstead/imapserver/config"
	"mailstead/imapserver/dialogue"
)

const (
	mailUID  = 65534 // of all mail: virtual users
	users    = 100
	password = "pass"
	// passwordHash is of the least cost: it is not logins that are measured.
	passwordHash = "$6$rounds=1000$benchsalt1$Nx70Jh2RaOCeCXFKOrGAvazsSOBNnhqeUoR7gPQseySGkkdDoPeRPsUOxvgwqMVax2DxAPwTBYbXVUcpCeCpt."
)

func user(n int) string { return fmt.Sprintf("u%d", n) }

// person is a user of a server.
type person struct {
	name string
	uid  int
}

// people is so many users of one uid: virtual users.
func people(n int) []person {
	var list []person
	for i := range n {
		list = append(list, person{user(i + 1), mailUID})
	}
	return list
}

// server is a server under measurement, with a copy of the mail of its own.
type server struct {
	name    string
	dir     string // homes/USER/Maildir and what the server itself writes
	address string // of its listener without TLS
	start   func(t testing.TB, s *server) *exec.Cmd
	own     []string // patterns in a Maildir of what it writes there beside mail
	daemon  *exec.Cmd
	dialed  int
	tls     *tls.Config // of clients; nil: connections are in the clear
	tickets bool        // clients may resume sessions of TLS, which Dovecot's always do
	people  []person
	workers config.Workers // of our own
	relaxed bool           // as its description may say
	keep    time.Duration  // of what is expunged

	hash       string // of everybody's password
	generation int
	bundle     []byte // certificate and key; nil: one is made
}

func (s *server) maildir(user string) string {
	return filepath.Join(s.dir, "homes", user, "Maildir")
}

// dial logs in as a user. Each connection comes from another address, since
// servers limit what one may do.
func (s *server) dial(t testing.TB, user string) *bench.Client {
	t.Helper()
	s.dialed++
	source := fmt.Sprintf("127.%d.%d.1", 1+s.dialed/250%250, s.dialed%250)
	c, err := bench.Dial(source, s.address, s.tls)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(user, password); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return c
}

// up starts the server and waits until it serves.
func (s *server) up(t testing.TB) {
	t.Helper()
	if s.start == nil {
		return
	}
	s.address = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s.again(t)
}

// again starts the server at the address that it had.
func (s *server) again(t testing.TB) {
	t.Helper()
	s.daemon = s.start(t, s)
	out, err := os.OpenFile(filepath.Join(s.dir, "output"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s.daemon.Stdout, s.daemon.Stderr = out, out
	err = s.daemon.Start()
	for _, f := range s.daemon.ExtraFiles { // its sockets, which are free again when it is down
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		nc, err := net.Dial("tcp", s.address)
		if err == nil {
			nc.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not serve: see %s", s.name, out.Name())
		}
	}
}

// down ends the server in order.
func (s *server) down() {
	if s.daemon != nil {
		s.daemon.Process.Signal(syscall.SIGTERM)
		s.daemon.Wait()
		s.daemon = nil
	}
}

// forget has the server meet a user's Maildir for the first time.
func (s *server) forget(t testing.TB, user string) {
	t.Helper()
	s.down()
	for _, pattern := range s.own {
		for _, folder := range []string{"", ".*"} {
			found, err := filepath.Glob(filepath.Join(s.maildir(user), folder, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range found {
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	s.up(t)
}

// freePort gives a port that no client is given either while a server is down.
func freePort(t testing.TB) int {
	t.Helper()
	const first, ephemeral = 10_000, 32_768 // from there on the kernel takes those of clients
	for range 100 {
		port := first + rand.IntN(ephemeral-first)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("a hundred ports are all taken")
	return 0
}

// buildProgram builds one of ours.
func buildProgram(t testing.TB, name string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "mailstead/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) { // the daemon runs as another user
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(dir) == filepath.Clean(os.TempDir()) {
			break
		}
	}
	return path
}

// newMailstead is the daemon as it serves virtual users: one process of their
// uid for everything.
func newMailstead(t testing.TB, dir string) *server {
	program := buildProgram(t, "mailstead-imapd")
	return &server{
		name: "mailstead", dir: dir, own: []string{"mailstead", "mailstead-*"}, people: people(users), hash: passwordHash, workers: config.WorkerInline,
		start: func(t testing.TB, s *server) *exec.Cmd {
			if s.workers != config.WorkerInline {
				return startParted(t, s, program)
			}
			cmd := exec.Command(program, "serve", "--config", writeConfig(t, s))
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: mailUID, Gid: mailUID}}
			return cmd
		},
	}
}

func writeConfig(t testing.TB, s *server) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.address)
	c := &config.Config{
		Version: config.FormatVersion, Generation: fmt.Sprint("bench-", s.generation), Hostname: "mail.example",
		Control: filepath.Join(s.dir, "control"), Users: filepath.Join(s.dir, "users.ndjson"),
		Service: config.Identity{UID: mailUID, GID: mailUID}, Workers: s.workers, Relaxed: s.relaxed, Keep: int64(s.keep.Seconds()),
		TLS:       config.TLS{Policy: config.Modern, Tickets: s.tickets},
		Listeners: []config.Listener{{Name: "imap", Address: "127.0.0.1", TLS: config.Plain}},
	}
	fmt.Sscan(port, &c.Listeners[0].Port)
	if s.workers != config.WorkerInline {
		c.Service, c.Roles, c.Control = config.Identity{UID: serviceUID, GID: serviceUID}, s.roles(), filepath.Join(s.dir, "run", "control")
	}
	if s.tls != nil {
		c.Listeners[0].TLS = config.Implicit
		c.TLS.Bundles = []config.Bundle{{Name: "bench", File: makeBundle(t, s), Names: []string{c.Hostname}}}
	}
	var list []config.User
	for _, p := range s.people {
		list = append(list, config.User{
			Name: p.name, Hash: s.hash, UID: p.uid, GID: p.uid,
			Home: filepath.Dir(s.maildir(p.name)), Maildir: s.maildir(p.name),
		})
	}
	slices.SortFunc(list, func(a, b config.User) int { return strings.Compare(a.Name, b.Name) })
	data, err := config.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	if err := config.EncodeUsers(&lines, c.Workers, list); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "config.json")
	for name, data := range map[string][]byte{path: data, c.Users: lines.Bytes()} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// makeBundle writes a certificate, as most have it: ECDSA on P-256.
func makeBundle(t testing.TB, s *server) string {
	t.Helper()
	if s.bundle == nil {
		var err error
		if s.bundle, err = newAuthority(t).bundle(0); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(s.dir, "bundle.pem")
	if err := os.WriteFile(path, s.bundle, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const dovecotConf = `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
listen = 127.0.0.1
protocols = imap
%[4]s
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 5000
default_client_limit = 8000
default_process_limit = 400
%[3]s
passdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
}
namespace inbox {
  inbox = yes
  separator = .
}
service imap-login {
  inet_listener imap {
    port = %[2]s
    ssl = %[5]s
  }
}
service imap {
  process_limit = 4096
}
`

// newDovecot is Dovecot near its defaults, with settings more.
func newDovecot(name, dir, settings string) *server {
	return &server{
		name: name, dir: dir, own: []string{"dovecot*"}, people: people(users), hash: passwordHash,
		start: func(t testing.TB, s *server) *exec.Cmd {
			_, port, _ := net.SplitHostPort(s.address)
			var list strings.Builder
			scheme := "{SHA512-CRYPT}"
			if strings.HasPrefix(s.hash, "$argon2id$") {
				scheme = "{ARGON2ID}"
			}
			for _, p := range s.people {
				fmt.Fprintf(&list, "%s:%s%s:%d:%d::%s::\n", p.name, scheme, s.hash, p.uid, p.uid, filepath.Dir(s.maildir(p.name)))
			}
			conf, ssl, secure := filepath.Join(s.dir, "dovecot.conf"), "ssl = no", "no"
			if s.tls != nil {
				bundle := makeBundle(t, s)
				ssl, secure = fmt.Sprintf("ssl = yes\nssl_cert = <%s\nssl_key = <%[1]s", bundle), "yes"
			}
			for path, text := range map[string]string{
				conf: fmt.Sprintf(dovecotConf, s.dir, port, settings, ssl, secure), filepath.Join(s.dir, "users"): list.String(),
			} {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			return exec.Command("dovecot", "-F", "-c", conf)
		},
	}
}

// newCourier is Courier as Debian has set it up. It cannot be started again, so
// it takes no part in what needs that.
func newCourier(t testing.TB, dir string) *server {
	s := &server{name: "courier", dir: dir}
	var list []dialogue.CourierUser
	for n := range users {
		u := user(n + 1)
		list = append(list, dialogue.CourierUser{
			Name: u, Password: password, Home: filepath.Dir(s.maildir(u)), UID: mailUID, GID: mailUID,
		})
	}
	s.address = dialogue.StartCourier(t, list...)
	return s
}
