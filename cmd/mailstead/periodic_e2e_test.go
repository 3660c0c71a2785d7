package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// tended is a host with both kinds of work that timers do: alice, who has a uid of
// her own, gets the mail of bob from a server, which is this one, and of carol from a
// Dovecot, and her Trash is emptied.
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
			imports: carol: ` + fromDovecot + `
		}
		bob: {}
	}
}
`

// fromDovecot is the import of what the Dovecot of box.dovecot has.
const fromDovecot = `{
	server: "mail.example.org", port: 1993, ca: "/etc/ssl/mail.pem"
	user: "carol", passwordFile: "/etc/mailstead.carol", into: "Carol", hourly: true
}`

// makeCertificate makes one that servers of that name have.
const makeCertificate = `echo 127.0.0.1 mail.example.org >> /etc/hosts
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/ssl/mail.key -out /etc/ssl/mail.pem -days 30 -subj /CN=mail.example.org -addext subjectAltName=DNS:mail.example.org 2>/dev/null
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
	b.sh(makeCertificate + `useradd -m alice; useradd -m bob; printf 'alice:wonder\nbob:builder\n' | chpasswd
(umask 077; echo builder | tee /etc/mailstead.bob > /etc/mailstead.carol)`)
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
	b.dovecot(300)
	contains(t, run("mailstead-import.service"), "INBOX -> Bob: 2 messages there", "2 brought", "INBOX -> Carol: 300 messages there", "300 brought")
	contains(t, run("mailstead-import.service"), "\n0 messages brought")
	if got := b.sh(`stat -c %U /home/alice/Maildir/.Bob/*/* /home/alice/Maildir/.Carol/*/* | sort | uniq -c; stat -c '%U %a' /home/alice/Maildir/mailstead/import/bob`); strings.Join(strings.Fields(got), " ") != "302 alice alice 700" {
		t.Errorf("what was brought in belongs to:\n%s", got)
	}
	contains(t, b.run("mailstead", "import", "verify", "--user", "alice", "--name", "carol"), "The same on both sides: 300 messages")
	b.importsAlone()

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
	b.holdsPromises("apply cert-check imapd import import-connect lmtp login metrics pam proxy purge spawn web web-admin")
}

// dovecot starts a Dovecot of this machine's in the network of the host: it has so many
// messages for carol.
func (b *box) dovecot(messages int) {
	b.t.Helper()
	dir, err := os.MkdirTemp("", "dovecot")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { os.RemoveAll(dir) })
	inbox := filepath.Join(dir, "Maildir")
	for name, text := range map[string]string{
		"users": "carol:builder:65534:65534::" + dir + "\n",
		"conf": strings.ReplaceAll(`base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
listen = 127.0.0.1
protocols = imap
ssl = required
ssl_cert = </ETC/mail.pem
ssl_key = </ETC/mail.key
auth_failure_delay = 0
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:DIR/Maildir
passdb {
  driver = passwd-file
  args = scheme=PLAIN DIR/users
}
userdb {
  driver = passwd-file
  args = DIR/users
}
service imap-login {
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = 1993
  }
}
`, "DIR", dir),
	} {
		text = strings.ReplaceAll(text, "/ETC", filepath.Join(b.root(), "etc/ssl"))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(inbox, d), 0o700); err != nil {
			b.t.Fatal(err)
		}
	}
	for n := range messages {
		if err := os.WriteFile(filepath.Join(inbox, "cur", fmt.Sprintf("17%08d.M1P1.far:2,S", n)), fmt.Appendf(nil, "Subject: %d\n\nbody\n", n), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	if out, err := exec.Command("sh", "-ec", `chmod 755 "$1"; chmod 644 "$1/users"; chown -R nobody:nogroup "$1/Maildir"`, "sh", dir).CombinedOutput(); err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	server := exec.Command("nsenter", "-t", strconv.Itoa(b.leader), "-n", "dovecot", "-F", "-c", filepath.Join(dir, "conf"))
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // by whose end it is killed: those of other tests come and go
		started <- server.Start()
		server.Wait()
	}()
	if err := <-started; err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		server.Process.Signal(syscall.SIGTERM)
		<-ended
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); b.t.Failed() {
			b.t.Logf("Dovecot:\n%s", log)
		}
	})
	b.sh(`for i in $(seq 200); do python3 -c 'import socket; socket.create_connection(("127.0.0.1", 1993))' 2>/dev/null && exit; sleep 0.1; done; exit 1`)
}

// importsAlone: while a server says nothing, who reads it is alice, with no network but
// that connection and fewer system calls than the unit has; and who has the network is
// nobody, with nothing.
func (b *box) importsAlone() {
	b.t.Helper()
	b.write("/etc/mailstead/silent.cue", `hosts: "mail.example.org": users: bob: imports: silent: {
	server: "mail.example.org", port: 1994, user: "carol", passwordFile: "/etc/mailstead.bob", hourly: true
}
`)
	b.sh(`systemd-run -q --unit=silent python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 1994)); c = s.accept(); open("/run/silent", "w"); time.sleep(99)'
systemctl start --no-block mailstead-import.service
for i in $(seq 300); do test -e /run/silent && break; sleep 0.1; done`)
	got := b.sh(`of() { awk -v key="$2:" '$1 == key {print $2}' /proc/$1/status; }
work=$(pgrep -f '[m]ailstead import-work$'); root=$(systemctl show -P MainPID mailstead-import.service); reach=$(pgrep -f '[m]ailstead import-connect$')
test $(of $work Uid) = $(id -u bob) && echo "the user's"
test $(of $work CapEff)$(of $reach CapEff) = 00000000000000000000000000000000 && echo no capabilities
test $(readlink /proc/$work/ns/net) != $(readlink /proc/1/ns/net) && test $(readlink /proc/$reach/ns/net) = $(readlink /proc/1/ns/net) && echo one network
test $(of $work Seccomp_filters) -gt $(of $root Seccomp_filters) && echo fewer calls
test $(of $reach Uid) -ge 61184 && ! grep -q ":x:$(of $reach Uid):" /etc/passwd && echo nobody
systemctl stop mailstead-import.service; systemctl stop silent.service
for i in $(seq 100); do pgrep -f '[m]ailstead import-' >/dev/null || exit 0; sleep 0.1; done; echo still there`)
	if want := "the user's\nno capabilities\none network\nfewer calls\nnobody\n"; got != want {
		b.t.Errorf("an import at work is\n%snot\n%s", got, want)
	}
	b.sh("systemctl reset-failed mailstead-import.service || true")
	b.importsByHand()
	b.sh("rm /etc/mailstead/silent.cue")
}

// importsByHand: so it is when an admin runs it, but that the network is the host's; and
// a password that everybody can read is not used.
func (b *box) importsByHand() {
	b.t.Helper()
	got := b.sh(`of() { awk -v key="$2:" '$1 == key {print $2}' /proc/$1/status; }
rm -f /run/silent; systemd-run -q --unit=silent python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 1994)); c = s.accept(); open("/run/silent", "w"); time.sleep(99)'
for i in $(seq 100); do ss -ltn | grep -q :1994 && break; sleep 0.1; done
setsid mailstead import --user bob --name silent >/dev/null 2>/root/said & hand=$!
for i in $(seq 300); do test -e /run/silent && break; sleep 0.1; done
work=$(pgrep -f '[m]ailstead import-work$'); reach=$(pgrep -f '[m]ailstead import-connect$')
test $(of $work Uid)$(of $reach Uid) = $(id -u bob)$(id -u bob) && echo "the user's"
test $(of $work Seccomp) = 2 && test $(of $reach Seccomp) = 0 && echo fewer calls
/bin/kill -INT -- -$hand; wait $hand || :
cat /root/said
systemctl stop silent.service
for i in $(seq 100); do pgrep -f '[m]ailstead import-' >/dev/null || break; sleep 0.1; done; pgrep -f '[m]ailstead import-' || :
mailstead plan | grep -c 'every user of the host' || :
chmod 644 /etc/mailstead.bob; mailstead plan | grep 'every user of the host'; mailstead import --user bob --name silent 2>&1 || :; chmod 600 /etc/mailstead.bob`)
	if want := "the user's\nfewer calls\nmailstead: error: interrupted\n0\n"; !strings.HasPrefix(got, want) {
		b.t.Errorf("an import by hand is\n%s", got)
	}
	contains(b.t, got, ": the password of import silent of bob, /etc/mailstead.bob, can be read by every user of the host: chmod o-rwx it",
		"mailstead: error: bob, silent: /etc/mailstead.bob can be read by every user of the host\nhint: chmod 600 /etc/mailstead.bob, and replace")
}
