package main_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const accounts = `hosts: "mail.example.org": {
	listeners: imap: {address: "127.0.0.1", port: 2143, tls: "none"}
	users: {
		alice: {}
		gone: {}
		locked: {}
		old: {}
		late: {}
		barred: {}
		guessed: {}
		stuck: {}
		crash: {}
	}
	pam: session: "mailstead-session"
}
`

// accountRules are what a host may have in its rules beside Debian's own: modules
// of libpam's, with the daemon's own service or address in what they go by, one
// that hangs, and ours that crashes.
const accountRules = `
for u in alice gone locked old late barred guessed stuck crash; do useradd -m -s /usr/sbin/nologin $u; echo $u:wonder | chpasswd; done
usermod --expiredate 2001-01-01 gone
usermod --lock locked
chage --lastday 0 old
grep -q '^alice:\$y\$' /etc/shadow # yescrypt
echo 'mailstead;imap;late;!Al0000-2400' >> /etc/security/time.conf
echo '-:barred:127.0.0.1' >> /etc/security/access.conf
printf 'deny = 2\nunlock_time = 600\n' >> /etc/security/faillock.conf
cat > /usr/local/bin/stuck <<'S'
#!/bin/sh
echo "$PAM_TYPE $PAM_USER $PAM_RHOST $PAM_TTY $PAM_SERVICE" >> /run/seen
[ "$PAM_USER" = stuck ] || exit 0
trap '' HUP INT TERM ALRM
setsid sleep 6000 &
sleep 6001
S
chmod 755 /usr/local/bin/stuck
cat > /etc/pam.d/common-auth <<'P'
auth required pam_faillock.so preauth
auth required pam_exec.so quiet /usr/local/bin/stuck
auth [success=2 default=ignore] pam_unix.so
auth [default=die] pam_faillock.so authfail
auth requisite pam_deny.so
auth required pam_faillock.so authsucc
auth [success=1 default=ignore] pam_succeed_if.so quiet user != crash
auth required /usr/local/lib/crash.so segv
P
cat > /etc/pam.d/common-account <<'P'
account required pam_unix.so
account required pam_time.so
account required pam_access.so
account required pam_faillock.so
P
cat > /etc/pam.d/mailstead-session <<'P'
session required pam_exec.so quiet /usr/local/bin/stuck
session optional pam_env.so
session optional pam_limits.so
session required pam_mkhomedir.so
P
`

// accountClient logs in, and gives the code of the refusal.
const accountClient = `
import imaplib, re, subprocess, threading, time
def code(user, password="wonder"):
    c = imaplib.IMAP4("127.0.0.1", 2143)
    try:
        c.login(user, password)
        assert c.select()[0] == "OK"
        c.logout()
        return "OK"
    except imaplib.IMAP4.error as e:
        return re.search(r"\[([A-Z]+)\]", str(e)).group(1)
`

// TestPAM has accounts of a host log in through the modules that hosts have, under
// systemd, in the sandbox of the units.
func TestPAM(t *testing.T) {
	t.Parallel()
	b := newBox(t, "pam")
	module := filepath.Join(b.root(), "usr/local/lib/crash.so")
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", module, "../mailstead-pam/testdata/hostile.c", "-lpam", "-lpthread").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.sh(accountRules)
	b.write("/etc/mailstead/host.cue", accounts)
	b.exit(0, "mailstead", "apply", "--yes")
	contains(t, b.run("cat", "/etc/pam.d/mailstead"), "@include common-account\nsession include mailstead-session\n")

	script := func(text string) {
		t.Helper()
		if r := b.try("", "python3", "-c", accountClient+text); r.code != 0 {
			t.Fatal(r.stderr)
		}
	}
	script(`
assert code("alice") == "OK"
got = {}
def one(user):
    start = time.time()
    got[user] = code(user), time.time() - start
all = [threading.Thread(target=one, args=(u,)) for u in ("stuck", "crash", "gone", "locked", "old", "late", "barred")]
for t in all: t.start()
while any(t.is_alive() for t in all):  # nobody else is kept waiting
    start = time.time()
    assert code("alice") == "OK"
    assert time.time() - start < 9, time.time() - start
    time.sleep(0.2)
want = dict(stuck="UNAVAILABLE", crash="UNAVAILABLE", gone="EXPIRED", locked="AUTHENTICATIONFAILED", old="EXPIRED",
            late="AUTHORIZATIONFAILED", barred="AUTHORIZATIONFAILED")
assert {u: got[u][0] for u in got} == want, got
assert got["stuck"][1] > 9, got
assert code("guessed") == "OK"
`)
	contains(t, b.run("cat", "/run/seen"), "auth alice 127.0.0.1 imap mailstead\n",
		"open_session alice 127.0.0.1 imap mailstead\n", "close_session alice 127.0.0.1 imap mailstead\n")
	if left := b.try("", "pgrep", "-a", "-f", "sleep 600|stuck").stdout; left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	journal := b.run("journalctl", "-q", "-u", "mailstead*", "-o", "cat")
	contains(t, journal, "PAM has not answered within 10000 ms", "a PAM module has ended its process by signal 11")
	if strings.Contains(journal, "wonder") {
		t.Errorf("a password in the journal:\n%s", journal)
	}

	// Two wrong passwords, and the right one does not help any more.
	script(`
assert [code("guessed", "wrong"), code("guessed", "wrong")] == ["AUTHENTICATIONFAILED"] * 2
assert code("guessed") == "AUTHENTICATIONFAILED"
assert code("alice") == "OK"
`)

	b.asksServers(script)

	// Without the service's file, PAM would go by "other", which lets everyone in.
	b.sh(`printf 'auth required pam_permit.so\naccount required pam_permit.so\n' > /etc/pam.d/other; rm /etc/pam.d/mailstead`)
	script(`assert code("alice", "anything") == "UNAVAILABLE"`)
	contains(t, b.run("mailstead", "status"), `no account of the host can log in: /etc/pam.d/mailstead was removed`)
	contains(t, b.run("mailstead", "plan"), `no account of the host can log in`, "pam-service//etc/pam.d/mailstead")
	b.sh("systemctl restart mailstead-imapd")
	script(`assert code("alice", "anything") == "UNAVAILABLE"`)
	contains(t, b.run("journalctl", "-q", "-u", "mailstead*", "-o", "cat"), "nobody can log in through PAM", "missing=/etc/pam.d/mailstead")
	b.exit(0, "mailstead", "apply", "--yes")
	script(`assert code("alice") == "OK"`)
}

// asksServers has a module ask a server: the plan wants to be told whether it may, and
// helpers that there are do as they are told from the next login on.
func (b *box) asksServers(script func(string)) {
	b.t.Helper()
	b.sh(`cp /usr/local/lib/crash.so /usr/local/lib/pam_radius_auth.so
systemd-run -q --unit=radius python3 -m http.server --bind 127.0.0.1 1812
for i in $(seq 100); do python3 -c 'import socket; socket.create_connection(("127.0.0.1", 1812))' 2>/dev/null && break; sleep 0.1; done
printf 'auth required /usr/local/lib/pam_radius_auth.so dial\n' > /etc/pam.d/radius
sed -i '2i @include radius' /etc/pam.d/common-auth`)
	refused := b.exit(3, "mailstead", "plan")
	contains(b.t, refused.stdout+refused.stderr, "logs in through PAM, whose rules on this host have what asks servers over the network: pam_radius_auth.so (/etc/pam.d/radius:1)", "hint: write pam: servers:", "or pam: network: true for any; false,")
	for _, row := range []struct{ may, code string }{
		{"network: true", "OK"}, {`servers: ["192.0.2.7"]`, "UNAVAILABLE"}, {`servers: ["127.0.0.0/24"]`, "OK"}, {"network: false", "UNAVAILABLE"},
	} {
		b.write("/etc/mailstead/network.cue", "hosts: \"mail.example.org\": pam: "+row.may+"\n")
		if row.may == "network: true" {
			contains(b.t, b.run("mailstead", "plan", "-v"), "unit/mailstead-pam@.service", "PrivateNetwork")
		}
		b.exit(0, "mailstead", "apply", "--yes")
		script(`assert code("alice") == "` + row.code + `", code("alice")`)
	}
	r := b.try("wonder\n", "mailstead", "explain-login", "alice", "--password-stdin")
	contains(b.t, r.stdout+r.stderr, "pam: network: false: pam_radius_auth.so (/etc/pam.d/radius:1)")
	b.sh(`rm /etc/mailstead/network.cue; sed -i 2d /etc/pam.d/common-auth; systemctl stop radius`)
	b.exit(0, "mailstead", "apply", "--yes")
	script(`assert code("alice") == "OK"`)
}
