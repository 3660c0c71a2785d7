package main_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// crowded is a host whose users are in a file of their own.
const crowded = `hosts: "mail.example.org": {
	listeners: {imap: {}, imaps: {}}
	tls: certificates: "mail.example.org": selfSigned: {}
}
`

// connected logs two clients in on the listener imap and three on imaps, by the
// port that is its argument, has them idle, and notes in /root/ended when one
// loses its connection.
const connected = `
import imaplib, select, ssl, sys
ctx = ssl._create_unverified_context()
def client(kind):
    if kind == "imap":
        c = imaplib.IMAP4("127.0.0.1"); c.starttls(ctx)
    else:
        c = imaplib.IMAP4_SSL("127.0.0.1", int(sys.argv[1]), ssl_context=ctx)
    c.login("user%02d@example.org" % len(clients), "wonder")
    c.select(); c.send(b"i IDLE\r\n"); c.readline()
    clients[c.sock] = (kind, c)
clients = {}
for kind in ["imap"] * 2 + ["imaps"] * 3:
    client(kind)
open("/root/ended", "w").close()
open("/root/connected", "w").close()
while clients:
    for s in select.select(list(clients), [], [])[0]:
        if not s.recv(4096):
            with open("/root/ended", "a") as f:
                f.write(clients.pop(s)[0] + "\n")
`

// crowd writes the users of crowded from first up to last.
func (b *box) crowd(hash string, first, last int) {
	var users strings.Builder
	for i := first; i < last; i++ {
		fmt.Fprintf(&users, `%s"user%02d@example.org": {"password": {"hash": %q}}`, map[bool]string{true: ",\n"}[i > first], i, hash)
	}
	b.write("/etc/mailstead/users.json", `{"hosts": {"mail.example.org": {"users": {`+users.String()+`}}}}`+"\n")
}

// connect starts the clients anew.
func (b *box) connect(port string) {
	b.t.Helper()
	b.sh(`systemctl stop clients 2>/dev/null || true; rm -f /root/connected; systemd-run -q --unit=clients python3 /root/clients.py ` + port + `
for i in $(seq 300); do [ -e /root/connected ] && exit 0; sleep 0.1; done; journalctl -u clients --no-pager; exit 1`)
}

// ended waits until so many clients have lost their connections, and says on which
// listeners.
func (b *box) ended(n int) string {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out := b.run("sort", "/root/ended")
		if strings.Count(out, "\n") >= n || time.Now().After(end) {
			return strings.Join(strings.Fields(out), " ")
		}
	}
}

// TestImpact: the plan counts the sessions that there are, and just those end.
func TestImpact(t *testing.T) {
	t.Parallel()
	b := newBox(t, "impact")
	hash := strings.TrimSpace(b.run("sh", "-c", "echo wonder | mailstead hash-password"))
	b.write("/etc/mailstead/host.cue", crowded)
	b.write("/root/clients.py", connected)
	b.crowd(hash, 0, 40)
	contains(t, b.exit(0, "mailstead", "apply", "--yes").stdout, "Mail: no message is removed, and UIDVALIDITY changes in no folder.")
	b.connect("993")
	t.Run("a reload ends none", func(t *testing.T) {
		b.crowd(hash, 0, 41)
		if out := b.exit(0, "mailstead", "apply", "--yes").stdout; strings.Contains(out, "People:") {
			t.Errorf("somebody is concerned:\n%s", out)
		}
		if got := b.ended(0); got != "" {
			t.Errorf("sessions ended: %s", got)
		}
	})
	t.Run("a listener moves", func(t *testing.T) {
		b.write("/etc/mailstead/host.cue", strings.Replace(crowded, "imaps: {}", "imaps: port: 9993", 1))
		contains(t, b.run("mailstead", "plan"), "3 now (3 on imaps)", "41 users will lose the listener imaps at :993, which moves to :9993")
		var plan struct {
			People struct {
				Sessions struct {
					End int
					On  map[string]int
				}
			}
		}
		if err := json.Unmarshal([]byte(b.run("mailstead", "plan", "-o", "json")), &plan); err != nil {
			t.Fatal(err)
		}
		if s := plan.People.Sessions; s.End != 3 || s.On["imap"] != 0 || s.On["imaps"] != 3 {
			t.Errorf("in JSON: %+v", s)
		}
		b.exit(0, "mailstead", "apply", "--yes")
		if got := b.ended(3); got != "imaps imaps imaps" {
			t.Errorf("sessions ended: %s", got)
		}
	})
	t.Run("a listener comes", func(t *testing.T) {
		b.connect("9993")
		b.write("/etc/mailstead/host.cue", strings.Replace(crowded, "imaps: {}", "imaps: port: 9993, more: {port: 1143, address: \"127.0.0.1\"}", 1))
		if out := b.run("mailstead", "plan"); strings.Contains(out, "sessions end") {
			t.Errorf("plan:\n%s", out)
		}
		b.exit(0, "mailstead", "apply", "--yes")
		if got := b.ended(0); got != "" {
			t.Errorf("sessions ended: %s", got)
		}
		b.write("/etc/mailstead/host.cue", strings.Replace(crowded, "imaps: {}", "imaps: port: 9993", 1))
		b.exit(0, "mailstead", "apply", "--yes")
		if got := b.ended(0); got != "" {
			t.Errorf("sessions ended as a listener goes: %s", got)
		}
	})
	t.Run("each role dies", func(t *testing.T) {
		for _, unit := range []string{"mailstead-imapd.service", "mailstead-login@imaps.service"} {
			b.sh("systemctl kill -s KILL " + unit + "; for i in $(seq 100); do systemctl is-active -q " + unit + " && break; sleep 0.1; done")
		}
		if got := b.ended(3); got != "imaps imaps imaps" {
			t.Errorf("sessions ended: %s", got)
		}
		b.connect("9993")
	})
	t.Run("a restart", func(t *testing.T) {
		b.connect("9993")
		b.sh(`cd /usr/local/bin; cp mailstead-imapd new; printf x >> new; mv new mailstead-imapd`)
		if out := b.run("mailstead", "plan"); !strings.Contains(out, "5 now (2 on imap, 3 on imaps)") || strings.Contains(out, "will lose") {
			t.Errorf("plan:\n%s", out)
		}
		b.exit(0, "mailstead", "apply", "--yes")
		if got := b.ended(5); got != "imap imap imaps imaps imaps" {
			t.Errorf("sessions ended: %s", got)
		}
	})
	b.t = t
	b.brake(t, hash)
}

// brake cuts the list of users short.
func (b *box) brake(t *testing.T, hash string) {
	last := "import imaplib, ssl; c = imaplib.IMAP4('127.0.0.1'); c.starttls(ssl._create_unverified_context()); c.login('user40@example.org', 'wonder')"
	b.crowd(hash, 0, 11)
	contains(t, b.run("mailstead", "plan"), "30 users can no longer log in", "--remove-users 30")
	contains(t, b.exit(1, "mailstead", "apply", "--yes").stderr, "30 of 41 users vanish from the description", "hint: ", "--remove-users 30")
	contains(t, b.exit(1, "mailstead", "apply", "--yes", "--remove-users", "29").stderr, "not 29")
	b.reboot()
	contains(t, b.run("systemctl", "show", "-P", "Result", "mailstead-apply.service"), "exit-code")
	contains(t, b.run("journalctl", "-b", "-u", "mailstead-apply", "-p", "err", "--no-pager"), "30 of 41 users vanish")
	b.exit(0, "python3", "-c", last)
	b.crowd(hash, 0, 0)
	contains(t, b.exit(1, "mailstead", "apply", "--yes").stderr, "all 41 users vanish", "--remove-users 41")
	b.crowd(hash, 0, 11)
	b.exit(0, "mailstead", "apply", "--yes", "--remove-users", "30")
	if r := b.try("", "python3", "-c", last); r.code == 0 {
		t.Error("user40 can still log in")
	}
	b.writesNothing()
}
