package main_test

import (
	"strings"
	"testing"
)

// taking is a host whose mail comes in by mailstead-deliver.
const taking = `hosts: "mail.example.org": {
	listeners: imap: {address: "127.0.0.1", port: 2143, tls: "none"}
	users: {
		alice: folders: Lists: {}
		bob: quota: storage: "2kB"
		"carol@virtual.example": password: hash: "HASH"
	}
	deliver: lmtp: group: "GROUP"
}
`

// takingClient is what the clients below need.
const takingClient = `
import imaplib, subprocess, time, os, smtplib, socket
def connect(user, password="wonder"):
    c = imaplib.IMAP4("127.0.0.1", 2143)
    c.login(user, password)
    return c
def until(what, f, log):
    start = time.time()
    while not f():
        assert time.time() - start < 30, (what, subprocess.run(["sh", "-c", log + "; journalctl -u mailstead-lmtp --no-pager"], capture_output=True).stdout.decode())
        time.sleep(0.05)
def count(c, box="INBOX"):
    return int(c.status(box, "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))
def idle(c):
    c.send(b"i IDLE\r\n")
    assert c.readline().startswith(b"+")
def told(c):
    c.sock.settimeout(20)
    while True:
        line = c.readline()
        assert line, "the session has ended"
        if b"EXISTS" in line:
            return
`

// TestDeliverByExim: a real Exim delivers by the pipe and by LMTP, as the snippet
// has it; a session that idles is told at once.
func TestDeliverByExim(t *testing.T) {
	b := newBoxOf(t, "courierhost", "deliver")
	b.sh("for u in alice bob; do useradd -m $u; echo $u:wonder | chpasswd; done")
	hash := strings.TrimSpace(b.run("sh", "-c", "echo wonder | mailstead hash-password"))
	description := strings.NewReplacer("HASH", hash, "GROUP", "Debian-exim").Replace(taking)
	b.write("/etc/mailstead/host.cue", description)
	b.exit(0, "mailstead", "apply", "--yes")
	b.writesNothing()
	b.exit(0, "python3", "-c", takingClient+`
def deliver(*args, text=b"Subject: x\n\nhi\n", user=None):
    p = subprocess.run(["runuser", "-u", user, "--", "mailstead-deliver", *args] if user else ["mailstead-deliver", *args], input=text, capture_output=True)
    return p.returncode
a = connect("alice")
a.select()
idle(a)
assert deliver("-f", "s@example.org", "alice", user="alice") == 0
told(a)
assert deliver("-m", "Lists", "alice") == 0
assert deliver("nobody-at-all") == 67
assert deliver("bob", user="alice") == 75
assert deliver("carol@virtual.example", user="alice") == 75
assert deliver("carol@virtual.example", user="vmail") == 0
assert deliver("bob", text=b"x" * 1500, user="bob") == 0
assert deliver("bob", text=b"x" * 1500, user="bob") == 75
assert deliver("bob", text=b"x" * 2500, user="bob") == 69
assert count(connect("alice"), "Lists") == 1 and count(connect("carol@virtual.example")) == 1 and count(connect("bob")) == 1
l = smtplib.LMTP("/run/mailstead-lmtp")
for to in ("alice@mail.example.org", "alice+Lists@mail.example.org", "carol@virtual.example"):
    l.sendmail("s@example.org", [to], b"Subject: by lmtp\r\n\r\n.\r\nhi\r\n")
l.quit()
assert (count(connect("alice")), count(connect("alice"), "Lists"), count(connect("carol@virtual.example"))) == (2, 2, 2)
`)
	b.exit(0, "sh", "-c", "test $(stat -c %u:%a /home/alice/Maildir/new/* /home/alice/Maildir/cur/* 2>/dev/null | sort -u) = $(id -u alice):600")
}
