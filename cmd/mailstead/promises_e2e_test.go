package main_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// promises is what testdata/prober tries in the sandbox of each unit, and the
// units, by the middle of their names, that may do it: they need it, as the table
// in render/sandbox.go says. No other unit may.
var promises = []struct{ probe, may string }{
	{"write /etc", "apply cert-check web-admin"},
	{"write /usr", ""},
	{"write /var", "apply cert-check pam web-admin"},
	{"write /run", "apply cert-check pam web-admin"},
	{"write mail", "apply cert-check import lmtp spawn web-admin"},
	{"read mail", "apply cert-check import lmtp pam spawn web-admin"},
	{"read what is bob's alone", "apply cert-check import purge web-admin"},
	{"read what is root's alone", "apply cert-check pam web-admin"},
	{"give away", "apply cert-check web-admin"},
	{"make set-uid", "apply cert-check web-admin"},
	{"see the host's /tmp", ""},
	{"see processes of others", "apply cert-check import lmtp pam purge spawn web-admin"}, // root's group, which /proc hides nothing from
	{"see the kernel's state", "apply cert-check web-admin"},
	{"set the kernel", ""},
	{"make a group of processes", ""},
	{"open a device", ""},
	{"make a device", ""},
	{"signal others", "apply lmtp spawn web-admin"},
	{"trace", ""},
	{"read others' memory", ""},
	{"see others' IPC", ""},
	{"become another user", "apply import lmtp spawn web-admin"},
	{"become another group", "apply import lmtp spawn web-admin"},
	{"gain privileges", ""},
	{"run a program", "apply cert-check pam web-admin"},
	{"run what it has written", ""},
	{"ask by IPv4", "imapd import-connect"}, // auth, for the proxy
	{"ask by IPv6", "import-connect"},
	{"ask elsewhere", "import-connect"},
	{"make a local socket", "apply cert-check imapd import login metrics pam proxy purge spawn web web-admin"},
	{"ask the host's services", "apply cert-check pam web-admin"},
	{"ask a user's services", "apply cert-check pam web-admin"},
	{"speak with the kernel", ""},
	{"hear the network", ""},
	{"have users of its own", ""},
	{"have mounts of its own", ""},
	{"have a network of its own", ""},
	{"mount", ""},
	{"change its root", ""},
	{"name the host", ""},
	{"come first", ""},
	{"be in real time", ""},
	{"have another personality", ""},
	{promise32, ""},
}

const promise32 = "call as programs of 32 bits do"

// allUnits has a host have the units that it would not have otherwise: the LMTP
// service, one that is a proxy, the page and the metrics.
const allUnits = `hosts: "mail.example.org": {
	listeners: {
		plain: {address: "127.0.0.1", port: 1145, tls: "none"}
		near: {address: "127.0.0.1", port: 1146, tls: "none", proxy: {server: "127.0.0.1", port: 1145, tls: "none"}}
	}
	deliver: lmtp: {}
	logins: {}
	metrics: {}
	web: {}
}
`

// unpromised are the units without a sandbox, and why.
var unpromised = map[string]string{
	"outbox": "sendmail needs its privileges, and nobody but who has connected is served",
}

// holdsPromises has each unit of the host, which are those, try all of them, in its own
// sandbox, and a unit without one as a control: whatever that cannot do proves nothing. A
// kernel without calls of 32 bits (CONFIG_IA32_EMULATION) gives them to nobody.
func (b *box) holdsPromises(names string) {
	b.t.Helper()
	units := b.sandboxes()
	if have := slices.Sorted(maps.Keys(units)); !slices.Equal(have, strings.Fields(names)) {
		b.t.Errorf("the host has the units %s", have)
	}
	units["control"] = "[Service]\nPrivateMounts=yes\n"
	args := b.prepareProbes()
	none := exec.Command(b.prober(), "foreign").Run() // outside of any container
	if none != nil {
		b.t.Logf("this kernel gives nobody calls of 32 bits: %v", none)
	}
	start := []string{"systemctl", "start"}
	for unit, text := range units {
		b.write("/etc/systemd/system/probe-"+unit+".service", probing(text, args, "/run/probe/"+unit))
		start = append(start, "probe-"+unit+".service")
	}
	b.run("systemctl", "daemon-reload")
	b.run(start...)
	for unit := range units {
		said := map[string]string{}
		for line := range strings.Lines(b.run("cat", "/run/probe/"+unit)) {
			probe, how, _ := strings.Cut(strings.TrimSpace(line), "\t")
			said[probe] = how
		}
		if len(said) != len(promises) {
			b.t.Errorf("%s: %d probes, and %d promises", unit, len(said), len(promises))
		}
		for _, p := range promises {
			may := unit == "control" && (none == nil || p.probe != promise32) || slices.Contains(strings.Fields(p.may), unit)
			if how := said[p.probe]; may != (how == "done") {
				b.t.Errorf("%s: %s: %q", unit, p.probe, how)
			}
		}
	}
}

// sandboxes are the services of ours on the host, by the middle of their names; a login
// that is a proxy is called so.
func (b *box) sandboxes() map[string]string {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.root(), "etc/systemd/system/mailstead-*.service"))
	if err != nil || len(files) == 0 {
		b.t.Fatalf("no units: %v", err)
	}
	units := map[string]string{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			b.t.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "mailstead-"), ".service"), "@")
		if strings.Contains(string(text), " --proxy\n") {
			name = "proxy"
		}
		if unpromised[name] == "" {
			units[name] = string(text)
		}
	}
	return units
}

// prober is the program that tries promises.
func (b *box) prober() string { return filepath.Join(b.root(), "usr/local/bin/prober") }

// prepareProbes makes what the probes are tried with, which stands in no way but
// for the sandbox, and gives their arguments.
func (b *box) prepareProbes() string {
	b.t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-o", b.prober(), "./testdata/prober")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(b.sh(`id -u bob >/dev/null 2>&1 || useradd -m bob
mkdir -m 0777 /etc/probe /usr/probe /var/lib/probe /run/probe /home/bob/probe
mkdir -p -m 0755 /run/user/4711; echo x > /root/probe
chmod 755 /home/bob; echo x > /home/bob/probe/mail; touch /tmp/probe-of-the-host; mknod -m 0666 /dev/probe c 1 7
(umask 077; echo x > /var/lib/probe/secret; chown bob /var/lib/probe/secret)
ip address add 192.0.2.7/32 dev lo
systemd-run -q --unit=probed-server python3 -m http.server --bind :: 4711
systemd-run -q --unit=probed-service python3 -c 'import os, socket
s = socket.socket(socket.AF_UNIX); s.bind("/run/user/4711/probe"); os.chmod("/run/user/4711/probe", 0o666); s.listen(99)
while True: s.accept()[0].close()'
systemd-run -q --unit=probed-bob -p User=bob sleep infinity
for i in $(seq 100); do python3 -c 'import socket; socket.create_connection(("::1", 4711))' 2>/dev/null && break; sleep 0.1; done
for i in $(seq 100); do test -S /run/user/4711/probe && break; sleep 0.1; done
echo bob=$(systemctl show -P MainPID probed-bob.service) shm=$(ipcmk -M 64 -p 0666 | grep -o '[0-9]*$')`))
}

// replaced are the lines of a unit that say what runs in its sandbox, and when.
var replaced = []string{"ExecStart=", "ExecReload=", "Type=", "NotifyAccess=", "Restart", "WatchdogSec=", "Sockets=", "Standard", "Kill", "Timeout",
	"Requires", "After=", "Before=", "Wants=", "Condition", "CollectMode="}

// probing is a unit in whose sandbox the prober runs.
func probing(unit, args, out string) string {
	unit, _, _ = strings.Cut(unit, "[Install]")
	var b strings.Builder
	for line := range strings.Lines(unit) {
		if !slices.ContainsFunc(replaced, func(key string) bool { return strings.HasPrefix(line, key) }) {
			b.WriteString(line)
		}
	}
	fmt.Fprintf(&b, "Type=oneshot\nRuntimeDirectoryPreserve=yes\nExecStart=/usr/local/bin/prober %s\nExecPaths=/usr/local/bin/prober\nStandardOutput=truncate:%s\n", args, out)
	return b.String()
}

// confineThemselves: whoever talks to strangers has taken from itself what its unit has
// left it: it has more filters of system calls than auth, which has those of its unit.
func (b *box) confineThemselves() {
	b.t.Helper()
	filters := func(pid string) string {
		return strings.TrimSpace(b.sh(`awk '$1 == "Seccomp_filters:" {print $2}' /proc/` + strings.TrimSpace(pid) + `/status`))
	}
	most := filters(b.run("systemctl", "show", "-P", "MainPID", "mailstead-imapd.service"))
	for _, unit := range []string{"login@imap", "login@near", "metrics", "web"} {
		if n := filters(b.run("systemctl", "show", "-P", "MainPID", "mailstead-"+unit+".service")); n <= most || len(n) != len(most) {
			b.t.Errorf("%s has %q filters, auth %q", unit, n, most)
		}
	}
	front := b.run("pgrep", "-f", "--", "--lmtp-front")
	if n, of := filters(front), filters(b.run("systemctl", "show", "-P", "MainPID", "mailstead-lmtp.service")); n <= of || len(n) != len(of) {
		b.t.Errorf("the front of LMTP has %s filters, its parent %s", n, of)
	}
}
