package main_test

import (
	"strings"
	"testing"
)

// tended is a host with both kinds of work that timers do: alice, who has a uid of
// her own, gets the mail of bob from a server, which is this one, and her Trash is
// emptied.
const tended = `hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": files: {certificate: "/etc/ssl/mail.pem", key: "/etc/ssl/mail.key"}
	users: {
		alice: {
			folders: Trash: {use: "trash", purge: after: "30d"}
			imports: bob: {
				server: "mail.example.org", port: 143, tls: "starttls", ca: "/etc/ssl/mail.pem"
				user: "bob", passwordFile: "/etc/mailstead.bob", into: "Bob", hourly: true
			}
		}
		bob: {}
	}
}
`

// delivered gives each of them mail: two messages to bob, and one that alice has
// thrown away.
const delivered = `
import imaplib, ssl
ctx = ssl.create_default_context(cafile="/etc/ssl/mail.pem")
def client(name, password):
    c = imaplib.IMAP4("mail.example.org")
    c.starttls(ctx)
    c.login(name, password)
    return c
for n in b"12":
    assert client("bob", "builder").append("INBOX", None, None, b"Subject: %d\r\n\r\nbody\r\n" % n)[0] == "OK"
assert client("alice", "wonder").append("Trash", None, None, b"Subject: old\r\n\r\nbody\r\n")[0] == "OK"
`

// TestPeriodic runs what the timers run, by the units and in their sandboxes.
func TestPeriodic(t *testing.T) {
	t.Parallel()
	b := newBox(t, "periodic")
	b.sh(`useradd -m alice; useradd -m bob; printf 'alice:wonder\nbob:builder\n' | chpasswd
(umask 077; echo builder > /etc/mailstead.bob)
echo 127.0.0.1 mail.example.org >> /etc/hosts
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/ssl/mail.key -out /etc/ssl/mail.pem -days 30 -subj /CN=mail.example.org -addext subjectAltName=DNS:mail.example.org 2>/dev/null`)
	b.write("/etc/mailstead/host.cue", tended)
	b.write("/etc/mailstead/units.cue", allUnits)
	b.exit(0, "mailstead", "apply", "--yes")
	b.run("python3", "-c", delivered)

	run := func(unit string) string {
		t.Helper()
		if r := b.try("", "systemctl", "start", unit); r.code != 0 {
			t.Errorf("%s: %s\n%s", unit, r.stderr, b.run("journalctl", "--no-pager", "-o", "cat", "-u", unit))
		}
		return b.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)
	}
	contains(t, run("mailstead-import.service"), "INBOX -> Bob: 2 messages there", "2 brought")
	contains(t, run("mailstead-import.service"), "0 brought")
	if got := b.sh(`stat -c %U /home/alice/Maildir/.Bob/*/* | sort | uniq -c; stat -c '%U %a' /home/alice/Maildir/mailstead/import/bob`); strings.Join(strings.Fields(got), " ") != "2 alice alice 700" {
		t.Errorf("what was brought in belongs to:\n%s", got)
	}

	contains(t, run("mailstead-purge.service"), "0 messages removed.")
	b.sh("systemctl stop mailstead-spawn.service")
	b.run("python3", "-c", `import sqlite3
with sqlite3.connect("/home/alice/Maildir/mailstead/index.db") as db:
    db.execute("UPDATE message SET saved = saved - 40*24*60*60")`)
	contains(t, run("mailstead-purge.service"), "alice: Trash: 1 message that came in 30 days ago or earlier")
	if got := b.sh("ls /home/alice/Maildir/.Trash/cur /home/alice/Maildir/.Trash/new"); strings.Contains(got, ",S=") {
		t.Errorf("the trash still has:\n%s", got)
	}
	if log := b.run("journalctl", "--no-pager", "-o", "cat", "-u", "mailstead-spawn.service", "-u", "mailstead-login@imap.service"); strings.Contains(log, "may open all files") || strings.Contains(log, "may use all system calls") {
		t.Errorf("workers and logins are not confined under systemd:\n%s", log)
	}
	// Without a network, a handshake by way of the daemon proves what is served.
	contains(t, run("mailstead-cert-check.service"), "mail.example.org: valid until ", "served on every listener")
	for _, timer := range []string{"mailstead-import.timer", "mailstead-purge.timer"} {
		b.run("systemctl", "is-active", timer)
	}
	b.writesNothing()
	b.confineThemselves()
	b.holdsPromises("apply cert-check imapd import lmtp login metrics pam proxy purge spawn web web-admin")
}
