package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// older is a host as older programs take it, too: system users and virtual ones.
const older = `hosts: "mail.example.org": {
	listeners: {imap: {}, imaps: {}}
	tls: certificates: "mail.example.org": files: {certificate: "/etc/ssl/mail.pem", key: "/etc/ssl/mail.key"}
	users: {
		alice: {}
		"anna@example.org": password: hash: "$argon2id$v=19$m=19456,t=2,p=1$N3hKIGORB451CWPPKZwRMw$IfTEqLf8Ud/MG9JJRJLVq+NBs7shwRCMYLhpGxRSL7M"
	}
}
`

// idling stays in IDLE as alice until the server says BYE or ends the connection,
// and writes down how it was.
const idling = `
import imaplib, ssl
c = imaplib.IMAP4_SSL("127.0.0.1", 993, ssl_context=ssl._create_unverified_context())
c.login("alice", "wonder")
c.select()
c.send(b"i IDLE\r\n")
c.readline()
open("/root/idles", "w").close()
while True:
    line = c.readline()
    if not line or b"BYE" in line:
        open("/root/seen-off", "wb").write(line or b"nothing")
        break
`

// mails logs in as both, and counts their messages.
const mails = `
import imaplib, ssl
for user, password in (("alice", "wonder"), ("anna@example.org", "demo")):
    c = imaplib.IMAP4("127.0.0.1", 143)
    c.starttls(ssl._create_unverified_context())
    c.login(user, password)
    print(user, c.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY)")[1][0].decode().split("(")[1])
`

// TestUpgrade applies with older programs, which are in the directory
// MAILSTEAD_FROM, and then once with those of today, while somebody is in IDLE.
func TestUpgrade(t *testing.T) {
	from := os.Getenv("MAILSTEAD_FROM")
	if from == "" {
		t.Skip("set MAILSTEAD_FROM to a directory with the three programs of an older version")
	}
	b := newBox(t, "upgrade")
	use := func(dir string) {
		t.Helper()
		for _, p := range []string{"mailstead", "mailstead-imapd", "mailstead-pam"} {
			if out, err := exec.Command("install", filepath.Join(dir, p), filepath.Join(b.root(), "usr/local/bin", p)).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	units := func() string { return b.sh(`cd /etc/systemd/system; ls -d mailstead*`) }
	use(from)
	b.sh(`useradd -m alice; echo alice:wonder | chpasswd
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/ssl/mail.key -out /etc/ssl/mail.pem -days 30 -subj /CN=mail.example.org -addext subjectAltName=DNS:mail.example.org 2>/dev/null`)
	b.write("/etc/mailstead/host.cue", older)
	b.exit(0, "mailstead", "apply", "--yes")
	t.Logf("older units:\n%s", units())
	b.sh(`for n in 1 2 3; do printf 'Subject: %s\n\nbody\n' $n > /home/alice/Maildir/new/$n.x; done; chown alice: /home/alice/Maildir/new/*`)
	before := b.run("python3", "-c", mails)
	b.write("/root/idling.py", idling)
	b.sh(`systemd-run -q --unit=idling python3 /root/idling.py; for i in $(seq 200); do [ -e /root/idles ] && exit 0; sleep 0.1; done; exit 1`)

	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	use(bin)
	t.Logf("plan:\n%s", b.exit(2, "mailstead", "plan", "--detailed-exitcode").stdout)
	start := time.Now()
	t.Logf("apply:\n%s", b.exit(0, "mailstead", "apply", "--yes").stdout)
	t.Logf("in %s; units by now:\n%s", time.Since(start).Round(time.Millisecond), units())
	if after := b.run("python3", "-c", mails); after != before {
		t.Errorf("the mail was\n%sand is\n%s", before, after)
	}
	b.writesNothing()
	b.knowsItsUnits()
	said := b.sh(`if [ -e /root/seen-off ]; then cat /root/seen-off; else systemctl is-active idling.service; fi`)
	t.Logf("the session in IDLE: %q", said)
	if !strings.HasPrefix(said, "* BYE") && said != "active\n" {
		t.Errorf("the session in IDLE heard %q", said)
	}
	if failed := b.sh(`systemctl list-units --failed --plain --no-legend 'mailstead*'`); failed != "" {
		t.Errorf("failed:\n%s", failed)
	}
}

// knowsItsUnits: no unit of ours is left that an apply would not write today.
func (b *box) knowsItsUnits() {
	b.t.Helper()
	inventory := b.sh(`cat /var/lib/mailstead/inventory.json`)
	for unit := range strings.FieldsSeq(b.sh(`cd /etc/systemd/system; ls -d mailstead*; cd multi-user.target.wants; ls -d mailstead*; cd ../sockets.target.wants; ls -d mailstead*`)) {
		if !strings.Contains(inventory, fmt.Sprintf("%q", unit)) {
			b.t.Errorf("%s is left, and in no inventory", unit)
		}
	}
}
