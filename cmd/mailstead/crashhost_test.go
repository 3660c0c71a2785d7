package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestKilledOnHost kills an apply under a real systemd, with its helper, as it
// is about to make one of its system calls that write: files, accounts, mail of
// a user and units change to and fro between two descriptions. The next apply
// ends what was begun, the user can log in, and nothing is left to do.
func TestKilledOnHost(t *testing.T) {
	t.Parallel()
	b := newBox(t, "kill")
	if out, err := exec.Command("cp", os.Args[0], filepath.Join(b.root(), "usr/local/bin/mailstead-killer")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.sh(`useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd`)
	other := strings.NewReplacer("imap: {}", `{imap: {}, imaps: {}}`, `use: "sent"`, `use: "junk"`, "folders:", "namespace: \"INBOX.\"\n\tfolders: \"Work.2026\": {}\n\tfolders:",
		"selfSigned: {}", `{names: ["mail.example.org", "imap.example.org"], selfSigned: {}}`).Replace(selfMade)
	descriptions := []string{selfMade, other}
	for i, d := range descriptions {
		b.write(fmt.Sprintf("/root/%d.cue", i), d)
	}
	b.exit(0, "mailstead", "apply", "--yes", "/root/0.cue")
	b.sh(`printf 'Subject: hi\n\nx\n' | su alice -c 'cat > ~/Maildir/cur/1.M1P1.host:2,S'`)
	mail := b.sh(`find /home/alice/Maildir -name '*host*' | xargs sha256sum`)

	apply := func(n, to int) (calls int) {
		t.Helper()
		r := b.try("", "mailstead-killer", strconv.Itoa(n), "-", "mailstead", "apply", "--yes", fmt.Sprintf("/root/%d.cue", to))
		lines := strings.Fields(r.stderr)
		if r.code != 0 && r.code != 137 || len(lines) == 0 {
			t.Fatalf("killed at %d: exit %d\n%s%s", n, r.code, r.stdout, r.stderr)
		}
		calls, _ = strconv.Atoi(lines[len(lines)-1])
		return calls
	}
	to := 1
	calls := max(apply(0, 1), apply(0, 0))
	for _, n := range some(calls, 4) {
		apply(n, to)
		description := fmt.Sprintf("/root/%d.cue", to)
		b.exit(0, "mailstead", "apply", "--yes", description)
		b.exit(0, "mailstead", "plan", "--detailed-exitcode", description)
		b.run("python3", "-c", "import imaplib, ssl\n"+loginSelf)
		contains(t, b.run("mailstead", "status", description), "In step.")
		if now := b.sh(`find /home/alice/Maildir -name '*host*' | xargs sha256sum`); now != mail {
			t.Fatalf("killed at %d: mail was\n%s, is\n%s", n, mail, now)
		}
		to = 1 - to
	}
	t.Logf("%d calls", calls)
	if calls < 150 {
		t.Errorf("only %d calls", calls)
	}
}
