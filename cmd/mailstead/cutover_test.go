package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// courierHost sets up a host as people have it: Courier with PAM, Exim that
// delivers into Maildirs, two users with some mail.
const courierHost = `
hostname mail.example.org; echo mail.example.org | tee /etc/mailname > /etc/hostname
for u in alice bob; do useradd -m -s /bin/bash $u; echo $u:wonder | chpasswd; su $u -c 'maildirmake.courier ~/Maildir'; done
sed -i "s/^dc_localdelivery=.*/dc_localdelivery='maildir_home'/; s/^dc_other_hostnames=.*/dc_other_hostnames='mail.example.org'/" /etc/exim4/update-exim4.conf.conf
update-exim4.conf; systemctl restart exim4
sed -i 's/^MAXDAEMONS=.*/MAXDAEMONS=80/' /etc/courier/imapd
systemctl restart courier-imap courier-imap-ssl
`

// imapTools are for the scripts that play the clients.
const imapTools = `
import imaplib, ssl, subprocess, sys, time, re, json
def login(user="alice", port=143, tries=100):
    for n in range(tries):
        try:
            c = imaplib.IMAP4("127.0.0.1", port)
            if port == 143:
                c.starttls(ssl._create_unverified_context())
            c.login(user, "wonder")
            return c
        except (OSError, imaplib.IMAP4.error):
            if n == tries - 1: raise
            time.sleep(0.1)
def look(user):
    c, all = login(user), {}
    for line in c.list()[1]:
        if rb"\No" in line.split(b")")[0] and b"NoInferiors" not in line: continue
        name = re.search(rb'"\." ("[^"]*"|\S+)$', line).group(1).decode()
        # Of a mailbox that is not selected, or Courier says less. EXAMINE would show
        # UIDs that Courier forgets.
        status = c.status(name, "(UIDNEXT UIDVALIDITY)")[1][0].decode()
        n = lambda what: int(re.search(what + r" (\d+)", status).group(1))
        uids = {}
        if c.select(name)[1] != [b"0"]:
            for m in c.fetch("1:*", "(UID FLAGS RFC822.SIZE)")[1]:
                m = m.decode() if isinstance(m, bytes) else m[0].decode()
                flags = sorted(f for f in re.search(r"FLAGS \(([^)]*)\)", m).group(1).split() if f != r"\Recent")
                uids[re.search(r"UID (\d+)", m).group(1)] = [flags, re.search(r"SIZE (\d+)", m).group(1)]
        all[name.strip('"')] = {"validity": n("UIDVALIDITY"), "next": n("UIDNEXT"), "uids": uids}
    c.logout()
    return all
`

// fill has a user's client make folders, mail, flags and keywords, and remove some.
const fill = imapTools + `
for user in "alice", "bob":
    c = login(user)
    for f in "Sent", '"Sent Messages"', "Trash", "Work.2026":
        c.create(f if f.startswith("INBOX") else f.replace('"', '"INBOX.', 1) if f.startswith('"') else "INBOX." + f)
    for f, n in ("INBOX", 7), ("INBOX.Sent", 2), ('"INBOX.Sent Messages"', 5), ("INBOX.Work.2026", 3):
        for i in range(n):
            assert c.append(f, r"(\Seen)" if i % 2 else None, None, b"Subject: %d\r\n\r\nbody %d\r\n" % (i, i))[0] == "OK"
    c.subscribe("INBOX.Sent")
    c.select("INBOX")
    c.store("2", "+FLAGS", r"(\Flagged Work)")
    c.store("3", "+FLAGS", r"(\Deleted)")
    c.expunge()
    c.logout()
`

// deliver sends mail to a user all the time, and counts what the mail server took.
const deliver = `#!/bin/sh
n=0
[ -e /root/sent.$1 ] && n=$(cat /root/sent.$1)
while [ ! -e /root/stop ]; do
	printf 'Subject: mail %s\n\nbody\n' $n | sendmail $1@mail.example.org && n=$((n+1))
	echo $n > /root/sent.$1
	sleep 0.3
done
`

// courierBox is a booted host of Courier's.
func courierBox(t *testing.T) *box {
	b := newBoxOf(t, "courierhost", "courier")
	b.sh(courierHost)
	b.run("python3", "-c", fill)
	return b
}

// before writes what clients see, for same to compare with.
func (b *box) before() {
	b.t.Helper()
	b.run("python3", "-c", imapTools+`json.dump({u: look(u) for u in ("alice", "bob")}, open("/root/seen.json", "w"))`)
}

// same tells that clients see what they saw: every message under its UID, with its
// flags; new ones above.
func (b *box) same() {
	b.t.Helper()
	b.run("python3", "-c", imapTools+`
old = json.load(open("/root/seen.json"))
for user in old:
    now = look(user)
    assert set(old[user]) <= set(now), (user, sorted(old[user]), sorted(now))
    for name, was in old[user].items():
        new = now[name]
        assert new["validity"] == was["validity"], (user, name, was["validity"], new["validity"])
        assert new["next"] >= was["next"], (user, name, was["next"], new["next"])
        for uid, message in was["uids"].items():
            assert new["uids"].get(uid) == message, (user, name, uid, message, new["uids"].get(uid))
        for uid in set(new["uids"]) - set(was["uids"]):
            assert int(uid) >= was["next"], (user, name, uid, was["next"])
`)
}

func (b *box) active(unit string) bool {
	b.t.Helper()
	return b.try("", "systemctl", "is-active", "-q", unit).code == 0
}

// serves tells which server has port 143.
func (b *box) courierServes(want bool) {
	b.t.Helper()
	if got := b.active("courier-imap.service"); got != want {
		b.t.Errorf("Courier serves: %v, want %v", got, want)
	}
	if got := b.active("mailstead-imap.socket"); got == want {
		b.t.Errorf("Mailstead serves: %v, want %v", got, !want)
	}
}

// killedIn runs a command that gets a signal once the record says so.
func (b *box) killedIn(phase, signal, command string) {
	b.t.Helper()
	b.sh(command + ` >/root/killed.log 2>&1 & pid=$!
while ! grep -q '"` + phase + `"' /var/lib/mailstead/cutover/record.json 2>/dev/null; do kill -0 $pid; sleep 0.005; done
kill -` + signal + ` $pid; wait $pid || true`)
}

// TestCutover takes a host over from Courier and gives it back, with mail arriving
// all the time.
func TestCutover(t *testing.T) {
	t.Parallel()
	b := courierBox(t)
	b.write("/root/deliver", deliver)
	b.sh("for u in alice bob; do systemd-run -q --unit=deliver-$u sh /root/deliver $u; done")
	phase := func(name string, f func(t *testing.T)) {
		t.Helper()
		if !t.Run(name, func(t *testing.T) { b.t = t; f(t) }) {
			t.FailNow()
		}
		b.t = t
	}
	phase("adopt", func(t *testing.T) {
		contains(t, b.exit(0, "mailstead", "adopt").stdout, "2 users")
		text := b.run("cat", "/etc/mailstead/mailstead.cue")
		contains(t, text, "/etc/courier/imapd:", "MAXDAEMONS=80: ", `namespace: "INBOX."`, `"Sent Messages": {use: "sent"`, "rather than Sent (2): it has the most messages")
		b.exit(0, "mailstead", "validate")
		plan := b.exit(0, "mailstead", "plan").stdout
		contains(t, plan, "unit/mailstead-imap.socket", "folder/alice/Sent Messages")
		if strings.Contains(plan, "folder/alice/INBOX") || strings.Contains(plan, "+ folder/") {
			t.Errorf("folders are to be made:\n%s", plan)
		}
	})
	phase("check", func(t *testing.T) {
		b.before()
		out := b.exit(0, "mailstead", "cutover", "--check").stdout
		contains(t, out, "2 users, ", "courier-imap.service")
		b.courierServes(true)
		if r := b.try("", "test", "-e", "/var/lib/mailstead"); r.code == 0 {
			t.Error("a check has written something")
		}
	})
	phase("a daemon that does not start", func(t *testing.T) {
		b.sh(`mv /usr/local/bin/mailstead-imapd /usr/local/bin/kept; printf '#!/bin/sh\nexit 1\n' > /usr/local/bin/mailstead-imapd; chmod 755 /usr/local/bin/mailstead-imapd`)
		contains(t, b.exit(7, "mailstead", "cutover", "--yes").stderr, "returned to Courier")
		b.sh(`mv /usr/local/bin/kept /usr/local/bin/mailstead-imapd`)
		b.courierServes(true)
		b.same()
	})
	phase("a mailbox that is another one", func(t *testing.T) {
		b.sh(`cp -a /home/alice/Maildir/.Sent/courierimapuiddb /root/uiddb
systemd-run -q --unit=tamper sh -c 'while ! grep -q starting /var/lib/mailstead/cutover/record.json; do sleep 0.01; done; sed -i "1s/^1 [0-9]*/1 4711/" /home/alice/Maildir/.Sent/courierimapuiddb'`)
		r := b.exit(7, "mailstead", "cutover", "--yes")
		contains(t, r.stderr, "alice: Sent has the UIDVALIDITY 4711, and had ", "returned to Courier")
		b.courierServes(true)
		b.sh(`rm -rf /home/alice/Maildir/mailstead; cp -a /root/uiddb /home/alice/Maildir/.Sent/courierimapuiddb`)
		b.same()
	})
	phase("killed", func(t *testing.T) {
		b.killedIn("starting", "KILL", "mailstead cutover --yes --return-after 1s")
		b.sh("for i in $(seq 200); do [ -e /var/lib/mailstead/cutover/record.json ] || exit 0; sleep 0.1; done; exit 1")
		b.courierServes(true)
		b.same()
		b.killedIn("stopping", "KILL", "mailstead cutover --yes")
		b.killedIn("starting", "TERM", "mailstead cutover --yes")
		contains(t, b.run("cat", "/root/killed.log"), "going on", "Returning to Courier.", "Courier serves again.")
		b.courierServes(true)
		b.same()
		b.killedIn("stopping", "KILL", "mailstead cutover --yes")
		b.killedIn("starting", "KILL", "mailstead cutover --yes")
	})
	phase("cutover", func(t *testing.T) {
		contains(t, b.exit(0, "mailstead", "cutover", "--yes").stdout, "Taken over in ")
		b.courierServes(false)
		b.same()
		contains(t, b.run("mailstead", "status"), "In step.")
		contains(t, b.exit(0, "mailstead", "apply", "--yes").stdout, "No changes")
		for _, unit := range []string{"courier-imap.service", "courier-imap-ssl.service", "imapproxy.service"} {
			contains(t, b.try("", "systemctl", "is-enabled", unit).stdout, "masked")
		}
		contains(t, b.exit(0, "mailstead", "cutover", "--yes").stdout, "taken over already")
		b.run("python3", "-c", imapTools+`
c = login("alice", port=1143)
assert c.append("INBOX.Sent", None, None, b"Subject: new\r\n\r\nx\r\n")[0] == "OK"
c.select("INBOX"); c.store("1", "+FLAGS", "(Later)"); c.logout()
`)
		b.before()
	})
	phase("reboot", func(t *testing.T) {
		b.reboot()
		b.sh("for u in alice bob; do systemd-run -q --unit=deliver-$u sh /root/deliver $u; done")
		b.courierServes(false)
		b.same()
	})
	phase("handback", func(t *testing.T) {
		contains(t, b.exit(1, "mailstead", "handback").stderr, "--yes")
		b.before()
		b.killedIn("returning", "KILL", "mailstead handback --yes")
		contains(t, b.exit(0, "mailstead", "handback", "--yes").stdout, "Courier serves again.")
		b.courierServes(true)
		b.same()
		for _, unit := range []string{"courier-imap.service", "courier-imap-ssl.service", "imapproxy.service"} {
			contains(t, b.run("systemctl", "is-enabled", unit), "enabled")
		}
		contains(t, b.exit(1, "mailstead", "handback", "--yes").stderr, "Courier serves again")
	})
	phase("a renewal after it", func(t *testing.T) {
		for _, command := range []string{"mailstead deploy-hook --all", "mailstead apply --boot"} {
			b.sh(command)
			if got := b.sh("systemctl list-units --no-legend --state=active,activating,failed 'mailstead-*'; systemctl list-unit-files --no-legend --state=enabled 'mailstead-*' || true"); got != "" {
				t.Errorf("after %q there is\n%s", command, got)
			}
		}
		b.courierServes(true)
		b.same()
	})
	phase("nothing is lost", func(t *testing.T) {
		b.sh("touch /root/stop; while systemctl is-active -q deliver-alice || systemctl is-active -q deliver-bob; do sleep 0.1; done")
		b.reboot()
		b.courierServes(true)
		b.same()
		for _, u := range []string{"alice", "bob"} {
			b.sh(`sent=$(cat /root/sent.` + u + `); [ $sent -gt 10 ]
for i in $(seq 100); do [ $(grep -rl '^Subject: mail ' /home/` + u + `/Maildir/cur /home/` + u + `/Maildir/new | wc -l) -ge $sent ] && exit 0; sleep 0.1; done; exit 1`)
		}
	})
}

// TestCutoverKilled kills cutover and handback at random moments, again and again:
// the next of either goes on, and clients never see another UID.
func TestCutoverKilled(t *testing.T) {
	t.Parallel()
	if os.Getenv("MAILSTEAD_CRASH") == "" {
		t.Skip("takes some minutes: set MAILSTEAD_CRASH=1")
	}
	b := courierBox(t)
	b.write("/root/deliver", deliver)
	b.sh("mailstead adopt; systemd-run -q --unit=deliver-alice sh /root/deliver alice")
	b.before()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for n := range 30 {
		for _, command := range []string{"cutover", "handback"} {
			for range 1 + random.IntN(3) {
				after := fmt.Sprintf("%.3f", random.Float64()*3)
				r := b.try("", "timeout", "-s", "KILL", after, "mailstead", command, "--yes")
				t.Logf("seed %d: %s after %s s: exit %d", seed, command, after, r.code)
			}
			if random.IntN(2) == 0 {
				continue // leave it as it is for the other one
			}
			if r := b.try("", "mailstead", command, "--yes"); r.code != 0 && r.code != 5 &&
				!strings.Contains(r.stderr, "was not taken over") && !strings.Contains(r.stderr, "a return to Courier was begun") {
				t.Fatalf("seed %d, turn %d: %s: exit %d\n%s\n%s", seed, n, command, r.code, r.stdout, r.stderr)
			}
		}
	}
	b.sh("while mailstead handback --yes || [ $? = 5 ]; do sleep 0.2; done")
	b.courierServes(true)
	b.same()
	b.exit(0, "mailstead", "cutover", "--yes")
	b.same()
}

// virtualHost is a host whose mail belongs to one account.
const virtualHost = `hosts: "mail.example.org": {
	namespace: "INBOX."
	listeners: imap: {}
	tls: certificates: "mail.example.org": {selfSigned: {}, stitched: "/etc/courier/imapd.pem"}
	users: "vera@example.org": {
		password: hash: "HASH"
		maildir: "example.org/vera"
	}
}
`

// TestCutoverVirtual takes over mail that belongs to one account, where one process
// serves everybody.
func TestCutoverVirtual(t *testing.T) {
	t.Parallel()
	b := courierBox(t)
	b.sh(`useradd -r -d /var/vmail vmail; mkdir -p /var/vmail/example.org; cp -a /home/alice/Maildir /var/vmail/example.org/vera; chown -R vmail:vmail /var/vmail`)
	hash := strings.TrimSpace(b.sh(`printf 'wonder\n' | mailstead hash-password`))
	b.write("/etc/mailstead/host.cue", strings.ReplaceAll(virtualHost, "HASH", hash))
	b.run("python3", "-c", imapTools+`json.dump({"vera@example.org": look("alice")}, open("/root/seen.json", "w"))`)
	b.sh("cp -a /etc/courier/imapd.pem /root/imapd.pem")
	out := b.exit(0, "mailstead", "cutover", "--yes").stdout
	b.run("cmp", "/etc/courier/imapd.pem", "/root/imapd.pem") // which stays, until apply is to take it
	contains(t, out, "the mailboxes of 1 user are what they were", "2 users log in now and will not be able to, since /etc/mailstead does not have them: alice, bob")
	b.courierServes(false)
	b.same()
	contains(t, b.exit(0, "mailstead", "handback", "--yes").stdout, "Courier serves again.")
	b.courierServes(true)
	if got := b.sh(`find /var/vmail -not -user vmail | head`); got != "" {
		t.Errorf("not the owner's any more:\n%s", got)
	}
	old, now := b.run("head", "-1", "/home/alice/Maildir/courierimapuiddb"), b.run("head", "-1", "/var/vmail/example.org/vera/courierimapuiddb")
	if strings.Fields(old)[1] != strings.Fields(now)[1] {
		t.Errorf("UIDVALIDITY was %s, is %s", old, now)
	}
}

// directoryHost is a host whose users Courier's authdaemond knows.
const directoryHost = `hosts: "mail.example.org": {
	namespace: "INBOX."
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	directories: courier: {homes: ["/home"], authdaemon: {}}
}
`

// TestCutoverDirectory hands back mail of users whom nobody can list: of one whom Courier
// has served before, and of one whom it has not.
func TestCutoverDirectory(t *testing.T) {
	t.Parallel()
	b := courierBox(t)
	b.write("/etc/mailstead/host.cue", directoryHost)
	b.sh("useradd -m dora; echo dora:wonder | chpasswd; su dora -c 'mkdir -p ~/Maildir/cur ~/Maildir/new ~/Maildir/tmp; printf \"Subject: x\\n\\nx\\n\" > ~/Maildir/cur/1.x:2,S'")
	contains(t, b.exit(0, "mailstead", "cutover", "--yes").stdout, "Users whom only a directory knows were not compared")
	b.courierServes(false)
	b.sh("for u in alice dora; do su $u -c 'for n in 1 2 3; do printf \"Subject: %s\\n\\nx\\n\" $n > ~/Maildir/new/$n.new; done'; done")
	b.run("python3", "-c", imapTools+`
c = login("dora")
for i in range(9):
    assert c.append("INBOX", None, None, b"Subject: x\r\n\r\nx\r\n")[0] == "OK"
c.select("INBOX"); c.store("1", "+FLAGS", "(Later)"); c.store("2", "+FLAGS", r"(\Deleted)"); c.expunge(); c.logout()
json.dump({u: look(u) for u in ("alice", "dora")}, open("/root/seen.json", "w"))
`)
	contains(t, b.exit(0, "mailstead", "handback", "--yes").stdout, "Courier serves again.")
	b.courierServes(true)
	b.same()
}
