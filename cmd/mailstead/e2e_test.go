package main_test

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// single is the host that the project starts from.
const single = `hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": certbot: {}
	users: alice: {}
	folders: {
		Sent: use: "sent", Drafts: use: "drafts", Junk: use: "junk"
		Trash: use: "trash"
	}
}
`

// acme starts the pebble ACME server and its DNS server in the box.
const acme = `
mkdir -p /root/pebble; cd /root/pebble
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=acme-ca -addext basicConstraints=critical,CA:TRUE 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout srv.key -out srv.csr -subj /CN=localhost 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > ext
openssl x509 -req -in srv.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out srv.pem -extfile ext 2>/dev/null
cat > config.json <<J
{"pebble":{"listenAddress":"127.0.0.1:14000","managementListenAddress":"127.0.0.1:15000","certificate":"/root/pebble/srv.pem","privateKey":"/root/pebble/srv.key","httpPort":80,"tlsPort":443,"ocspResponderURL":"","externalAccountBindingRequired":false,"certificateValidityPeriod":7776000}}
J
systemd-run -q --unit=challtestsrv pebble-challtestsrv -defaultIPv4 127.0.0.1 -defaultIPv6 "" -dns01 127.0.0.1:8053 -http01 "" -https01 "" -tlsalpn01 "" -management 127.0.0.1:8055
systemd-run -q --unit=pebble -E PEBBLE_VA_NOSLEEP=1 -E PEBBLE_WFE_NONCEREJECT=0 pebble -config /root/pebble/config.json -strict -dnsserver 127.0.0.1:8053
for i in $(seq 100); do curl -s --cacert ca.pem https://localhost:14000/dir >/dev/null && break; sleep 0.05; done
curl -s --cacert ca.pem https://localhost:15000/roots/0 > root.pem
`

const (
	certonly = `env REQUESTS_CA_BUNDLE=/root/pebble/ca.pem certbot certonly -n --agree-tos --register-unsafely-without-email --server https://localhost:14000/dir --standalone -d mail.example.org`
	renew    = `env REQUESTS_CA_BUNDLE=/root/pebble/ca.pem certbot renew --force-renewal --no-random-sleep-on-renew`
)

// TestHost is the life of one host: nothing, a plan, an apply that waits for
// its certificate, served mail, renewals, a reboot, and what can go wrong.
func TestHost(t *testing.T) {
	b := newBox(t, "host")
	b.sh(`useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd` + acme)
	b.write("/etc/mailstead/host.cue", single)

	phase := func(name string, f func(t *testing.T)) {
		t.Helper()
		b.t = t
		if !t.Run(name, func(t *testing.T) { b.t = t; f(t) }) {
			t.FailNow()
		}
		b.t = t
	}

	phase("apply without a certificate", func(t *testing.T) {
		before := b.tree()
		out := b.exit(2, "mailstead", "plan", "--detailed-exitcode").stdout
		contains(t, out, "certbot certonly", "mail.example.org", "host.cue:")
		if after := b.tree(); before != after {
			t.Errorf("plan wrote:\n%s", lineDiff(before, after))
		}
		contains(t, b.exit(1, "mailstead", "apply").stderr, "--yes")
		contains(t, b.exit(6, "mailstead", "apply", "--yes").stdout, "certbot certonly")
		if got := b.try("", "systemctl", "is-active", "mailstead-imap.socket").stdout; got == "active\n" {
			t.Error("the listener is up without a certificate")
		}
		if got := b.run("stat", "-c", "%U %a", "/home/alice/Maildir/cur", "/home/alice/Maildir/.Sent/new"); got != "alice 700\nalice 700\n" {
			t.Errorf("Maildir: %s", got)
		}
	})
	phase("issue and serve", func(t *testing.T) {
		b.sh(certonly)
		b.exit(0, "mailstead", "apply", "--yes")
		python(b, login+`
c.select()
c.append("Sent", r"(\Seen)", None, b"Subject: one\r\n\r\nbody\r\n")
assert c.select("Sent")[1] == [b"1"]
`)
		contains(t, b.run("mailstead", "status"), "mail.example.org: running", "In step.")
	})
	phase("apply again writes nothing", func(t *testing.T) { b.writesNothing() })
	phase("delivery wakes IDLE", func(t *testing.T) {
		python(b, login+idle+`
deliver() # su takes as long as the machine lets it
start = time.time()
line = c.readline()
assert b"EXISTS" in line or b"RECENT" in line, line
assert time.time() - start < 1, time.time() - start
`)
	})
	phase("renewal is served and drops nobody", func(t *testing.T) {
		old := b.served()
		out := python(b, login+`
import subprocess
c.select()
subprocess.run(RENEW, shell=True, check=True, stdout=subprocess.DEVNULL)
start = time.time()
while serial() == OLD:
    assert time.time() - start < 5, "the old certificate is still served"
    time.sleep(0.1)
assert c.noop()[0] == "OK"
print(serial())
`, "RENEW", renew, "OLD", old)
		if strings.TrimSpace(out) == old {
			t.Errorf("the renewed certificate has the old fingerprint")
		}
		b.writesNothing()
	})
	phase("failed renewal keeps the old certificate", func(t *testing.T) {
		old := b.served()
		b.sh("systemctl stop pebble")
		if r := b.try("", "sh", "-c", renew); r.code == 0 {
			t.Errorf("certbot renewed without a server")
		}
		if got := b.served(); got != old {
			t.Errorf("served %s, want the old %s", got, old)
		}
		// A lineage whose key belongs to another certificate.
		b.sh(`cd /etc/letsencrypt/live/mail.example.org; cp -L privkey.pem /root/key; openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 > "$(readlink -f privkey.pem)"`)
		r := b.exit(1, "env", "RENEWED_LINEAGE=/etc/letsencrypt/live/mail.example.org", "RENEWED_DOMAINS=mail.example.org", "mailstead", "deploy-hook")
		contains(t, r.stderr, "key")
		if got := b.served(); got != old {
			t.Errorf("served %s, want the old %s", got, old)
		}
		b.sh(`cat /root/key > "$(readlink -f /etc/letsencrypt/live/mail.example.org/privkey.pem)"`)
		b.exit(0, "env", "RENEWED_LINEAGE=/etc/letsencrypt/live/someone.else", "RENEWED_DOMAINS=someone.else", "mailstead", "deploy-hook")
		b.exit(0, "mailstead", "deploy-hook", "--all")
	})
	phase("reboot", func(t *testing.T) {
		b.reboot()
		python(b, login+`
assert c.select("Sent")[1] == [b"1"]
`)
		contains(t, b.run("systemctl", "show", "-P", "Result", "mailstead-apply.service"), "success")
		b.writesNothing()
	})
	phase("drift is repaired", func(t *testing.T) {
		b.sh(`echo 'ExecStart=/bin/false' >> /etc/systemd/system/mailstead-imapd.service; rmdir /home/alice/Maildir/tmp; chmod 755 /home/alice/Maildir/cur`)
		contains(t, b.exit(2, "mailstead", "plan", "--detailed-exitcode").stdout, "mailstead-imapd.service", "maildir/alice")
		b.exit(0, "mailstead", "apply", "--yes")
		python(b, login)
		b.writesNothing()
	})
	phase("a daemon that does not start", func(t *testing.T) {
		b.sh(`mkdir -p /run/systemd/system/mailstead-imapd.service.d; printf '[Service]\nExecPaths=/bin/sh\n' > /run/systemd/system/mailstead-imapd.service.d/sh.conf
mv /usr/local/bin/mailstead-imapd /usr/local/bin/kept; printf '#!/bin/sh\n[ "$1" = check ] && exit\necho broken on purpose >&2; exit 1\n' > /usr/local/bin/mailstead-imapd; chmod 755 /usr/local/bin/mailstead-imapd; systemctl stop mailstead-imapd.service`)
		r := b.exit(6, "mailstead", "apply", "--yes") // what was before does not start either
		contains(t, r.stdout+r.stderr, "mailstead-imapd.service", "broken on purpose", "does not serve either")
		b.sh(`rm -r /run/systemd/system/mailstead-imapd.service.d; mv /usr/local/bin/kept /usr/local/bin/mailstead-imapd; systemctl daemon-reload; systemctl reset-failed`)
		b.exit(0, "mailstead", "apply", "--yes")
		python(b, login)
	})
	phase("a port that is taken", func(t *testing.T) {
		b.write("/etc/mailstead/host.cue", strings.Replace(single, "listeners: imap: {}", "listeners: {imap: {}, imaps: {}}", 1))
		b.sh(`systemd-run -q --unit=squatter python3 -c 'import socket,time; s=socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("::",993)); s.listen(); time.sleep(600)'; sleep 0.5`)
		r := b.exit(1, "mailstead", "apply", "--yes")
		contains(t, r.stderr, "nothing was applied: unit/mailstead-imaps.socket: port 993 is taken by process ", `(python3): run "systemctl disable --now squatter.service" and apply again`)
		python(b, login) // the other listener serves on
		b.sh(`systemctl stop mailstead-imapd.service`)
		python(b, login) // and is served by a daemon that starts now
		b.sh(`systemctl stop squatter`)
		b.exit(0, "mailstead", "apply", "--yes")
		python(b, login)
		contains(t, b.sh(`printf 'a logout\r\n' | openssl s_client -quiet -connect 127.0.0.1:993 -servername mail.example.org -CAfile /root/pebble/root.pem -verify_return_error 2>/dev/null`), "a OK")
		b.writesNothing()
	})
	phase("a user taken out cannot log in and keeps the mail", func(t *testing.T) {
		b.sh(`useradd -m bob; echo bob:builder | chpasswd`)
		b.write("/etc/mailstead/host.cue", strings.Replace(single, "alice", "bob", 1))
		mail := b.sh("find /home/alice/Maildir -type f -path '*/cur/*' | sort | xargs sha256sum")
		b.exit(0, "mailstead", "apply", "--yes")
		if got := b.sh("find /home/alice/Maildir -type f -path '*/cur/*' | sort | xargs sha256sum"); got != mail || mail == "" {
			t.Errorf("alice's mail changed:\n%s\n%s", mail, got)
		}
		if r := b.try("", "python3", "-c", prelude+login); r.code == 0 || !strings.Contains(r.stderr, "AUTHENTICATIONFAILED") {
			t.Errorf("alice can still log in: %v", r)
		}
		python(b, strings.Replace(login, `"alice", "wonder"`, `"bob", "builder"`, 1))
	})
}

// prelude and login are Python that trusts the ACME server's root and logs in
// as alice over STARTTLS; serial gives the fingerprint that is served.
const (
	prelude = `
import hashlib, imaplib, socket, ssl, sys, time
ctx = ssl.create_default_context(cafile="/root/pebble/root.pem")
def serial():
    s = socket.create_connection(("127.0.0.1", 143)); f = s.makefile("rb"); f.readline()
    s.sendall(b"a STARTTLS\r\n"); f.readline()
    t = ctx.wrap_socket(s, server_hostname="mail.example.org")
    return hashlib.sha256(t.getpeercert(True)).hexdigest()
class Client(imaplib.IMAP4):
    def _create_socket(self, timeout=None):
        return socket.create_connection(("127.0.0.1", 143), timeout or 20)
`
	login = `
c = Client("mail.example.org")
c.starttls(ctx)
c.login("alice", "wonder")
`
	idle = `
import os, subprocess
c.select()
c.send(b"i IDLE\r\n")
assert c.readline().startswith(b"+")
def deliver():
    subprocess.run(["su", "alice", "-c", "umask 077; printf 'Subject: hi\\n\\nx\\n' > ~/Maildir/tmp/1.1.x && mv ~/Maildir/tmp/1.1.x ~/Maildir/new/1.1.x"], check=True)
`
)

// python runs a script in the box; pairs are names and strings that it uses.
func python(b *box, script string, pairs ...string) string {
	b.t.Helper()
	var vars strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&vars, "%s = %q\n", pairs[i], pairs[i+1])
	}
	return b.run("python3", "-c", prelude+vars.String()+script)
}

// served is the SHA-256 fingerprint of the leaf that port 143 serves.
func (b *box) served() string {
	b.t.Helper()
	return strings.TrimSpace(python(b, "print(serial())"))
}

// tree lists every file of the places that Mailstead may write to, with its
// inode, mode, owner, size and time of change. What the daemon keeps of a Maildir it
// writes when it likes.
func (b *box) tree() string {
	b.t.Helper()
	return b.sh(`find /etc /home /usr/local /var/lib -xdev -not -path '/var/lib/systemd/*' -not -path '*/Maildir/mailstead*' -printf '%p %i %m %u %g %s %C@\n' | sort`)
}

// writing matches a system call of strace's that alters a file.
var writing = regexp.MustCompile(`\b(creat|rename\w*|link(at)?|symlink\w*|unlink\w*|mkdir\w*|rmdir|chmod|fchmod\w*|l?chown|fchown\w*|truncate|ftruncate|fsync|fdatasync|utime\w*|mknod\w*|setxattr|fallocate)\(|open(at|at2)?\(.*(O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE)`)

// writesNothing applies once more and fails if a file or a unit changed, or if
// a system call was made that could change one.
func (b *box) writesNothing() {
	b.t.Helper()
	state := func() string {
		return b.tree() + b.run("systemctl", "show", "-p", "InvocationID,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic,NeedDaemonReload", "mailstead-imapd.service", "mailstead-imap.socket")
	}
	before := state()
	r := b.exit(0, "strace", "-f", "-q", "-o", "/tmp/trace", "mailstead", "apply", "--yes")
	if after := state(); after != before {
		b.t.Errorf("a second apply changed:\n%s\n%s", lineDiff(before, after), r.stdout)
	}
	for line := range strings.Lines(b.run("cat", "/tmp/trace")) {
		if writing.MatchString(line) && !strings.Contains(line, `"/dev/null"`) && !strings.Contains(line, "ENOENT") {
			b.t.Errorf("a second apply calls %s", line)
		}
	}
}

func contains(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(out, w) {
			t.Errorf("no %q in:\n%s", w, out)
		}
	}
}

// lineDiff lists the lines that only one of two texts has.
func lineDiff(a, b string) string {
	in := func(s string) map[string]bool {
		m := map[string]bool{}
		for l := range strings.Lines(s) {
			m[l] = true
		}
		return m
	}
	var out strings.Builder
	inA, inB := in(a), in(b)
	for l := range strings.Lines(a) {
		if !inB[l] {
			out.WriteString("- " + l)
		}
	}
	for l := range strings.Lines(b) {
		if !inA[l] {
			out.WriteString("+ " + l)
		}
	}
	return out.String()
}

// joinNet takes the thread of this goroutine, which ends with it, into the network of
// the box.
func (b *box) joinNet() error {
	runtime.LockOSThread() // never unlocked
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", b.leader))
	if err != nil {
		return err
	}
	defer ns.Close()
	return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
}

// dial connects to an address of the box's own network.
func (b *box) dial(addr string) net.Conn {
	b.t.Helper()
	type answer struct {
		c   net.Conn
		err error
	}
	ch := make(chan answer)
	go func() {
		err := b.joinNet()
		if err != nil {
			ch <- answer{nil, err}
			return
		}
		c, err := net.DialTimeout("tcp", addr, 10*time.Second)
		ch <- answer{c, err}
	}()
	a := <-ch
	if a.err != nil {
		b.t.Fatal(a.err)
	}
	b.t.Cleanup(func() { a.c.Close() })
	return a.c
}
