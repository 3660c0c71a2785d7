package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/maildir"
)

// TestDeliverByDovecot: Dovecot's own delivery agent, by the snippet, puts mail into
// a Maildir of ours, and keeps to its limits.
func TestDeliverByDovecot(t *testing.T) {
	e2e(t, "root")
	const lda = "/usr/lib/dovecot/dovecot-lda"
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("/tmp", "lda") // which another user may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	top := filepath.Join(home, "Maildir")
	for _, dir := range []string{top, filepath.Join(top, ".Größe")} {
		if err := maildir.MakeTree(dir, dir != top); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("Maildir/maildirsize", "1000000S,3C\n           0            0\n")
	description := write("host.cue", `hosts: "mail.example.org": {listeners: imap: {port: 2143, address: "127.0.0.1", tls: "none"}, users: alice: {}, deliver: {}}`+"\n")
	snippet, err := exec.Command(filepath.Join(bin, "mailstead"), "snippet", "dovecot-lda", description).Output()
	if err != nil {
		t.Fatal(err)
	}
	conf := write("dovecot.conf", "base_dir = "+home+"/run\nlog_path = /dev/stderr\nssl = no\n"+string(snippet))
	if out, err := exec.Command("chown", "-R", "20000:20000", home).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	deliver := func(args ...string) (int, string) {
		// Dovecot runs on no machine that has no name.
		become := []string{"--uts", "sh", "-c", `hostname mail; exec setpriv --reuid 20000 --regid 20000 --clear-groups "$@"`, "sh", lda, "-c", conf, "-f", "s@example.net"}
		cmd := exec.Command("unshare", append(become, args...)...)
		cmd.Env = []string{"HOME=" + home, "USER=alice", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		cmd.Stdin = strings.NewReader("Subject: x\n\nhi\n")
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	for n, args := range [][]string{{}, {"-m", "Größe"}, {"-m", "Nowhere"}, {}} {
		if code, out := deliver(args...); (code == 0) != (n < 3) || n == 3 && !strings.Contains(strings.ToLower(out), "quota") {
			t.Errorf("message %d: exit %d: %s", n, code, out)
		}
	}
	for box, want := range map[string]int{"": 2, ".Größe": 1} {
		if got, _ := filepath.Glob(filepath.Join(top, box, "new", "*")); len(got) != want {
			t.Errorf("%q has %d messages, want %d", box, len(got), want)
		}
	}
	file := maildir.NewSizeFile(top, &maildir.Ops{})
	if err := file.Refresh(); err != nil || file.Used.Messages != 3 || file.Limits.Messages != 3 || file.Limits.Octets != 1_000_000 {
		t.Errorf("%+v of %+v, %v", file.Used, file.Limits, err)
	}
}
