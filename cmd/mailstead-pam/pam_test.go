package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

// e2e skips a test that writes below /etc/pam.d of a machine of its own.
func e2e(t *testing.T) {
	t.Helper()
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("set MAILSTEAD_E2E=1 as root of a machine of your own, with libpam0g-dev")
	}
	if os.Getuid() != 0 {
		t.Fatal("needs root, to make users and a file in /etc/pam.d")
	}
}

// service writes the rules of a PAM service, which are gone when the test ends.
func service(t *testing.T, name, rules string) {
	t.Helper()
	if err := os.WriteFile("/etc/pam.d/"+name, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove("/etc/pam.d/" + name) })
}

// helper is a mailstead-pam as auth has it.
type helper struct {
	t    *testing.T
	cmd  *exec.Cmd
	pipe *net.UnixConn
	errs bytes.Buffer
}

// build makes the program with PAM.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mailstead-pam")
	command(t, "", "env", "CGO_ENABLED=1", "go", "build", "-tags", "pam", "-o", path, ".")
	return path
}

func startHelper(t *testing.T, args ...string) *helper {
	t.Helper()
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	h := &helper{t: t, cmd: exec.Command(args[0], args[1:]...), pipe: ours}
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = theirs, theirs, &h.errs
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); h.cmd.Process.Kill(); h.cmd.Wait() })
	return h
}

// send asks for a login, as auth does, in at most within milliseconds.
func (h *helper) send(user, password string, within int) {
	h.t.Helper()
	r := handoff.PAMRequest{User: user, Password: password, Remote: "192.0.2.1", Within: within}
	if err := handoff.WriteFrame(h.pipe, r); err != nil {
		h.t.Fatal(err)
	}
}

func (h *helper) read() (handoff.PAMAnswer, error) {
	var a handoff.PAMAnswer
	h.pipe.SetReadDeadline(time.Now().Add(30 * time.Second))
	err := handoff.ReadFrame(h.pipe, &a)
	return a, err
}

func (h *helper) ask(user, password string) handoff.PAMAnswer {
	h.t.Helper()
	h.send(user, password, 20000)
	a, err := h.read()
	if err != nil {
		h.t.Fatalf("%s: %v", user, err)
	}
	return a
}

// TestRealPAM makes system users, asks PAM about them, and removes them.
func TestRealPAM(t *testing.T) {
	e2e(t)
	path := build(t)
	const name = "mailstead-test"
	service(t, name, "@include common-auth\n@include common-account\n")
	for _, u := range []string{"mstestgood", "mstestgone", "mstestlock", "mstestold"} {
		command(t, "", "useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", u)
		t.Cleanup(func() { command(t, "", "userdel", u) })
		command(t, u+":swordfish\n", "chpasswd")
	}
	command(t, "", "usermod", "--expiredate", "2001-01-01", "mstestgone")
	command(t, "", "usermod", "--lock", "mstestlock")
	command(t, "", "chage", "--lastday", "0", "mstestold")

	want := []struct {
		user, password string
		result         handoff.PAMResult
	}{
		{"mstestgood", "swordfish", handoff.PAMOK},
		{"mstestgood", "wrong", handoff.PAMRefused},
		{"mstestnone", "swordfish", handoff.PAMRefused},
		{"mstestgone", "swordfish", handoff.PAMAccount},
		{"mstestgone", "wrong", handoff.PAMRefused},
		{"mstestlock", "swordfish", handoff.PAMRefused},
		{"mstestold", "swordfish", handoff.PAMExpired},
		{"mstestold", "wrong", handoff.PAMRefused},
		{"mstestgood", "swordfish", handoff.PAMOK},
	}
	// The unit of the daemon leaves root few capabilities; it needs none of them.
	for as, args := range map[string][]string{
		"root":             {path},
		"root without any": {"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", path},
	} {
		h := startHelper(t, append(args, "--service", name)...)
		for _, w := range want {
			if a := h.ask(w.user, w.password); a.Result != w.result {
				t.Errorf("%s: %s with %q: %+v, not %s", as, w.user, w.password, a, w.result)
			}
		}
	}
}

// hostile starts a helper whose PAM service is the module in testdata alone.
func hostile(t *testing.T) *helper {
	t.Helper()
	e2e(t)
	module := filepath.Join(t.TempDir(), "hostile.so")
	command(t, "", "gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", module, "testdata/hostile.c", "-lpam", "-lpthread")
	name := fmt.Sprintf("mailstead-hostile-%d", os.Getpid())
	var rules strings.Builder
	for _, facility := range []string{"auth", "account", "session"} {
		fmt.Fprintf(&rules, "%s required %s\n", facility, module)
	}
	service(t, name, rules.String())
	return startHelper(t, build(t), "--service", name)
}

// TestHostileModules has a module do its worst in each phase, and the same helper
// answer the next login right.
func TestHostileModules(t *testing.T) {
	h := hostile(t)
	for _, w := range []struct {
		user, password string
		result         handoff.PAMResult
		detail         string
	}{
		{"plain", "swordfish", handoff.PAMOK, ""},
		{"plain", "wrong", handoff.PAMRefused, "Authentication failure"},
		{"again", "swordfish", handoff.PAMOK, ""},
		{"exit", "p", handoff.PAMError, "exit code 0"},
		{"quick", "p", handoff.PAMError, "exit code 7"},
		{"segv", "p", handoff.PAMError, "signal 11"},
		{"abort", "p", handoff.PAMError, "signal 6"},
		{"group", "p", handoff.PAMError, "signal 9"},
		{"close", "p", handoff.PAMError, "closed"},
		{"flood", "p", handoff.PAMError, "signal 6"},
		{"chatter", "p", handoff.PAMError, "Conversation error"},
		{"memory", "p", handoff.PAMError, "Memory buffer error"},
		{"noise", "p", handoff.PAMError, ""},
		{"rename", "p", handoff.PAMRefused, "another user"},
		{"token", "swordfish", handoff.PAMRefused, "more than name and password: One-time token: "},
		{"binary", "p", handoff.PAMRefused, "more than name and password: (binary)"},
		{"brood", "swordfish", handoff.PAMOK, ""},
		{"account-segv", "p", handoff.PAMError, "signal 11"},
		{"account-expired", "p", handoff.PAMExpired, "account: User account has expired"},
		{"account-newtoken", "p", handoff.PAMExpired, "account: "},
		{"account-denied", "p", handoff.PAMAccount, "account: Permission denied"},
		{"account-broken", "p", handoff.PAMError, "account: "},
		{"cred-stale", "p", handoff.PAMExpired, "credentials: "},
		{"cred-segv", "p", handoff.PAMError, "signal 11"},
		{"session-error", "p", handoff.PAMAccount, "session: "},
		{"session-denied", "p", handoff.PAMAccount, "session: "},
		{"session-quick", "p", handoff.PAMError, "exit code 7"},
		{"close-abort", "p", handoff.PAMError, "signal 6"},
	} {
		start := time.Now()
		if a := h.ask(w.user, w.password); a.Result != w.result || !strings.Contains(a.Detail, w.detail) {
			t.Errorf("%s: %+v, not %s %q", w.user, a, w.result, w.detail)
		} else if strings.Contains(a.Detail, w.password) && w.password != "p" {
			t.Errorf("%s: the password is in %q", w.user, a.Detail)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: answered after %v: it was cut off, not found out", w.user, d)
		}
		if a := h.ask("plain", "swordfish"); a.Result != handoff.PAMOK {
			t.Errorf("the login after %s: %+v", w.user, a)
		}
	}
	h.until(2)
}

// TestHostileModuleHangs cuts off what cannot be interrupted, with all that it has
// started; and where the module gets at the guard, the helper ends.
func TestHostileModuleHangs(t *testing.T) {
	h := hostile(t)
	const within = 1000
	for _, user := range []string{"hang", "account-hang", "session-hang", "close-hang"} {
		start := time.Now()
		h.send(user, "p", within)
		a, err := h.read()
		if err != nil || a.Result != handoff.PAMError || !strings.Contains(a.Detail, "has not answered within 1000 ms") {
			t.Errorf("%s: %+v, %v", user, a, err)
		}
		if d := time.Since(start); d < within*time.Millisecond {
			t.Errorf("%s: cut off after %v", user, d)
		}
		if a := h.ask("plain", "swordfish"); a.Result != handoff.PAMOK {
			t.Errorf("the login after %s: %+v", user, a)
		}
	}
	for _, user := range []string{"parent", "stop"} {
		h := startHelper(t, h.cmd.Args...)
		h.send(user, "p", within)
		if a, err := h.read(); err == nil {
			t.Errorf("%s: %+v", user, a)
		}
	}
	h.until(2)
}

// TestHelperUnwanted is who has asked going away, with no power over the helper
// but the stream: helper, guard and login end.
func TestHelperUnwanted(t *testing.T) {
	h := hostile(t)
	h.send("hang", "p", 60000)
	h.until(3)
	h.pipe.Close()
	h.until(0)
}

// TestFallback is a service that nobody has written: PAM would go by "other".
func TestFallback(t *testing.T) {
	e2e(t)
	h := startHelper(t, build(t), "--service", "mailstead-nowhere")
	if a := h.ask("root", "p"); a.Result != handoff.PAMError || !strings.Contains(a.Detail, "/etc/pam.d/mailstead-nowhere") {
		t.Errorf("%+v", a)
	}
	h.pipe.Close()
	h.cmd.Wait()
	if !strings.Contains(h.errs.String(), `every login is refused: there is no /etc/pam.d/mailstead-nowhere`) {
		t.Errorf("stderr: %s", &h.errs)
	}
}

// alive are the processes of a helper's program, and what the module has left
// behind, a line each.
func alive(h *helper) []string {
	out, _ := exec.Command("ps", "-eo", "stat,pid,ppid,args").Output()
	var lines []string
	for line := range strings.Lines(string(out)) {
		if ours := strings.Contains(line, h.cmd.Path) || strings.Contains(line, "mstest-brood"); ours && line[0] != 'Z' {
			lines = append(lines, line)
		}
	}
	return lines
}

// until waits until n processes are left: a helper and its guard are two.
func (h *helper) until(n int) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(alive(h)) != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%d processes, want %d:\n%s", len(alive(h)), n, strings.Join(alive(h), ""))
		}
	}
}

func command(t *testing.T, in, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &errs)
	}
	return out.Bytes()
}
