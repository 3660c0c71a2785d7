package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// twoHosts is the description of TestFleet.
const twoHosts = `hosts: [Name=_]: {
	listeners: imaps: {}
	tls: certificates: (Name): selfSigned: {}
	users: anna: password: hash: "$argon2id$v=19$m=19456,t=2,p=1$N3hKIGORB451CWPPKZwRMw$IfTEqLf8Ud/MG9JJRJLVq+NBs7shwRCMYLhpGxRSL7M"
}
hosts: "mx1.example.org": {}
hosts: "mx2.example.org": {}
`

// sshConfig is how the operator reaches the hosts: the second by way of the first.
const sshConfig = `Host mx1.example.org
	HostName 10.99.1.2
Host mx2.example.org
	HostName 10.99.2.2
	ProxyJump mx1.example.org
Host mx3.example.org
	HostName 127.0.0.1
`

// operator is somebody's workstation: a network namespace without systemd.
type operator struct {
	*box
	holder *exec.Cmd
}

func newOperator(t *testing.T) *operator {
	o := &operator{box: newStill(t, "root", "operator")}
	o.holder = exec.Command("unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec",
		`mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; exec sleep 600`, "sh", o.root())
	if err := o.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.holder.Process.Kill(); o.holder.Wait() })
	for range 100 {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root%s/proc/self", o.holder.Process.Pid, o.root())); err == nil {
			return o
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the operator's namespaces do not come up")
	return nil
}

func (o *operator) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(o.holder.Process.Pid), "-m", "-n", "chroot", o.root(),
		"env", "-i", "-C", "/root", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}, args...)...)
}

// exits runs a program of the operator's that must end with the code.
func (o *operator) exits(code int, args ...string) (stdout, stderr string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c := o.command(ctx, args...)
	var out, errs strings.Builder
	c.Stdout, c.Stderr = &out, &errs
	c.Run()
	if got := c.ProcessState.ExitCode(); got != code {
		o.t.Fatalf("%q: exit %d, want %d\nstdout:\n%s\nstderr:\n%s", args, got, code, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// link joins two network namespaces, of two processes, by a cable.
func (o *operator) link(left int, leftAddr string, right int, rightAddr string) {
	o.t.Helper()
	name := fmt.Sprintf("v%d", right%100000)
	o.exits(0, "ip", "link", "add", name, "type", "veth", "peer", "name", "up0", "netns", strconv.Itoa(right))
	if left != o.holder.Process.Pid {
		o.exits(0, "ip", "link", "set", name, "netns", strconv.Itoa(left))
	}
	for _, end := range []struct {
		pid        int
		name, addr string
	}{{left, name, leftAddr}, {right, "up0", rightAddr}} {
		script := fmt.Sprintf("ip link set lo up; ip addr add %s/24 dev %s; ip link set %s up", end.addr, end.name, end.name)
		if out, err := exec.Command("nsenter", "-t", strconv.Itoa(end.pid), "-n", "chroot", o.root(), "sh", "-ec", script).CombinedOutput(); err != nil {
			o.t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
}

// serveSSH starts a real sshd that lets the operator in as root.
func (b *box) serveSSH(o *operator) {
	b.t.Helper()
	key, err := os.ReadFile(filepath.Join(o.root(), "root/.ssh/id_ed25519.pub"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("/root/.ssh/authorized_keys", string(key))
	b.sh(`chmod 700 /root/.ssh; mkdir -p /run/sshd; ssh-keygen -A >/dev/null; systemd-run -q --unit=test-sshd -p KillMode=process /usr/sbin/sshd -D -e
for i in $(seq 100); do ss -ltn | grep -q ':22 ' && exit; sleep 0.05; done; exit 1`)
}

// knows puts the hosts' keys into the operator's known_hosts.
func (o *operator) knows(b *box, names ...string) {
	o.t.Helper()
	f := strings.Fields(b.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub"))
	path := filepath.Join(o.root(), "root/.ssh/known_hosts")
	known, _ := os.ReadFile(path)
	o.write("/root/.ssh/known_hosts", string(known)+strings.Join(names, ",")+" "+f[0]+" "+f[1]+"\n")
}

// TestFleet plans and applies two hosts from a third network namespace, over
// real sshd, the second through the first.
func TestFleet(t *testing.T) {
	t.Parallel()
	e2e(t, "root")
	o := newOperator(t)
	mx1, mx2 := newBox(t, "mx1-"), newBox(t, "mx2-")
	o.link(o.holder.Process.Pid, "10.99.1.1", mx1.leader, "10.99.1.2")
	o.link(mx1.leader, "10.99.2.1", mx2.leader, "10.99.2.2")
	o.exits(0, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
	o.write("/root/.ssh/config", sshConfig)
	o.write("/etc/mailstead/fleet.cue", twoHosts)
	mx1.serveSSH(o)
	mx2.serveSSH(o)

	_, stderr := o.exits(1, "mailstead", "plan", "--host", "mx1.example.org", "--via", "ssh")
	contains(t, stderr, "connect to mx1.example.org: ", "Host key verification failed")
	o.knows(mx1, "10.99.1.2", "mx1.example.org")
	o.knows(mx2, "10.99.2.2", "mx2.example.org")
	mx1.run("mv", "/usr/local/bin/mailstead", "/root/kept")
	_, stderr = o.exits(1, "mailstead", "plan", "--host", "mx1.example.org", "--via", "ssh")
	contains(t, stderr, "there is no /usr/local/bin/mailstead on mx1.example.org", "hint: install mailstead")
	mx1.run("mv", "/root/kept", "/usr/local/bin/mailstead")

	before := mx2.tree()
	out, _ := o.exits(2, "mailstead", "plan", "--all", "--via", "ssh", "--detailed-exitcode")
	contains(t, out, "on 2 hosts: mx1.example.org, mx2.example.org\n", "+ certificate/<host>", "2 hosts, 2 with changes")
	if after := mx2.tree(); before != after {
		t.Errorf("plan wrote:\n%s", lineDiff(before, after))
	}

	out, _ = o.exits(0, "mailstead", "apply", "--all", "--via", "ssh:root@", "--yes")
	contains(t, out, "mx1.example.org (canary): Applied: ", "mx2.example.org: Applied: ", "Applied: 2 hosts changed, 0 had nothing to change.")
	contains(t, mx2.sh("printf 'a LOGOUT\r\n' | openssl s_client -quiet -connect 127.0.0.1:993 2>/dev/null"), "* OK")
	out, _ = o.exits(0, "mailstead", "plan", "--all", "--via", "ssh", "--detailed-exitcode")
	contains(t, out, "Without changes: mx1.example.org, mx2.example.org.")
	mx1.write("/root/fleet.cue", twoHosts)
	before = mx1.tree()
	o.exits(0, "mailstead", "apply", "--all", "--via", "ssh")
	if after := mx1.tree(); before != after {
		t.Errorf("a second apply wrote:\n%s", lineDiff(before, after))
	}

	o.write("/etc/mailstead/fleet.cue", twoHosts+`hosts: [_]: folders: Page: {}`+"\n")
	for _, steps := range blocksOf(t, "fleet.md") {
		runPage(t, o.command, "", steps)
	}
	for _, b := range []*box{mx1, mx2} {
		b.run("test", "-d", "/var/vmail/anna/Maildir/.Page")
	}
	o.write("/etc/mailstead/fleet.cue", twoHosts)
	o.exits(0, "mailstead", "apply", "--all", "--via", "ssh", "--yes")

	before = mx1.tree()
	o.byFacts(mx1, before)
	o.brokenConnection(mx2)
	o.unwellCanary(mx1, mx2)

	o.write("/etc/mailstead/fleet.cue", twoHosts+`hosts: "mx3.example.org": {}`+"\n")
	out, _ = o.exits(1, "mailstead", "plan", "--all", "--via", "ssh")
	contains(t, out, "Not planned: mx3.example.org\n", "Connection refused", "3 hosts, ")
}

// byFacts: what was exported on a host that is in step makes a plan without
// changes, and of another description the plan that the host itself makes.
func (o *operator) byFacts(mx1 *box, before string) {
	o.t.Helper()
	facts, _ := o.exits(0, "ssh", "-o", "BatchMode=yes", "mx1.example.org", "mailstead", "facts", "export", "--host", "mx1.example.org", "/root/fleet.cue")
	if after := mx1.tree(); before != after {
		o.t.Errorf("an export wrote:\n%s", lineDiff(before, after))
	}
	for _, secret := range []string{"argon2id", "PRIVATE KEY"} {
		if strings.Contains(facts, secret) {
			o.t.Errorf("the facts hold %s", secret)
		}
	}
	o.write("/root/facts.json", facts)
	out, _ := o.exits(0, "mailstead", "plan", "--facts", "/root/facts.json", "--detailed-exitcode")
	contains(o.t, out, "No changes; ")
	o.write("/root/other.cue", strings.Replace(twoHosts, "imaps: {}", "imaps: port: 1993", 1)+`hosts: [_]: namespace: "INBOX."`+"\n")
	here, _ := o.exits(0, "mailstead", "plan", "--host", "mx1.example.org", "--via", "ssh", "/root/other.cue")
	there, _ := o.exits(0, "mailstead", "plan", "--facts", "/root/facts.json", "--host", "mx1.example.org", "/root/other.cue")
	if _, there, _ = strings.Cut(there, "\n"); !strings.HasSuffix(here, there[strings.LastIndex(there, "\nPlan: "):]) {
		o.t.Errorf("by facts:\n%s\non the host:\n%s", there, here)
	}
	for line := range strings.Lines(here) {
		if strings.HasPrefix(line, "  ") && !strings.Contains(there, line) {
			o.t.Errorf("by facts there is no %s\nin:\n%s", line, there)
		}
	}
}

// brokenConnection: an apply that has begun goes on to its end without the
// operator.
func (o *operator) brokenConnection(mx2 *box) {
	o.t.Helper()
	o.write("/etc/mailstead/fleet.cue", twoHosts+`hosts: [_]: folders: After: {}`+"\n")
	mx2.sh(`systemd-run -q --unit=holder flock /var/lib/mailstead/lock sleep 600; sleep 0.5`)
	c := o.command(context.Background(), "mailstead", "apply", "--host", "mx2.example.org", "--via", "ssh", "--yes", "--lock-timeout", "5m")
	if err := c.Start(); err != nil {
		o.t.Fatal(err)
	}
	far := `pgrep -f "mailstead [r]emote"`
	for range 200 {
		if mx2.try("", "sh", "-c", `grep -q FLOCK /proc/locks && for p in $(`+far+`); do ls -l /proc/$p/fd | grep -q /var/lib/mailstead/lock && exit 0; done; exit 1`).code == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	var children []byte // of every thread
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.Process.Pid))
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		children = append(children, list...)
	}
	if len(children) == 0 {
		o.t.Fatal("no ssh runs below mailstead")
	}
	c.Process.Kill()
	c.Wait()
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	mx2.sh(`for i in $(seq 100); do ss -tn state established | grep -q ':22 ' || break; sleep 0.1; done; systemctl stop holder
for i in $(seq 300); do ` + far + ` >/dev/null || exit 0; sleep 0.1; done; exit 1`)
	// What is recorded last, after the far end has said something to nobody.
	if mx2.try("", "grep", "-q", "After", "/var/lib/mailstead/applied.json").code != 0 {
		o.t.Error("an apply whose connection broke was not done to its end")
	}
	o.exits(0, "mailstead", "apply", "--all", "--via", "ssh", "--yes")
}

// unwellCanary: a daemon that does not start on the canary keeps the other host
// as it is.
func (o *operator) unwellCanary(mx1, mx2 *box) {
	o.t.Helper()
	o.write("/etc/mailstead/fleet.cue", twoHosts+`hosts: [_]: folders: {After: {}, Later: {}}`+"\n")
	mx1.sh(`mv /usr/local/bin/mailstead-imapd /root/kept; printf '#!/bin/sh\necho broken on purpose >&2; exit 1\n' >/usr/local/bin/mailstead-imapd; chmod 755 /usr/local/bin/mailstead-imapd`)
	out, stderr := o.exits(1, "mailstead", "apply", "--all", "--via", "ssh", "--yes")
	contains(o.t, out+stderr, "Stopped at: mx1.example.org.\nNot begun: mx2.example.org.", "mx1.example.org: ", "broken on purpose")
	if mx2.try("", "test", "-d", "/var/vmail/anna/Maildir/.Later").code == 0 {
		o.t.Error("the run went on after its canary was not well")
	}
	mx1.sh(`mv /root/kept /usr/local/bin/mailstead-imapd; systemctl reset-failed`)
	o.exits(0, "mailstead", "apply", "--all", "--via", "ssh", "--yes")
}
