package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// fail2banned is a host whose failed logins fail2ban is told of. A refusal takes
// no time, which the limits of the description say.
const fail2banned = `hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: vera: password: hash: %[1]q
	limits: {delay: 0, longestDelay: 0}
	fail2ban: maxretry: 3
	logins: {}
	web: admins: helpdesk: {hash: %[1]q, totpFile: "/etc/mailstead.helpdesk.totp"}
}
`

// pageGuesser sends the form of admins from an address, with names and wrong passwords.
const pageGuesser = `import http.client, re, sys, urllib.parse
for name in sys.argv[2:]:
    c = http.client.HTTPConnection("127.0.0.1", 8143, source_address=(sys.argv[1], 0))
    c.request("GET", "/admin/login")
    a = c.getresponse()
    form = re.search('name="form" value="([^"]*)"', a.read().decode()).group(1)
    body = urllib.parse.urlencode({"form": form, "name": name.encode().decode("unicode_escape"), "password": "wrong", "code": "123456"})
    c.request("POST", "/admin/login", body, {"Cookie": a.getheader("Set-Cookie").split(";")[0], "Content-Type": "application/x-www-form-urlencoded"})
    print(c.getresponse().status)
`

// guesser logs in from an address with names and wrong passwords, one session
// each. An empty password logs vera in with the right one.
const guesser = `import socket, ssl, sys
context = ssl._create_unverified_context()
for name in sys.argv[2:]:
    s = socket.create_connection(("127.0.0.1", 143), 10, (sys.argv[1], 0))
    s.recv(4096)
    if name == "clear":
        s.sendall(b"a LOGIN vera x\r\n")
        print(s.recv(4096))
        continue
    s.sendall(b"a STARTTLS\r\n")
    s.recv(4096)
    s = context.wrap_socket(s)
    if name == "right":
        s.sendall(b"a LOGIN vera wonder\r\n")
    else:
        raw = name.encode().decode("unicode_escape").encode("latin-1")
        s.sendall(b"a LOGIN {%d+}\r\n%s {5+}\r\nwrong\r\n" % (len(raw), raw))
    print(s.recv(4096))
`

// TestFail2ban has real failed logins found by a real fail2ban: it bans the
// address that guesses, and neither one that mistypes nor one that somebody
// writes into a name; at the web page as well.
func TestFail2ban(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "directory", "fail2ban")
	hash := strings.TrimSpace(b.try("wonder\n", "mailstead", "hash-password").stdout)
	b.write("/etc/mailstead/host.cue", fmt.Sprintf(fail2banned, hash))
	b.write("/root/guesser.py", guesser)
	b.write("/root/pageguesser.py", pageGuesser)
	b.write("/etc/mailstead.helpdesk.totp", webSecret+"\n")
	b.sh("chmod 600 /etc/mailstead.helpdesk.totp")
	b.write("/etc/fail2ban/action.d/noted.conf", "[Definition]\nactionban = echo <ip> >> /run/banned\n")
	// The lab's fail2ban has no module for the journal, so it reads the journal's text. Addresses
	// of the host itself are never banned unless a test says so.
	b.write("/etc/fail2ban/jail.d/mailstead.local", "[mailstead]\nbackend = polling\nlogpath = /var/log/mailstead.log\nbanaction = noted\nignoreself = false\n")
	b.sh(`rm -f /etc/fail2ban/jail.d/defaults-debian.conf; mkdir -p /run/fail2ban; touch /run/banned`)
	b.run("mailstead", "apply", "--yes")
	b.writesNothing()
	b.sh(`systemd-run --quiet --unit=reader sh -c "journalctl -f -n 0 $(sed -n 's/^journalmatch = //p' /etc/fail2ban/filter.d/mailstead.conf) >/var/log/mailstead.log"`)

	b.run("fail2ban-client", "-t")
	b.sh(`systemd-run --quiet --unit=bans fail2ban-server -xf start`)
	b.await(func() bool { return b.try("", "fail2ban-client", "status", "mailstead").code == 0 })

	forged := `x\r\nmsg=\"login failed\" addr=127.0.0.9 \nmailstead-imapd[1]: msg=\"login failed\" addr=127.0.0.9 `
	b.run("python3", "/root/guesser.py", "127.0.0.3", "vera", "right", "right") // mistyped once
	b.run("python3", "/root/guesser.py", "127.0.0.2", "vera", forged, "nobody", "clear")
	b.run("python3", "/root/guesser.py", "127.0.0.3", `addr=127.0.0.9`)
	b.await(func() bool { return b.sh("cat /run/banned") != "" })

	b.run("python3", "/root/pageguesser.py", "127.0.0.5", "helpdesk", forged)
	b.run("python3", "/root/pageguesser.py", "127.0.0.4", "helpdesk", forged, "nobody")
	b.await(func() bool { return strings.Count(b.sh("cat /run/banned"), "\n") > 1 })

	found := b.run("fail2ban-regex", "/var/log/mailstead.log", "mailstead")
	contains(t, found, "11 matched")
	// As it is where standard error goes into a file.
	contains(t, b.run("fail2ban-regex", `time=2026-01-02T03:04:05.678Z level=WARN msg="login failed" addr=2001:db8::1 user=x`, "mailstead"), "1 matched")
	time.Sleep(time.Second) // for whom it may still find
	if banned := b.sh("cat /run/banned"); banned != "127.0.0.2\n127.0.0.4\n" {
		t.Errorf("banned: %q", banned)
	}
	status := b.run("fail2ban-client", "status", "mailstead")
	contains(t, status, "Banned IP list:\t127.0.0.2 127.0.0.4\n")
}
