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
		"jo+ann@virtual.example": password: hash: "HASH"
		"bob@mail.example.org": password: hash: "HASH"
	}
	deliver: {group: "GROUP"LMTP}
}
`

// taker boots a host of a part of the lab with that description; lmtp has it speak
// LMTP.
func taker(t *testing.T, part, group string) (b *box, describe func(lmtp bool)) {
	b = newBoxOf(t, part, "deliver")
	b.sh("for u in alice bob; do useradd -m $u; echo $u:wonder | chpasswd; done")
	hash := strings.TrimSpace(b.run("sh", "-c", "echo wonder | mailstead hash-password"))
	return b, func(lmtp bool) {
		socket := ""
		if lmtp {
			socket = ", lmtp: {}"
		}
		b.write("/etc/mailstead/host.cue", strings.NewReplacer("HASH", hash, "GROUP", group, "LMTP", socket).Replace(taking))
		b.exit(0, "mailstead", "apply", "--yes")
		b.writesNothing()
	}
}

// takingClient is what the clients below need.
const takingClient = `
import imaplib, subprocess, time, os, smtplib, socket, sys, glob
def connect(user, password="wonder"):
    c = imaplib.IMAP4("127.0.0.1", 2143)
    c.login(user, password)
    return c
def count(user, box="INBOX"):
    return int(connect(user).status(box, "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))
def idle(c):
    c.select()
    c.send(b"i IDLE\r\n")
    assert c.readline().startswith(b"+")
def logs():
    return subprocess.run(["sh", "-c", "tail -n 40 /var/log/exim4/mainlog /var/log/exim4/paniclog /var/log/mail.log 2>&1; journalctl --no-pager -n 80"], capture_output=True).stdout.decode()
def told(c):
    c.sock.settimeout(60)
    try:
        while b"EXISTS" not in c.readline():
            pass
    except OSError:
        assert False, logs()
def text(user, n=-1, box="INBOX"):
    c = connect(user)
    c.select(box, True)
    n = c.search(None, "ALL")[1][0].split()[n]
    return c.fetch(n, "(BODY.PEEK[])")[1][0][1]
def has(user, box, want):
    for _ in range(600):
        if count(user, box) >= want:
            break
        time.sleep(0.05)
    got = count(user, box)
    assert got == want, (user, box, got, want, logs())
`

// mailServer is what a mail server of any make has to do; send is the test's own.
const mailServer = takingClient + `
a = connect("alice")
idle(a)
send("alice@mail.example.org")
told(a)
m = text("alice")
assert m.startswith(b"Return-Path: <s@example.net>\r\n") and b"\r\nDelivered-To: alice@mail.example.org\r\n" in m, m
assert b"\r\n\r\nhi\r\n.\r\n..\r\n\xff\r\n" in m and b"\nFrom " not in b"\n" + m.split(b"\r\n\r\n")[0], m
send("Alice+lists@mail.example.org")
has("alice", "Lists", BEFORE + 1)
send("carol@virtual.example")
send("carol+nowhere@virtual.example")
has("carol@virtual.example", "INBOX", 2 * BEFORE + 2)
send("jo+ann@virtual.example")
has("jo+ann@virtual.example", "INBOX", BEFORE + 1)
send("alice@mail.example.org", sender="")
has("alice", "INBOX", 2 * BEFORE + 2)
assert text("alice").startswith(b"Return-Path: <>\r\n"), text("alice")
assert set(oct(os.stat(f).st_mode & 0o777) for f in glob.glob("/home/alice/Maildir/*/*S=*")) == {"0o600"}
`

const message = "b'Subject: x\\n\\nhi\\n.\\n..\\n\\xff\\n'"

// TestDeliverByExim: a real Exim delivers by a pipe and by LMTP, as the snippets
// have it; a session that idles is told at once.
func TestDeliverByExim(t *testing.T) {
	t.Parallel()
	b, describe := taker(t, "courierhost", "Debian-exim")
	b.sh(`sed -i "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='local'/; s/^dc_other_hostnames=.*/dc_other_hostnames='mail.example.org:virtual.example'/; s/^dc_use_split_config=.*/dc_use_split_config='true'/" /etc/exim4/update-exim4.conf.conf`)
	send := `
def send(to, sender="s@example.net"):
    p = subprocess.run(["exim4", "-odf", "-i", "-f", sender or "<>", to], input=` + message + `, capture_output=True)
    assert p.returncode == 0, p
`
	for _, round := range []struct {
		lmtp   bool
		before string
	}{{false, "0"}, {true, "1"}} {
		describe(round.lmtp)
		b.sh(`mailstead snippet exim >/tmp/snippet
sed '/^# Transports:/,$d' /tmp/snippet >/etc/exim4/conf.d/router/150_mailstead
sed '1,/^# Transports:/d' /tmp/snippet >/etc/exim4/conf.d/transport/30_mailstead
update-exim4.conf; systemctl restart exim4`)
		b.exit(0, "python3", "-c", send+strings.ReplaceAll(mailServer+namesakes, "BEFORE", round.before))
	}
	b.exit(0, "python3", "-c", takingClient+pipes)
}

// namesakes: an address is that of whose whole name it is, although an account has its
// local part.
const namesakes = `
send("bob@mail.example.org")
send("Bob+x@mail.example.org")
has("bob@mail.example.org", "INBOX", 2 * BEFORE + 2)
assert count("bob") == 0, count("bob")
`

// pipes is what the program says to whoever runs it.
const pipes = `
def deliver(*args, text=b"Subject: x\n\nhi\n", user=None):
    p = subprocess.run((["runuser", "-u", user, "--"] if user else []) + ["mailstead-deliver", *args], input=text, capture_output=True)
    return p.returncode
n = count("alice", "Lists")
assert deliver("-m", "Lists", "alice") == 0 and deliver("-m", "Lists", "alice", user="alice") == 0
assert deliver("-d", "/home/alice/Maildir", "-m", "Lists") == 0 and deliver("-d", "/home/alice/Maildir", user="bob") == 75
assert count("alice", "Lists") == n + 3
import pwd
assert set((os.stat(f).st_uid, os.stat(f).st_gid) for f in glob.glob("/home/alice/Maildir/**/*S=*", recursive=True)) == {pwd.getpwnam("alice")[2:4]}
assert deliver("nobody-at-all") == 67
assert deliver("bob", user="alice") == 75
assert deliver("Bob+x@mail.example.org", user="bob") == 75 and deliver("bob@mail.example.org", user="vmail") == 0
assert deliver("carol@virtual.example", user="alice") == 75
assert deliver("carol@virtual.example", user="vmail") == 0
assert deliver("bob", text=b"x" * 1500, user="bob") == 0
assert deliver("bob", text=b"x" * 1500, user="bob") == 75
assert deliver("bob", text=b"x" * 2500, user="bob") == 69
assert count("bob") == 1
l = smtplib.LMTP("/run/mailstead-lmtp")
l.ehlo()
l.mail("s@example.net")
assert [l.rcpt(to)[0] for to in ("alice@mail.example.org", "nobody@mail.example.org", "bob")] == [250, 550, 250]
assert l.docmd("DATA")[0] == 354
l.send(b"x" * 1500 + b"\r\n.\r\n")
assert [l.getreply()[0], l.getreply()[0]] == [250, 452]
assert subprocess.run(["runuser", "-u", "alice", "--", "python3", "-c", "import smtplib; smtplib.LMTP('/run/mailstead-lmtp')"], capture_output=True).returncode != 0
who = subprocess.run("ps -o user=,args= -C mailstead-deliv,exe | sort", shell=True, capture_output=True).stdout.decode()
assert "mailstead-login" in who.replace("mailste+", "mailstead-login"), who
`

// postmaster: what is for the host itself comes to whom the aliases name.
const postmaster = `
n = count("alice")
send("postmaster@mail.example.org")
has("alice", "INBOX", n + 1)
`

// TestDeliverByPostfix: the same with a real Postfix.
func TestDeliverByPostfix(t *testing.T) {
	t.Parallel()
	b, describe := taker(t, "clients", "postfix")
	send := `
def send(to, sender="s@example.net"):
    p = subprocess.run(["/usr/sbin/sendmail", "-i", "-f", sender or "<>", to], input=` + message + `, capture_output=True)
    assert p.returncode == 0, p
`
	b.sh(`postconf -e mydestination=mail.example.org,localhost myhostname=mail.example.org inet_interfaces=loopback-only inet_protocols=ipv4 maillog_file=/var/log/mail.log
echo 'root: alice@mail.example.org' >>/etc/aliases; newaliases
cp /etc/postfix/main.cf /etc/postfix/main.cf.before; cp /etc/postfix/master.cf /etc/postfix/master.cf.before`)
	for _, round := range []struct {
		lmtp   bool
		before string
	}{{false, "0"}, {true, "1"}} {
		describe(round.lmtp)
		b.sh(`cd /etc/postfix; cp main.cf.before main.cf; cp master.cf.before master.cf; mailstead snippet postfix >/tmp/snippet
sed '/^# master.cf/,$d' /tmp/snippet >>main.cf
sed '1,/^# master.cf/d' /tmp/snippet >>master.cf
postfix check; postfix stop || true; postfix start`)
		b.exit(0, "python3", "-c", send+strings.ReplaceAll(mailServer, "BEFORE", round.before))
	}
	b.exit(0, "python3", "-c", send+takingClient+postmaster)
}
