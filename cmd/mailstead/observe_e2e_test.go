package main_test

import (
	"regexp"
	"strings"
	"testing"
)

const observed = `hosts: "mail.example.org": {
	listeners: imap: {address: "127.0.0.1", port: 2143, tls: "none"}
	users: {
		alice: {}
		"carol@example.org": password: hash: "HASH"
	}
	keep: "3d"
	metrics: {}
}
`

// observedClient leaves a session of carol's in IDLE behind, which has removed a message
// before, and one of alice's.
const observedClient = `
import imaplib, time
def connect(user):
    c = imaplib.IMAP4("127.0.0.1", 2143)
    c.login(user, "wonder")
    c.select()
    return c
v = connect("carol@example.org")
v.xatom("ID", '("name" "Parrot" "version" "9")')
v.append("INBOX", None, None, b"Message-ID: <dead@parrot.example>\r\n\r\nhi\r\n")
v.store("1", "+FLAGS", "\\Deleted")
v.expunge()
a = connect("alice")
v.send(b"i IDLE\r\n")
v.readline()
try: imaplib.IMAP4("127.0.0.1", 2143).login("carol@example.org", "wrong")
except imaplib.IMAP4.error: pass
time.sleep(300)
`

// TestObserved: on a booted host, with every role in its sandbox, who asks what sessions
// do, who removed a message, what is said, and for the metrics, is told.
func TestObserved(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "courierhost", "observed")
	b.sh(`useradd -m alice; echo alice:wonder | chpasswd`)
	hash := strings.TrimSpace(b.run("sh", "-c", "echo wonder | mailstead hash-password"))
	b.write("/etc/mailstead/host.cue", strings.Replace(observed, "HASH", hash, 1))
	b.exit(0, "mailstead", "apply", "--yes")
	b.writesNothing()
	b.sh(`timeout 100 mailstead trace --user alice > /root/trace 2>&1 & sleep 1`)
	b.write("/root/client.py", observedClient)
	b.sh(`systemd-run --quiet --unit=client python3 /root/client.py; for i in $(seq 300); do mailstead explain-session --user carol@example.org 2>/dev/null | grep -q IDLE && break; sleep 0.1; done
for i in $(seq 300); do grep -q 'SELECT INBOX' /root/trace && break; sleep 0.1; done`) // what is told waits a moment for what was said before

	want := func(what, text string, patterns ...string) {
		t.Helper()
		for _, p := range patterns {
			if !regexp.MustCompile("(?m)" + p).MatchString(text) {
				t.Errorf("%s: no %q in\n%s", what, p, text)
			}
		}
	}
	want("sessions", b.run("mailstead", "sessions"), `^[0-9a-f]{12}  carol@example\.org  imap  +127\.0\.0\.1`, ` alice `)
	want("explain-session", b.run("mailstead", "explain-session", "--user", "carol@example.org"),
		`^  client +Parrot 9$`, `^  mailbox +INBOX$`, `^  doing +IDLE, for `, `^  waits for +the client, or news to tell it$`)
	want("who-deleted", b.run("mailstead", "who-deleted", "dead@parrot.example"), ` INBOX +1 +EXPUNGE +carol@example\.org +[0-9a-f]{12} +127\.0\.0\.1 +Parrot 9$`)
	want("trace", b.run("cat", "/root/trace"), ` C: [A-Z0-9]+ LOGIN \(masked\)$`, ` S: [A-Z0-9]+ OK \[CAPABILITY `, ` C: [A-Z0-9]+ SELECT INBOX$`)
	if text := b.run("cat", "/root/trace"); strings.Contains(text, "wonder") || strings.Contains(text, "i IDLE") {
		t.Errorf("trace:\n%s", text)
	}
	want("mode of the record", b.sh(`stat -c '%a %U' /var/lib/mailstead/auth/removals /var/lib/mailstead/auth/removals/*`), `^700 mailstead$`, `^600 mailstead$`)
	metrics := b.exit(0, "python3", "-c", `
import time, urllib.request
for i in range(300):
    text = urllib.request.urlopen("http://127.0.0.1:9143/metrics").read().decode()
    if "EXPUNGE" in text and 'imap",mechanism' in text and "refusals" in text: break
    time.sleep(0.1)
print(text)`).stdout
	want("metrics", metrics, `^mailstead_up 1$`, `^mailstead_sessions\{listener="imap"\} 2$`, `^mailstead_logins_total\{listener="imap",mechanism="command",result="ok"\} 2$`,
		`^mailstead_refusals_total\{listener="imap",reason="credentials"\} 1$`,
		`^mailstead_messages_removed_total\{how="expunged"\} 1$`, `^mailstead_command_seconds_count\{command="EXPUNGE"\} 1$`, `^mailstead_workers 2$`)

	id := strings.Fields(b.sh(`mailstead sessions | grep carol`))[0]
	b.exit(0, "mailstead", "sessions", "end", id)
	want("the log", b.sh(`journalctl --no-pager -u 'mailstead-*' | grep session=`+id), `msg=login `, `msg=disconnect `, `msg="session ended as asked for"`)
	b.exit(1, "mailstead", "sessions", "end", id)

	// Without metrics, nothing of them is left.
	b.write("/etc/mailstead/host.cue", strings.Replace(strings.Replace(observed, "HASH", hash, 1), "metrics: {}", "", 1))
	b.exit(0, "mailstead", "apply", "--yes")
	b.writesNothing()
	if left := b.sh("ls /etc/systemd/system | grep metrics || true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
