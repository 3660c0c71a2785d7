package bench_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/dialogue"
)

// patience is how many times as long as an import mbsync may take for the same.
const patience = 6

// TestBenchImport brings accounts over from a Dovecot on this machine: one of as many
// messages as MAILSTEAD_BENCH_IMPORT says and one of a tenth, each beside mbsync.
func TestBenchImport(t *testing.T) {
	if !chosen(t)("import") {
		t.Skip("no such row")
	}
	n, err := strconv.Atoi(cmp.Or(os.Getenv("MAILSTEAD_BENCH_IMPORT"), "200000"))
	if err != nil {
		t.Fatal(err)
	}
	list := people(3) // the whole account, a tenth of it, and nobody's
	source := newDovecot("dovecot", prepareMail(t, fmt.Sprint("import-", n), list, func(i int) int { return []int{n, n / 10, 0}[i] }), tuned)
	here := newMailstead(t, prepareMail(t, "import-here", list, func(int) int { return 0 }))
	t.Cleanup(func() { os.RemoveAll(here.dir) })
	source.people, here.people = list, list
	for _, s := range []*server{source, here} {
		s.up(t)
		t.Cleanup(s.down)
	}
	program := buildProgram(t, "mailstead")
	fmt.Println("| messages | mailstead import | at most | mbsync | ratio |\n|---|---|---|---|---|")
	for i, n := range []int{n / 10, n} {
		who := user(2 - i)
		took, memory := runImport(t, program, source, here, who)
		theirs, ratio := "–", "–"
		if os.Getenv("MAILSTEAD_E2E") == "1" {
			d, ended := runMbsync(t, source, who, patience*took)
			theirs, ratio = show(d), fmt.Sprintf("%.1f", float64(d)/float64(took))
			if !ended {
				theirs, ratio = "not within "+theirs, "more than "+ratio
			}
		}
		fmt.Printf("| %d | %s | %d MiB | %s | %s |\n", n, show(took), memory>>20, theirs, ratio)
	}
}

// runImport brings all that a user has, and gives how long that took and the most
// memory of the process that did it.
func runImport(t *testing.T, program string, from, to *server, user string) (took time.Duration, memory int64) {
	t.Helper()
	host, port, _ := net.SplitHostPort(from.address)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "import", "--config", filepath.Join(to.dir, "config.json"), "-u", user,
		"--from", fmt.Sprintf("imap://%s@%s:%s", user, host, port), "--tls", "none", "--password-file", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil || !strings.Contains(out.String(), "messages brought.") {
				t.Fatalf("import: %v\n%s", err, out.String())
			}
			return time.Since(begun), memory
		case <-time.After(100 * time.Millisecond):
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
			for _, thread := range threads {
				children, _ := os.ReadFile(thread)
				for _, pid := range strings.Fields(string(children)) {
					memory = max(memory, mostMemory(pid))
				}
			}
		}
	}
}

// mostMemory is the most that a process has had in memory so far, in octets.
func mostMemory(pid string) int64 {
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(f[0], 10, 64)
	return kib << 10
}

// runMbsync has mbsync bring the same into a Maildir, and ends it after most.
func runMbsync(t *testing.T, from *server, user string, most time.Duration) (took time.Duration, ended bool) {
	t.Helper()
	dir, err := os.MkdirTemp(benchDir(), "mbsync")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	host, port, _ := net.SplitHostPort(from.address)
	rc := fmt.Sprintf(`IMAPAccount a
Host %s
Port %s
User %s
Pass %s
SSLType None
AuthMechs LOGIN

IMAPStore far
Account a

MaildirStore near
Path /mnt/near/
Inbox /mnt/near/INBOX

Channel c
Far :far:
Near :near:
Create Near
SyncState *
`, host, port, user, password)
	if err := os.WriteFile(filepath.Join(dir, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `mkdir -p "$1/near"; mount --bind "$1" "$2/mnt"; exec chroot "$2" env -i HOME=/mnt PATH=/usr/bin:/bin mbsync -q -c /mnt/rc c`
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	begun := time.Now()
	out, err := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-ec", script, "sh", dir, filepath.Join(dialogue.LabDir(t), "root")).CombinedOutput()
	took = time.Since(begun)
	if err != nil && ctx.Err() == nil {
		t.Fatalf("mbsync: %v\n%s", err, out)
	}
	return took, err == nil
}
