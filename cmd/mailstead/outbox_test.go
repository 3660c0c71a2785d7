package main_test

import (
	"strings"
	"testing"
)

const sending = `hosts: "mail.example.org": {
	listeners: imap: {address: "127.0.0.1", port: 2143, tls: "none"}
	users: {
		alice: {}
		"carol@example.org": password: hash: "HASH"
	}
	outbox: {}
}
`

// outboxClient is what both of the clients below need.
const outboxClient = `
import imaplib, subprocess, glob, time, email
def connect(user, password):
    c = imaplib.IMAP4("127.0.0.1", 2143)
    c.login(user, password)
    return c
def arrived(n):
    start = time.time()
    while len(glob.glob("/home/bob/Maildir/new/*")) < n:
        assert time.time() - start < 20, subprocess.run(["sh", "-c", "cat /var/log/exim4/mainlog; journalctl -u 'mailstead-outbox@*' --no-pager"], capture_output=True).stdout.decode()
        time.sleep(0.05)
    return [email.message_from_string(open(f).read()) for f in sorted(glob.glob("/home/bob/Maildir/new/*"), key=lambda f: __import__("os").stat(f).st_mtime_ns)]
`

// TestOutbox: what is put into the outbox comes to those whom it names, through a
// real Exim, which is root's by its setuid bit, while the daemon may have none.
func TestOutbox(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "courierhost", "outbox")
	b.sh(`useradd -m alice; echo alice:wonder | chpasswd; useradd -m bob
sed -i "s/^dc_localdelivery=.*/dc_localdelivery='maildir_home'/; s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='local'/" /etc/exim4/update-exim4.conf.conf
update-exim4.conf; systemctl restart exim4`)
	hash := strings.TrimSpace(b.run("sh", "-c", "echo wonder | mailstead hash-password"))
	b.write("/etc/mailstead/host.cue", strings.Replace(sending, "HASH", hash, 1))
	b.exit(0, "mailstead", "apply", "--yes")
	b.writesNothing()
	b.exit(0, "python3", "-c", outboxClient+`
c = connect("alice", "wonder")
typ, data = c.append("Outbox", None, None, b"To: bob\r\nBcc: bob\r\nSubject: one\r\n\r\n.\r\nhi\r\n")
assert typ == "OK", data
m = arrived(1)[0]
assert m["Subject"] == "one" and m["X-IMAP-Sender"] == "alice" and m["Bcc"] is None, m
assert m["Return-path"].startswith("<alice@"), m
assert "hi" in m.get_payload() and ".\n" in m.get_payload(), m
assert c.select("Outbox")[1] == [b"1"]
typ, data = c.append("Outbox", None, None, b"Subject: nobody\r\n\r\nhi\r\n")
assert typ == "NO" and b"not sent" in data[0], data
assert c.select("Outbox")[1] == [b"1"]

v = connect("carol@example.org", "wonder")
v.append("INBOX", None, None, b"To: bob\r\nSubject: two\r\n\r\nhi\r\n")
v.select()
typ, data = v.copy("1", "Outbox")
assert typ == "OK", data
m = arrived(2)[1]
assert m["Subject"] == "two" and m["X-IMAP-Sender"] == "carol@example.org", m
`)
	// Where all users are virtual, one process of vmail's does everything, in a
	// user namespace and without a network.
	b.write("/etc/mailstead/host.cue", strings.Replace(strings.Replace(sending, "HASH", hash, 1), "alice: {}", "", 1))
	b.exit(0, "mailstead", "apply", "--yes")
	b.exit(0, "python3", "-c", outboxClient+`
v = connect("carol@example.org", "wonder")
v.select()
typ, data = v.copy("1", "Outbox")
assert typ == "OK", data
arrived(3)
`)
	b.write("/etc/mailstead/host.cue", strings.Replace(strings.Replace(sending, "HASH", hash, 1), "outbox: {}", "", 1))
	b.exit(0, "mailstead", "apply", "--yes")
	b.writesNothing()
	if left := b.sh("ls /etc/systemd/system /run | grep outbox || true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
