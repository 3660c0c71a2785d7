package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// described is a host with a virtual user who is the probe; more goes into it.
const described = `hosts: "mail.example.org": {
	listeners: imap: {address: "127.0.0.1"}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: vera: password: hash: _hash
	probe: {user: "vera", file: "/root/probe"}
	%s
}
_hash: %q
`

// TestGenerations applies good and bad descriptions to one host, and cuts applies
// short: it always comes to serve what was proven last.
func TestGenerations(t *testing.T) {
	t.Parallel()
	b := newBox(t, "generations")
	if out, err := exec.Command("cp", os.Args[0], filepath.Join(b.root(), "root/mailstead.test")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.sh(`umask 077; echo wonder > /root/probe`)
	hash := strings.TrimSpace(b.try("wonder\n", "mailstead", "hash-password").stdout)
	describe := func(more string) {
		b.write("/etc/mailstead/host.cue", fmt.Sprintf(described, more, hash))
	}
	phase := func(name string, f func(t *testing.T)) {
		t.Helper()
		if !t.Run(name, func(t *testing.T) { b.t = t; f(t) }) {
			t.FailNow()
		}
		b.t = t
	}
	apply := func(code int, wants ...string) {
		b.t.Helper()
		r := b.exit(code, "mailstead", "apply", "--yes", "--return-after", "2s")
		contains(b.t, r.stdout+r.stderr, wants...)
	}
	// wantForce wants a generation in force, and nothing left of how it came to that.
	wantForce := func(n int) {
		b.t.Helper()
		h := b.history()
		if h.Current != n || h.Trying != nil {
			b.t.Errorf("generation %d is in force, want %d; trying %v", h.Current, n, h.Trying)
		}
		b.await(func() bool { return b.sh(`systemctl list-units --all --plain --no-legend 'mailstead-return-*'`) == "" })
	}

	phase("a first apply that does not serve stops the daemon", func(t *testing.T) {
		b.sh(`echo wrong > /root/probe`)
		describe("")
		apply(7, "login of vera", "AUTHENTICATIONFAILED", "none to return to: the daemon was stopped")
		for _, unit := range []string{"mailstead-imap.socket", "mailstead-imapd.service"} {
			if got := b.try("", "systemctl", "is-active", unit).stdout; got != "inactive\n" {
				t.Errorf("%s is %s", unit, got)
			}
			if got := b.try("", "systemctl", "is-enabled", unit).stdout; got != "disabled\n" {
				t.Errorf("%s is %s, and starts at the next boot", unit, got)
			}
		}
		wantForce(0)
		b.sh(`echo wonder > /root/probe`)
	})
	phase("a good apply", func(t *testing.T) {
		apply(0)
		wantForce(2)
		b.writesNothing()
		describe(`about: comment: "second"`)
		apply(0)
		wantForce(3)
		contains(t, b.run("mailstead", "history"), "* 3", "in force, serves", "daemon-config", "root", "did not serve; the daemon was stopped: listener imap")
		contains(t, b.run("mailstead", "diff", "2", "3"), `-      "Comment": ""`, `+      "Comment": "second"`, "3:/var/lib/mailstead/config.json")
		contains(t, b.run("mailstead", "status"), "In step.")
		if got := b.sh(`find /var/lib/mailstead/generations -type f ! -perm 0600; stat -c %a /var/lib/mailstead/generations`); got != "700\n" {
			t.Errorf("files that others may read: %s", got)
		}
	})
	phase("what the daemon does not take touches nothing", func(t *testing.T) {
		before := b.tree()
		b.sh(`mv /usr/local/bin/mailstead-imapd /usr/local/bin/kept; printf '#!/bin/sh\necho no such thing >&2; exit 1\n' > /usr/local/bin/mailstead-imapd; chmod 755 /usr/local/bin/mailstead-imapd`)
		describe(`about: comment: "refused"`)
		apply(1, "nothing was applied: the daemon does not take its configuration: no such thing")
		b.sh(`mv /usr/local/bin/kept /usr/local/bin/mailstead-imapd`)
		if diff := lineDiff(before, b.tree()); strings.Contains(diff, "config.json") || strings.Contains(diff, "inventory") || strings.Contains(diff, "systemd") {
			t.Errorf("changed:\n%s", diff)
		}
		wantForce(3)
	})
	phase("a port that is taken", func(t *testing.T) {
		b.sh(`systemd-run -q --unit=squatter python3 -c 'import socket,time; s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1",993)); s.listen(); time.sleep(600)'; sleep 0.5`)
		describe(`listeners: imaps: {address: "127.0.0.1"}`)
		apply(1, "nothing was applied: unit/mailstead-imaps.socket: port 993 is taken by process ", "(python3): run ", "nothing on the host was touched")
		wantForce(3)
		b.sh(`systemctl stop squatter`)
	})
	phase("a daemon that starts and does not serve", func(t *testing.T) {
		// Its mail is where the unit's sandbox shows nothing.
		b.sh(`mkdir -p /etc/systemd/system/mailstead-spawn.service.d; printf '[Service]\nInaccessiblePaths=-/var/elsewhere\n' > /etc/systemd/system/mailstead-spawn.service.d/own.conf; systemctl daemon-reload`)
		describe(`mail: root: "/var/elsewhere"`)
		apply(7, "vera", "the host has returned to generation 3, which does", "mailstead diff 3 4")
		wantForce(3)
		contains(t, b.run("mailstead", "plan"), "this is what generation 4 was, from which the host has returned")
	})
	phase("PAM that is broken", func(t *testing.T) {
		b.sh(`useradd -m alice; echo alice:wonder | chpasswd; cp /etc/pam.d/common-auth /root/; echo 'auth required pam_deny.so' > /etc/pam.d/common-auth`)
		b.write("/etc/mailstead/host.cue", `hosts: "mail.example.org": {
	listeners: imap: {address: "127.0.0.1"}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: alice: {}
	probe: {user: "alice", file: "/root/probe"}
}
`)
		apply(7, "login of alice", "the host has returned to generation 3, which does", "maildir alice")
		wantForce(3)
		b.sh(`cp /root/common-auth /etc/pam.d/`)
	})
	phase("an apply that is killed returns by itself", func(t *testing.T) {
		b.sh(`cp /root/mailstead.test /usr/local/bin/mailstead-killer`)
		describe(`about: comment: "killed"`)
		for _, n := range some(160, 3) { // wherever that is
			call := strconv.Itoa(n)
			if r := b.try("", "mailstead-killer", call, "-", "mailstead", "apply", "--yes", "--return-after", "2s"); r.code != 137 {
				t.Fatalf("killed at %s: exit %d\n%s%s", call, r.code, r.stdout, r.stderr)
			}
			b.await(func() bool { return b.history().Trying == nil })
			wantForce(3)
		}
		b.killedProbing("HUP", "4s") // as when a terminal is lost
		b.await(func() bool { return b.history().Trying == nil })
		wantForce(3)
		contains(t, b.exit(2, "mailstead", "plan", "--detailed-exitcode").stdout, "daemon-config", "its apply was cut short")
		contains(t, b.run("mailstead", "history"), "returned to 3: its apply was cut short")
	})
	phase("an apply that is killed is taken up by the next one", func(t *testing.T) {
		b.killedProbing("KILL", "15s") // the next one comes first
		contains(t, b.run("mailstead", "plan"), "was cut short, or is at work")
		apply(0)
		newest := b.history().Generations[0].Number
		wantForce(newest) // and the timer of the one that was killed goes off
		wantForce(newest)
		contains(t, b.run("mailstead", "status"), "In step.")
		b.writesNothing()
	})
	phase("rollback", func(t *testing.T) {
		newest := b.history().Current
		b.exit(0, "mailstead", "rollback", "--yes")
		wantForce(3)
		contains(t, b.run("cat", "/var/lib/mailstead/config.json"), `"second"`)
		b.exit(0, "mailstead", "rollback", "--yes", "--to", strconv.Itoa(newest))
		wantForce(newest)
		contains(t, b.exit(1, "mailstead", "rollback", "--yes", "--to", "77").stderr, "there is no generation 77")
		b.exit(0, "mailstead", "rollback", "--yes", "--to", "3")
		wantForce(3)
	})
	phase("a rollback to what is in force that is killed is made whole", func(t *testing.T) {
		config := b.run("cat", "/var/lib/mailstead/config.json")
		const drift = "sed -i 's/\"second\"/\"third\"/' /var/lib/mailstead/config.json"
		b.sh(drift + `; mv /root/probe /root/password; mkfifo /root/probe
			mailstead rollback --yes --to 3 > /dev/null 2>&1 & p=$!
			for i in $(seq 100); do grep -q second /var/lib/mailstead/config.json && break; sleep 0.1; done; sleep 1
			kill -KILL $p; wait $p || true; rm /root/probe; mv /root/password /root/probe; ` + drift)
		b.exit(0, "sh", "-c", `mailstead rollback --attempt "$(grep -o '"id": *"[^"]*"' /var/lib/mailstead/generations/trying.json | cut -d '"' -f 4)"`)
		wantForce(3)
		if now := b.run("cat", "/var/lib/mailstead/config.json"); now != config {
			t.Errorf("the configuration is not that of generation 3:\n%s", lineDiff(config, now))
		}
	})
	phase("a boot does not apply what the host has returned from", func(t *testing.T) {
		b.reboot()
		b.await(func() bool {
			return b.try("", "systemctl", "is-active", "mailstead-apply.service").stdout != "activating\n"
		})
		wantForce(3)
		if config := b.run("cat", "/var/lib/mailstead/config.json"); strings.Contains(config, "killed") {
			t.Error("the description was applied")
		}
		contains(t, b.run("journalctl", "-u", "mailstead-apply", "-b", "--no-pager"), "generation 3 is applied")
	})
	phase("a boot returns from an apply that the power was cut at", func(t *testing.T) {
		describe(`about: comment: "killed with the power"`)
		b.killedProbing("KILL", "60s")
		b.reboot()
		b.await(func() bool {
			return b.try("", "systemctl", "is-active", "mailstead-apply.service").stdout != "activating\n"
		})
		h := b.history()
		wantForce(h.Generations[0].Number)
		contains(t, b.run("cat", "/var/lib/mailstead/config.json"), `"second"`)
		contains(t, b.run("journalctl", "-u", "mailstead-apply", "-b", "--no-pager"), "was cut short: generation 3 is applied")
		contains(t, b.run("mailstead", "plan"), "from which the host has returned: its apply was cut short")
	})
	phase("what the daemon has read is not what is there", func(t *testing.T) {
		describe("")
		apply(0)
		b.sh(`cd /var/lib/mailstead; cp -a users.ndjson /root/; sed -i s/vera/vero/g users.ndjson; mailstead-imapd ctl reload; cp -a /root/users.ndjson .`)
		contains(t, b.exit(2, "mailstead", "plan", "--detailed-exitcode").stdout, "! daemon/mailstead-imapd", "users ")
		contains(t, b.run("mailstead", "status"), "! users")
		apply(0)
		contains(t, b.run("mailstead", "status"), "In step.")
	})
	phase("a return to a user whose account is gone", func(t *testing.T) {
		b.sh(`useradd -m bob`)
		describe(`users: bob: {}`)
		apply(0)
		was := b.history().Current
		b.sh(`userdel -r bob`)
		describe(`mail: root: "/var/elsewhere"`)
		apply(7, "who are left out: bob", fmt.Sprintf("the host has returned to generation %d, which does", was))
		wantForce(was)
	})
}

// historyJSON is as much of "mailstead history -o json" as is looked at.
type historyJSON struct {
	Current     int
	Trying      *struct{ From, To int }
	Generations []struct{ Number int }
}

func (b *box) history() historyJSON {
	b.t.Helper()
	var h historyJSON
	if err := json.Unmarshal([]byte(b.run("mailstead", "history", "-o", "json")), &h); err != nil {
		b.t.Fatal(err)
	}
	return h
}

func (b *box) await(done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatal("not within a minute")
		}
	}
}

// killedProbing applies what is described and ends the apply by a signal while it probes: the
// password is in a FIFO that nobody writes to.
func (b *box) killedProbing(signal, after string) {
	b.t.Helper()
	b.sh(`mv /root/probe /root/password; mkfifo /root/probe
		mailstead apply --yes --return-after ` + after + ` > /dev/null 2>&1 & p=$!
		for i in $(seq 100); do grep -q killed /var/lib/mailstead/config.json && break; sleep 0.1; done; sleep 1
		kill -` + signal + ` $p; wait $p || true; rm /root/probe; mv /root/password /root/probe`)
	if h := b.history(); h.Trying == nil {
		b.t.Error("the apply was not killed in time")
	}
}
