package imapserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// The accounts of the daemon with processes; nobody else has these uids.
const (
	serviceUID = 61100
	loginUID   = 61103
	aliceUID   = 61101
	bobUID     = 61102
)

// processes is a daemon with processes, as root.
type processes struct {
	t       *testing.T
	c       *config.Config
	program string
	sockets map[string]*os.File        // by role
	roles   map[string]*exec.Cmd       // by name
	helper  atomic.Pointer[os.Process] // the last mailstead-pam
	log     *journal
	path    string // of the configuration
	dir     string
	own     bool // the daemon is this test's own program: see TestMain
	cert    []byte
	st      control.Status
}

// listen makes the socket of a role, as systemd would.
func (p *processes) listen(role, network, address string, uid int) (bound string) {
	p.t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		p.t.Fatal(err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
		if err := os.Chown(address, uid, uid); err != nil {
			p.t.Fatal(err)
		}
	}
	file, err := l.(interface{ File() (*os.File, error) }).File()
	l.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { file.Close() })
	p.sockets[role] = file
	return l.Addr().String()
}

// start starts a role with its socket.
func (p *processes) start(name string, uid int, args ...string) {
	p.t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, p.program}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LISTEN_FDS=1", "LISTEN_FDNAMES=" + name}
	cmd.ExtraFiles = []*os.File{p.sockets[name]}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.roles[name] = cmd
}

// kill kills a role and starts it again, as systemd would.
func (p *processes) kill(name string, uid int) {
	p.t.Helper()
	old := p.roles[name]
	old.Process.Kill()
	old.Wait()
	// The verb and its flags stand after the shell, its script and the program.
	p.start(name, uid, old.Args[4:]...)
}

// up starts all of them.
func (p *processes) up() {
	p.t.Helper()
	p.listen("spawn", "unixpacket", p.c.Roles.Spawn, serviceUID)
	p.listen("auth", "unixpacket", p.c.Roles.Auth, loginUID)
	p.start("spawn", 0, "spawn", "--auth-uid", strconv.Itoa(serviceUID))
	p.start("auth", serviceUID, "serve", "--config", p.path)
	for _, l := range p.c.Listeners {
		bound := p.listen(l.Name, "tcp", net.JoinHostPort(l.Address, "0"), 0)
		p.st.Listeners = append(p.st.Listeners, control.Listener{Name: l.Name, Address: bound})
		p.start(l.Name, loginUID, "login", "--listener", l.Name, "--auth", p.c.Roles.Auth)
	}
	p.t.Cleanup(func() {
		for _, cmd := range p.roles {
			cmd.Process.Signal(syscall.SIGTERM)
		}
		for name, cmd := range p.roles {
			if err := cmd.Wait(); err != nil {
				p.t.Errorf("%s: %v\n%s", name, err, p.log)
			}
		}
	})
	p.eventually("the daemon does not start", func() bool {
		st, err := control.Ask(p.t.Context(), p.c.Control, control.Request{Verb: control.VerbStatus})
		if err != nil || len(st.Listeners) != len(p.c.Listeners) {
			return false
		}
		p.st = st
		return true
	})
}

func startProcesses(t *testing.T) *processes {
	t.Helper()
	return startProcessesWith(t, func(*processes) []config.User { return nil })
}

// startProcessesWith lets more change the configuration and add users.
func startProcessesWith(t *testing.T, more func(p *processes) []config.User) *processes {
	t.Helper()
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("set MAILSTEAD_E2E=1 as root")
	}
	if os.Getuid() != 0 {
		t.Fatal("needs root, to start workers of other uids")
	}
	p := &processes{t: t, dir: t.TempDir(), log: &journal{}, sockets: map[string]*os.File{}, roles: map[string]*exec.Cmd{}}
	p.program = filepath.Join(p.dir, "mailstead-imapd")
	build(t, p.program)
	// Workers must be able to reach the Maildirs.
	for dir := p.dir; dir != "/"; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err != nil || st.Mode()&0o011 != 0o011 {
			os.Chmod(dir, st.Mode().Perm()|0o055)
		}
	}
	p.c = testConfig(p.dir)
	p.c.Sharing = true
	run := filepath.Join(p.dir, "run")
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	giveAway(t, run, serviceUID)
	p.c.Control = filepath.Join(run, "control")
	p.c.Workers, p.c.Service = config.WorkerPerUID, config.Identity{UID: serviceUID, GID: serviceUID}
	p.c.Roles = &config.Roles{Login: config.Identity{UID: loginUID, GID: loginUID}, Auth: filepath.Join(p.dir, "auth"), Spawn: filepath.Join(p.dir, "spawn")}
	p.cert = issue(t, time.Now().Add(time.Hour), "mail.example")
	users := append(p.users(), more(p)...)
	slices.SortFunc(users, func(a, b config.User) int { return strings.Compare(a.Name, b.Name) })
	p.write(users)
	if p.own {
		// The test's own is where nobody else may go.
		if out, err := exec.Command("cp", os.Args[0], p.program).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	p.up()
	return p
}

// build builds the program as it is shipped: with cgo, workers cannot confine
// themselves.
func build(t *testing.T, program string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "mailstead/cmd/mailstead-imapd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// write writes the files, for auth to read.
func (p *processes) write(users []config.User) {
	p.t.Helper()
	p.path = write(p.t, p.dir, p.c, users, p.cert)
	for _, file := range []string{p.path, p.c.Users, p.c.TLS.Bundles[0].File} {
		if err := os.Chown(file, serviceUID, serviceUID); err != nil {
			p.t.Fatal(err)
		}
	}
}

// users are alice and bob, of uids of their own, and virtual ones who share
// bob's.
func (p *processes) users() []config.User {
	var all []config.User
	for _, u := range []struct {
		name string
		uid  int
	}{{"alice", aliceUID}, {"bob", bobUID}, {"virtual1", bobUID}, {"virtual2", bobUID}} {
		home := filepath.Join(p.dir, u.name)
		user := config.User{Name: u.name, Hash: hash(p.t, "pw-"+u.name), UID: u.uid, GID: u.uid, Home: home, Maildir: newMaildir(p.t, filepath.Join(home, "Maildir"))}
		giveAway(p.t, home, u.uid)
		all = append(all, user)
	}
	return all
}

// giveAway makes a tree somebody else's.
func giveAway(t *testing.T, tree string, uid int) {
	t.Helper()
	err := filepath.WalkDir(tree, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *processes) eventually(what string, f func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s\n%s", what, p.log)
		}
	}
}

// children is the processes of spawn by their verb and uid: "worker 61101".
func (p *processes) children() map[string][]int {
	all := map[string][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, err1 := os.ReadFile(dir + "/stat")
		line, err2 := os.ReadFile(dir + "/cmdline")
		var st syscall.Stat_t
		if err1 != nil || err2 != nil || syscall.Stat(dir, &st) != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		args := strings.Split(string(line), "\x00")
		if len(fields) < 2 || fields[1] != strconv.Itoa(p.roles["spawn"].Process.Pid) || len(args) < 2 || fields[0] == "Z" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		status, _ := os.ReadFile(dir + "/status")
		name := args[1] + " " + uidOf(status)
		all[name] = append(all[name], pid)
	}
	return all
}

// uidOf reads the real uid from /proc/PID/status: a process that cannot be
// dumped has files of root there.
func uidOf(status []byte) string {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			return strings.Fields(rest)[0]
		}
	}
	return "?"
}

func (p *processes) login(user string) *client {
	p.t.Helper()
	c := dialTLS(p.t, p.st.Listeners[1].Address, &tls.Config{ServerName: "mail.example", RootCAs: pool(p.t, p.cert)})
	c.send("a LOGIN " + user + " pw-" + user + "\r\n")
	c.until("a OK")
	return c
}

func TestProcesses(t *testing.T) {
	p := startProcesses(t)
	alice, bob, v1, v2 := p.login("alice"), p.login("bob"), p.login("virtual1"), p.login("virtual2")
	again := p.login("alice")
	have := p.children()
	for _, want := range []string{fmt.Sprint("worker ", aliceUID), fmt.Sprint("worker ", bobUID)} {
		if len(have[want]) != 1 {
			t.Errorf("%d processes %q in %v", len(have[want]), want, have)
		}
	}
	for name, pids := range have {
		checkPrivileges(t, name, pids[0])
	}

	// Mail goes to the right place and belongs to its owner.
	for user, c := range map[string]*client{"alice": alice, "bob": bob, "virtual1": v1, "virtual2": v2} {
		text := "Subject: for " + user + "\r\n\r\n"
		c.send(fmt.Sprintf("b APPEND INBOX {%d+}\r\n%s\r\nc SELECT INBOX\r\nd FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]\r\n", len(text), text))
		if said := c.until("d OK"); strings.Count(said, "Subject: ") != 1 || !strings.Contains(said, "Subject: for "+user+"\r\n") {
			t.Errorf("%s sees %q", user, said)
		}
	}
	files, _ := filepath.Glob(filepath.Join(p.dir, "alice", "Maildir", "*", "*"))
	if len(files) == 0 {
		t.Error("no file in alice's Maildir")
	}
	for _, f := range files {
		var st syscall.Stat_t
		if err := syscall.Lstat(f, &st); err != nil || st.Uid != aliceUID || st.Gid != aliceUID || st.Mode&0o077 != 0 {
			t.Errorf("%s: uid %d, mode %o, %v", f, st.Uid, st.Mode, err)
		}
	}

	// What one shares, those of the same uid find, and nobody else.
	v1.send("s SETACL INBOX anyone lr\r\n")
	v1.until("s OK")
	v2.send("s STATUS #shared.virtual1 (MESSAGES)\r\n")
	v2.until("s OK")
	alice.send("s STATUS #shared.virtual1 (MESSAGES)\r\nt LIST \"\" #*\r\n")
	if said := alice.until("t OK"); strings.Contains(said, "* ") {
		t.Errorf("alice, of another uid, sees %q", said)
	}

	// A worker that is killed takes its own sessions with it, and nobody else's.
	syscall.Kill(have[fmt.Sprint("worker ", aliceUID)][0], syscall.SIGKILL)
	for _, c := range []*client{alice, again} {
		if _, err := c.r.ReadByte(); err == nil {
			t.Error("alice's session goes on without her worker")
		}
	}
	bob.send("e NOOP\r\n")
	bob.until("e OK")
	alice = p.login("alice")
	p.reload(bob)
	p.killEach(alice, bob)
	bob = p.login("bob")
	p.roles["imaps"].Process.Signal(syscall.SIGTERM)
	bob.until("* BYE")
}

// TestHangingWorker stops a worker: the next login of its user is told so, and
// the one after that has another.
func TestHangingWorker(t *testing.T) {
	p := startProcessesWith(t, func(p *processes) []config.User {
		p.own = true
		return nil
	})
	before, bob := p.login("alice"), p.login("bob")
	worker := fmt.Sprint("worker ", aliceUID)
	old := p.children()[worker]
	if len(old) != 1 {
		t.Fatalf("workers %v", old)
	}
	syscall.Kill(old[0], syscall.SIGSTOP)
	p.eventually("the worker does not stop", func() bool { return stopped(old[0]) })
	c := dialTLS(t, p.st.Listeners[1].Address, &tls.Config{ServerName: "mail.example", RootCAs: pool(t, p.cert)})
	c.until("* OK")
	begun := time.Now()
	c.send("a LOGIN alice pw-alice\r\n")
	c.until("a NO [UNAVAILABLE]")
	c.until("* BYE")
	if d := time.Since(begun); d < testAnswer {
		t.Errorf("refused after %v", d)
	}
	if _, err := before.r.ReadByte(); err == nil {
		t.Error("a session goes on without its worker")
	}
	p.login("alice")
	if now := p.children()[worker]; len(now) != 1 || now[0] == old[0] {
		t.Errorf("worker %v is now %v", old, now)
	}
	bob.send("b NOOP\r\n")
	bob.until("b OK")
	if log := p.log.String(); !strings.Contains(log, "worker killed: it hangs") || !strings.Contains(log, "worker has not answered a login") {
		t.Errorf("log:\n%s", log)
	}
}

// stopped tells whether all threads of a process are.
func stopped(pid int) bool {
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	return len(all) > 0 && !slices.ContainsFunc(all, func(path string) bool {
		status, err := os.ReadFile(path)
		return err == nil && !bytes.Contains(status, []byte("State:\tT"))
	})
}

// checkPrivileges looks for anything that a process has besides its uid, and
// for its name.
func checkPrivileges(t *testing.T, name string, pid int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Name:\tmailstead-imapd", "Umask:\t0077", "Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000"}
	for _, line := range want {
		if !bytes.Contains(status, []byte(line+"\n")) {
			t.Errorf("%s: no %q in\n%s", name, line, status)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil || !regexp.MustCompile(`\nMax core file size +0 +0 `).Match(limits) {
		t.Errorf("%s: %v, cores in\n%s", name, err, limits)
	}
	_, groups, _ := bytes.Cut(status, []byte("\nGroups:"))
	groups, _, _ = bytes.Cut(groups, []byte("\n"))
	if len(bytes.TrimSpace(groups)) > 0 {
		t.Errorf("%s: groups %s", name, groups)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if strings.HasSuffix(target, ".json") || strings.HasSuffix(target, ".pem") || strings.HasSuffix(target, ".ndjson") {
			t.Errorf("%s has %s open", name, target)
		}
	}
}

// reload removes virtual1, whose session ends, and leaves bob's alone.
func (p *processes) reload(bob *client) {
	p.t.Helper()
	gone := p.login("virtual1")
	p.c.Generation = "second"
	users := slices.DeleteFunc(p.users(), func(u config.User) bool { return u.Name == "virtual1" })
	p.write(users)
	out, err := exec.Command(p.program, "ctl", "reload", "--config", p.path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "generation second") {
		p.t.Errorf("ctl reload: %v\n%s", err, out)
	}
	gone.until("* BYE")
	if _, err := gone.r.ReadByte(); err == nil {
		p.t.Error("virtual1's session goes on")
	}
	bob.send("f NOOP\r\n")
	bob.until("f OK")
	if err := os.Truncate(p.c.Users, 3); err != nil {
		p.t.Fatal(err)
	}
	out, err = exec.Command(p.program, "ctl", "reload", "--control", p.c.Control).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "mailstead-imapd: error: reload refused") {
		p.t.Errorf("ctl reload of torn users: %v\n%s", err, out)
	}
	p.write(users)
}

// plain logs in on the listener that is not alice's and bob's.
func (p *processes) plain(user string) *client {
	p.t.Helper()
	nc, err := net.Dial("tcp", p.st.Listeners[0].Address)
	if err != nil {
		p.t.Fatal(err)
	}
	c := newClient(p.t, nc)
	c.send("a STARTTLS\r\n")
	c.until("a OK")
	c = newClient(p.t, tls.Client(nc, &tls.Config{ServerName: "mail.example", RootCAs: pool(p.t, p.cert)}))
	c.send("b LOGIN " + user + " pw-" + user + "\r\n")
	c.until("b OK")
	return c
}

// TestSessionsOfAUser counts what comes by two listeners as one user's.
func TestSessionsOfAUser(t *testing.T) {
	p := startProcesses(t)
	p.c.Limits = map[string]int64{"sessionsPerUser": 2}
	p.write(p.users())
	if out, err := exec.Command(p.program, "ctl", "reload", "--config", p.path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	one, two := p.login("virtual1"), p.plain("virtual1")
	third := func() *client {
		c := dialTLS(t, p.st.Listeners[1].Address, &tls.Config{ServerName: "mail.example", RootCAs: pool(t, p.cert)})
		c.send("a LOGIN virtual1 pw-virtual1\r\nb NOOP\r\n")
		return c
	}
	c := third()
	if said := c.until("b OK"); !strings.Contains(said, "a NO [LIMIT] Too many connections of this user.") {
		t.Errorf("third session of a user: %q", said)
	}
	one.goesOn("the third")
	two.send("c LOGOUT\r\n")
	two.until("c OK")
	p.eventually("a place", func() bool {
		c.send("d LOGIN virtual1 pw-virtual1\r\ne NOOP\r\n")
		return strings.Contains(c.until("e OK"), "d OK")
	})
	p.login("virtual2").goesOn("another user")
}

// goesOn tells that a session does.
func (c *client) goesOn(after string) {
	c.t.Helper()
	c.send("g NOOP\r\n")
	if said := c.until("g OK"); said == "" {
		c.t.Errorf("a session ends with %s", after)
	}
}

// killEach kills one role after the other: no session ends but those that it has.
func (p *processes) killEach(alice, bob *client) {
	p.t.Helper()
	p.kill("auth", serviceUID)
	for _, c := range []*client{alice, bob} {
		c.goesOn("auth")
	}
	other := p.plain("alice") // waits for auth
	p.kill("imaps", loginUID)
	for _, c := range []*client{alice, bob} {
		if _, err := c.r.ReadByte(); err == nil {
			p.t.Error("a session without its login")
		}
	}
	other.goesOn("another listener's login")
	p.login("bob")
	p.kill("spawn", 0)
	other.until("* BYE") // of a worker without spawn
	p.plain("alice")
}

// TestStrangers has processes of other users try the channel's program by hand.
func TestStrangers(t *testing.T) {
	p := startProcesses(t)
	for _, verb := range []string{"worker"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out, err := exec.CommandContext(ctx, p.program, verb).CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), "for spawn to start") {
			t.Errorf("%s by hand: %v\n%s", verb, err, out)
		}
	}
	cmd := exec.Command(p.program, "ctl", "status", "--control", p.c.Control)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: aliceUID, Gid: aliceUID}}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("status for everyone: %v\n%s", err, out)
	}
	// A connection that is not logged in costs no worker.
	c, err := net.Dial("tcp", p.st.Listeners[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	newClient(t, c).until("* OK")
	if have := p.children(); len(have) != 0 {
		t.Errorf("%v", have)
	}
}

// command runs a program that must succeed.
func command(t *testing.T, in, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// helpers starts a mailstead-pam for each connection to its socket, as systemd would.
func (p *processes) helpers(program, service string) {
	p.t.Helper()
	l, err := net.Listen("unix", p.c.PAM.Socket)
	if err == nil {
		err = os.Chown(p.c.PAM.Socket, serviceUID, serviceUID)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			file, err := c.(*net.UnixConn).File()
			c.Close()
			if err != nil {
				return
			}
			cmd := exec.Command(program, "--service", service)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, p.log
			err = cmd.Start()
			file.Close()
			if err != nil {
				return
			}
			p.helper.Store(cmd.Process)
			go cmd.Wait()
		}
	}()
}

// TestSystemUser logs an account of the host in through PAM.
func TestSystemUser(t *testing.T) {
	const name, service = "mstestpam", "mailstead-test-imapd"
	p := startProcessesWith(t, func(p *processes) []config.User {
		helper := filepath.Join(p.dir, "mailstead-pam")
		command(t, "", "env", "CGO_ENABLED=1", "go", "build", "-tags", "pam", "-o", helper, "mailstead/cmd/mailstead-pam")
		p.c.PAM = &config.PAM{Service: service, Helper: helper, Socket: filepath.Join(p.dir, "pam")}
		p.helpers(helper, service)
		if err := os.WriteFile("/etc/pam.d/"+service, []byte("@include common-auth\n@include common-account\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove("/etc/pam.d/" + service) })
		home := filepath.Join(p.dir, name)
		command(t, "", "useradd", "--no-create-home", "--home-dir", home, "--shell", "/usr/sbin/nologin", name)
		t.Cleanup(func() { command(t, "", "userdel", name) })
		command(t, name+":pw-"+name+"\n", "chpasswd")
		uid, err := strconv.Atoi(strings.TrimSpace(command(t, "", "id", "-u", name)))
		if err != nil {
			t.Fatal(err)
		}
		path := newMaildir(t, filepath.Join(home, "Maildir"))
		giveAway(t, home, uid)
		return []config.User{{Name: name, UID: uid, GID: uid, Home: home, Maildir: path}}
	})
	trust := &tls.Config{ServerName: "mail.example", RootCAs: pool(t, p.cert)}
	c := dialTLS(t, p.st.Listeners[1].Address, trust)
	c.until("* OK")
	begun := time.Now()
	c.send("a LOGIN " + name + " wrong\r\n")
	c.until("a NO [AUTHENTICATIONFAILED]")
	if d := time.Since(begun); d < 1900*time.Millisecond || d > 2500*time.Millisecond {
		t.Errorf("refused after %v", d)
	}
	c.send("b LOGIN " + name + " pw-" + name + "\r\nc SELECT INBOX\r\n")
	c.until("c OK")

	// The helper is killed, as by a module that crashes: the next login has another.
	for range 2 {
		p.helper.Load().Kill()
		p.login(name)
	}
	if log := p.log.String(); !strings.Contains(log, `msg="login failed" addr=`) || !strings.Contains(log, " user="+name) || strings.Contains(log, "pw-") {
		t.Errorf("log:\n%s", log)
	}
	c.send("d LOGOUT\r\n")
	c.until("d OK")
}
