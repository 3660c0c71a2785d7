package main_test

import (
	"fmt"
	"strings"
	"testing"
)

// plannedHost is a host with virtual users and a certificate of its own making.
func plannedHost(listeners string, users ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "hosts: \"mail.example.org\": {\n\tlisteners: {%s}\n\ttls: certificates: \"mail.example.org\": selfSigned: {}\n", listeners)
	for _, u := range users {
		fmt.Fprintf(&b, "\tusers: %s: password: hash: %q\n", u, "$argon2id$v=19$m=19456,t=2,p=1$N3hKIGORB451CWPPKZwRMw$IfTEqLf8Ud/MG9JJRJLVq+NBs7shwRCMYLhpGxRSL7M")
	}
	b.WriteString("}\n")
	return b.String()
}

// TestPlanFileOnHost saves plans on a host that systemd runs, changes what they
// are about behind their backs, and kills what carries them out.
func TestPlanFileOnHost(t *testing.T) {
	t.Parallel()
	b := newBox(t, "planfile")
	const both = `imap: {}, submission: {port: 1430, tls: "starttls"}`
	b.write("/etc/mailstead/host.cue", plannedHost("imap: {}", "anna"))
	pendings := func(code int) { t.Helper(); b.exit(code, "mailstead", "plan", "--detailed-exitcode") }

	// The first of all applies can be one of a saved plan.
	b.run("mailstead", "plan", "-o", "first.plan")
	b.run("mailstead", "apply", "first.plan")
	pendings(0)
	contains(t, b.exit(4, "mailstead", "apply", "first.plan").stderr, "the plan was applied whole on ")

	// A file that was edited since is left alone, and so is what needs it.
	b.write("/etc/mailstead/host.cue", plannedHost(both, "anna", "bob"))
	b.run("mailstead", "plan", "-o", "two.plan")
	b.sh(`echo '# edited' >> /var/lib/mailstead/config.json`)
	r := b.try("", "mailstead", "apply", "two.plan")
	contains(t, r.stderr, "daemon-config//var/lib/mailstead/config.json: changed since the plan was made: line ", "# edited")
	if r.code != 6 && r.code != 7 {
		t.Errorf("exit %d", r.code)
	}
	b.sh(`sed -i '/^# edited/d' /var/lib/mailstead/config.json`)

	// Killed at any moment, it goes on.
	b.write("/etc/mailstead/host.cue", plannedHost(both, "anna", "bob", "carol"))
	b.run("mailstead", "plan", "-o", "three.plan")
	for _, after := range []string{"0.05", "0.2", "0.4", "0.7"} {
		b.try("", "timeout", "-s", "KILL", after, "mailstead", "apply", "three.plan")
	}
	if r := b.try("", "mailstead", "apply", "three.plan"); r.code != 0 && (r.code != 4 || !strings.Contains(r.stderr, "applied whole")) {
		t.Errorf("after kills: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	pendings(0)
	contains(t, b.run("mailstead", "status"), "In step.")

	// So does one that was killed when all was done and nothing proven yet.
	b.sh(`cd /var/lib/mailstead/generations; n=$(readlink current); ln -sfn $((n-1)) current; echo "{\"id\":\"CUT\",\"from\":$((n-1)),\"to\":$n}" > trying.json
python3 -c 'import json; f="../plans.json"; p=json.load(open(f)); del p["plans"][-1]["done"]; json.dump(p, open(f, "w"))'`)
	b.exit(0, "mailstead", "apply", "three.plan")
	contains(t, b.run("mailstead", "status"), "In step.")
	b.exit(4, "mailstead", "apply", "three.plan")

	// A file that bears our name and not our mark is somebody else's.
	b.sh(`systemctl stop mailstead-imap.socket mailstead-imapd.service; rm /var/lib/mailstead/inventory.json; printf '[Socket]\nListenStream=1143\n' > /etc/systemd/system/mailstead-imap.socket`)
	contains(t, b.exit(6, "mailstead", "apply", "--yes").stdout, "mailstead-imap.socket is there, and Mailstead did not write it", "mailstead apply --take 'unit/mailstead-imap.socket'")
	contains(t, b.sh("cat /etc/systemd/system/mailstead-imap.socket"), "1143")
	b.run("mailstead", "apply", "--yes", "--take", "unit/mailstead-imap.socket")
	pendings(0)
}
