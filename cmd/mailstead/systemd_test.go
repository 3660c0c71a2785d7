package main_test

import (
	"cmp"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// selfMade is a host without an ACME server: Debian 13 in the lab has none.
const selfMade = `hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: alice: {}
	folders: Sent: use: "sent"
}
`

// loginSelf is prelude and login for a certificate that nobody vouches for.
const loginSelf = `
ctx = ssl._create_unverified_context()
def serial():
    return ""
c = imaplib.IMAP4("127.0.0.1", 143, timeout=20)
c.starttls(ctx)
c.login("alice", "wonder")
assert c.select("Sent")[0] == "OK"
`

// TestOtherSystemd is the life of a host with the systemd of Debian 13: the
// units that suit 252 have to suit 257, and what it says of them has to be
// understood.
func TestOtherSystemd(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "trixie", "trixie")
	python := func() {
		t.Helper()
		b.run("python3", "-c", "import imaplib, ssl\n"+loginSelf)
	}
	contains(t, b.run("systemctl", "--version"), "systemd 257")
	b.sh(`useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd`)
	b.write("/etc/mailstead/host.cue", selfMade)
	b.write("/etc/mailstead/units.cue", allUnits)
	b.sh(makeCertificate + "(umask 077; echo builder > /etc/mailstead.carol)")
	b.write("/etc/mailstead/timers.cue", `hosts: "mail.example.org": users: alice: {
	folders: Trash: {use: "trash", purge: after: "30d"}
	imports: carol: `+fromDovecot+`
}
`)
	b.exit(2, "mailstead", "plan", "--detailed-exitcode")
	b.exit(0, "mailstead", "apply", "--yes")
	python()
	b.writesNothing()
	contains(t, b.run("mailstead", "status"), "In step.")

	// Its own manager has nothing against the units.
	if out := b.sh(`systemd-analyze verify --man=no /etc/systemd/system/mailstead-* 2>&1; journalctl -b -p warning -o cat -u 'mailstead*' _PID=1`); out != "" {
		t.Errorf("systemd 257 says:\n%s", out)
	}
	for unit, text := range b.sandboxes() {
		most := cmp.Or(map[string]int{"login": 6, "metrics": 6, "web": 6, "proxy": 6, "apply": 21, "cert-check": 16, "web-admin": 20}[unit], 17)
		b.write("/root/mailstead-"+unit+".service", text)
		if r := b.try("", "systemd-analyze", "security", "--offline=true", "--no-pager", fmt.Sprint("--threshold=", most), "/root/mailstead-"+unit+".service"); r.code != 0 {
			t.Errorf("%s: exposure above %d tenths:\n%s%s", unit, most, r.stdout, r.stderr)
		}
	}
	b.reboot()
	python()
	contains(t, b.run("systemctl", "show", "-P", "Result", "mailstead-apply.service"), "success")
	b.writesNothing()

	// A listener comes while the service runs, and moves, and goes.
	for _, listeners := range []string{"{imap: {}, imaps: {}}", "{imap: {}, imaps: port: 1993}", "imap: {}"} {
		b.write("/etc/mailstead/host.cue", strings.Replace(selfMade, "imap: {}", listeners, 1))
		b.exit(0, "mailstead", "apply", "--yes")
		python()
		b.writesNothing()
	}
	b.sh(`echo 'ExecStart=/bin/false' >> /etc/systemd/system/mailstead-imapd.service; systemctl stop mailstead-imap.socket`)
	b.exit(0, "mailstead", "apply", "--yes")
	python()
	b.writesNothing()
	b.dovecot(3)
	b.run("systemctl", "start", "mailstead-import.service", "mailstead-purge.service")
	contains(t, b.run("journalctl", "--no-pager", "-o", "cat", "-u", "mailstead-import.service"), "INBOX -> Carol: 3 messages there", "3 messages brought")
	b.holdsPromises("apply cert-check imapd import import-connect lmtp login metrics pam proxy purge spawn web web-admin")
}

// TestNoSystemd applies where another program is process 1: what needs no
// systemd is done, and what waits says for what.
func TestNoSystemd(t *testing.T) {
	t.Parallel()
	b := newStill(t, "root", "still")
	b.write("/etc/mailstead/host.cue", selfMade)
	run := func(args ...string) (int, string) {
		t.Helper()
		c := exec.Command("unshare", append([]string{"--mount", "--pid", "--fork", "--root=" + b.root(), "--mount-proc",
			"env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, args...)...)
		out, _ := c.CombinedOutput()
		return c.ProcessState.ExitCode(), string(out)
	}
	if code, out := run("useradd", "-m", "alice"); code != 0 {
		t.Fatal(out)
	}
	for range 2 {
		code, out := run("mailstead", "apply", "--yes")
		if code != 6 {
			t.Errorf("exit %d, want 6:\n%s", code, out)
		}
		contains(t, out, "? unit/mailstead-imapd.service", "everything else is applied, but ",
			"systemd does not run on this host, and nothing else starts the daemon: boot with systemd")
	}
	if code, out := run("stat", "-c", "%U %a", "/home/alice/Maildir/.Sent/cur"); code != 0 || out != "alice 700\n" {
		t.Errorf("her mail: %s", out)
	}
}
