package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// e2e skips a test that needs root and the lab unless MAILSTEAD_E2E=1 asks for
// it; then a missing part is a failure. It gives the root directory of a part of
// the lab.
func e2e(t *testing.T, part string) string {
	t.Helper()
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("needs root and a Debian host to boot (.ci/lab): set MAILSTEAD_E2E=1")
	}
	lab := os.Getenv("MAILSTEAD_LAB")
	if lab == "" {
		lab = "/var/cache/mailstead-lab"
	}
	if _, err := os.Stat(filepath.Join(lab, part+".stamp")); err != nil {
		t.Fatalf("no lab: %v (make it with .ci/lab %s)", err, lab)
	}
	return filepath.Join(lab, part)
}

// programs builds the four programs once, mailstead-pam with PAM, and gives the
// directory that holds them: beside those of TestMain, which are removed in the end.
// -trimpath is what .ci/run has built the others with by then, so little is left to compile.
var programs = sync.OnceValues(func() (string, error) {
	own, err := exec.LookPath("mailstead-killer")
	if err != nil {
		return "", err
	}
	top := filepath.Dir(filepath.Dir(own))
	dir := filepath.Join(top, "shipped")
	if err := errors.Join(os.Chmod(top, 0o755), os.Mkdir(dir, 0o755)); err != nil {
		return "", err
	}
	for cgo, args := range [][]string{
		{"build", "-trimpath", "-o", dir + "/", "../mailstead", "../mailstead-imapd", "../mailstead-deliver"},
		{"build", "-tags", "pam", "-o", dir + "/", "../mailstead-pam"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+strconv.Itoa(cgo))
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return dir, nil
})

// boxes is how many there have been: two tests may each have one of the same name.
var boxes atomic.Int64

// box is a Debian host booted in a container over a copy-on-write file system
// of its own, with a loopback network of its own. It shares with others what the tests
// run on alone, so that a test of one or more is parallel, unless it wants something
// done within a time.
type box struct {
	t      *testing.T
	name   string
	dir    string // tmpfs with up, work and root
	leader int    // systemd's process id, seen from here
	cmd    *exec.Cmd
}

// cgroups are the hierarchies in which a box needs a group of its own: two on
// a hybrid host, one where version 2 stands alone.
func cgroups(name string) []string {
	var dirs []string
	for _, h := range []string{"unified", "systemd"} {
		if _, err := os.Stat("/sys/fs/cgroup/" + h); err == nil {
			dirs = append(dirs, "/sys/fs/cgroup/"+h+"/mailstead-"+name)
		}
	}
	if dirs == nil {
		dirs = []string{"/sys/fs/cgroup/mailstead-" + name}
	}
	return dirs
}

// newBox boots a host; it is gone when the test ends.
func newBox(t *testing.T, name string) *box {
	t.Helper()
	return newBoxOf(t, "root", name)
}

// newBoxOf boots a host that is a part of the lab.
func newBoxOf(t *testing.T, part, name string) *box {
	t.Helper()
	b := newStill(t, part, name)
	b.boot()
	t.Cleanup(b.kill)
	return b
}

// newStill is a host that is not booted: its file system with the programs.
func newStill(t *testing.T, part, name string) *box {
	t.Helper()
	lower := e2e(t, part)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, name: fmt.Sprintf("%s%d-%d", name, os.Getpid(), boxes.Add(1)), dir: t.TempDir()}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(syscall.Mount("tmpfs", b.dir, "tmpfs", 0, ""))
	t.Cleanup(func() { syscall.Unmount(b.dir, syscall.MNT_DETACH) })
	for _, d := range []string{"up", "work", "root"} {
		check(os.Mkdir(filepath.Join(b.dir, d), 0o755))
	}
	check(syscall.Mount("overlay", b.root(), "overlay", 0,
		fmt.Sprintf("lowerdir=%s,upperdir=%s/up,workdir=%s/work", lower, b.dir, b.dir)))
	t.Cleanup(func() { syscall.Unmount(b.root(), syscall.MNT_DETACH) })
	for _, p := range []string{"mailstead", "mailstead-imapd", "mailstead-pam", "mailstead-deliver"} {
		check(exec.Command("cp", filepath.Join(bin, p), filepath.Join(b.root(), "usr/local/bin", p)).Run())
	}
	return b
}

func (b *box) root() string { return filepath.Join(b.dir, "root") }

// boot starts systemd in the container and waits until it says that it is up.
func (b *box) boot() {
	b.t.Helper()
	var sh strings.Builder
	for _, g := range cgroups(b.name) {
		os.Mkdir(g, 0o755)
		fmt.Fprintf(&sh, "echo $$ > %s/cgroup.procs; ", g)
	}
	sh.WriteString(`exec systemd-nspawn "$@"`)
	notify := filepath.Join(b.dir, "notify")
	os.Remove(notify)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	console, err := os.Create(filepath.Join(b.dir, "console.log"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer console.Close()
	b.cmd = exec.Command("sh", "-c", sh.String(), "nspawn", "-q", "-D", b.root(), "--boot", "--register=no", "--keep-unit",
		"--private-network", "--system-call-filter=bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self", // which it would refuse
		"--machine="+b.name, "--console=pipe", "--notify-ready=yes")
	b.cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "NOTIFY_SOCKET="+notify)
	b.cmd.Stdout, b.cmd.Stderr = console, console
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(2 * time.Minute))
	for buf := make([]byte, 4096); ; {
		n, err := l.Read(buf)
		if err != nil {
			log, _ := os.ReadFile(console.Name())
			b.t.Fatalf("the container does not come up: %v\n%s", err, log)
		}
		for line := range strings.Lines(string(buf[:n])) {
			line = strings.TrimSpace(line)
			if pid, ok := strings.CutPrefix(line, "X_NSPAWN_LEADER_PID="); ok {
				b.leader, _ = strconv.Atoi(pid)
			}
			if line == "READY=1" {
				return
			}
		}
	}
}

// reboot shuts the host down in order and boots it again.
func (b *box) reboot() {
	b.t.Helper()
	syscall.Kill(b.leader, syscall.Signal(34+4)) // SIGRTMIN+4: power off
	b.cmd.Wait()
	b.boot()
}

func (b *box) kill() {
	if b.t.Failed() {
		out, _ := exec.Command("journalctl", "--root", b.root(), "-u", "mailstead*", "-o", "short-precise", "--no-pager", "-n", "60").CombinedOutput()
		b.t.Logf("journal:\n%s", out)
	}
	syscall.Kill(b.leader, syscall.SIGKILL)
	b.cmd.Wait()
	for _, g := range cgroups(b.name) {
		var groups []string
		filepath.WalkDir(g, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, p)
			}
			return nil
		})
		for i := len(groups) - 1; i >= 0; i-- {
			syscall.Rmdir(groups[i])
		}
	}
}

// result is what a command in the box came to.
type result struct {
	code   int
	stdout string
	stderr string
}

// command prepares a program inside the box, with an environment of its own.
func (b *box) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(b.leader), "-m", "-u", "-i", "-n", "-p", "-C", "--",
		"env", "-i", "-C", "/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}, args...)...)
}

// try runs a program inside the box.
func (b *box) try(stdin string, args ...string) result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c := b.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	c.WaitDelay = 10 * time.Second // for what it has started, and ends later
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
	case err != nil:
		b.t.Fatalf("%q: %v", args, err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// run runs a program that must succeed, and gives its standard output.
func (b *box) run(args ...string) string {
	b.t.Helper()
	if args[0] == "journalctl" {
		b.exit(0, "journalctl", "--sync") // what was said may not have been read yet
	}
	return b.exit(0, args...).stdout
}

// sh runs a shell script that must succeed.
func (b *box) sh(script string) string {
	b.t.Helper()
	return b.run("sh", "-ec", script)
}

// exit runs a program that must end with the code.
func (b *box) exit(code int, args ...string) result {
	b.t.Helper()
	r := b.try("", args...)
	if r.code != code {
		b.t.Fatalf("%q: exit %d, want %d\nstdout:\n%s\nstderr:\n%s", args, r.code, code, r.stdout, r.stderr)
	}
	return r
}

// write puts a file into the box.
func (b *box) write(path, content string) {
	b.t.Helper()
	full := filepath.Join(b.root(), path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}
