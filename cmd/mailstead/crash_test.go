package main_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Two descriptions of a host below a directory, between which nearly everything
// changes.
const (
	crashFirst = `hosts: "mail.example.org": {
	listeners: imap: {address: "127.0.0.1", port: 21143}
	tls: certificates: {"mail.example.org": selfSigned: {}, "old.example.org": selfSigned: {}}
	users: {anna: password: hash: _hash, carla: password: hash: _hash}
	folders: Sent: use: "sent"
	mail: root: "DIR/mail"
	paths: {state: "DIR/state", run: "DIR/run"}
}
` + crashHash
	crashSecond = `hosts: "mail.example.org": {
	listeners: imaps: {address: "127.0.0.1", port: 21993}
	tls: certificates: {"mail.example.org": {selfSigned: {}, names: ["mail.example.org", "imap.example.org"]}, "new.example.org": selfSigned: {}}
	users: {anna: password: hash: _hash, bob: password: hash: _hash}
	folders: {Sent: use: "junk", "Archive.2026": {}}
	mail: root: "DIR/mail"
	paths: {state: "DIR/state", run: "DIR/run"}
	namespace: "INBOX."
}
` + crashHash
	crashHash = `_hash: "$argon2id$v=19$m=19456,t=2,p=1$N3hKIGORB451CWPPKZwRMw$IfTEqLf8Ud/MG9JJRJLVq+NBs7shwRCMYLhpGxRSL7M"
`
)

// crashWorld is a host without root below dir, with the descriptions beside it.
type crashWorld struct {
	*testing.T
	top, dir string
}

func newCrashWorld(t *testing.T, dir string) *crashWorld {
	t.Helper()
	w := &crashWorld{T: t, top: t.TempDir(), dir: dir}
	for name, text := range map[string]string{"first.cue": crashFirst, "second.cue": crashSecond} {
		w.must(os.WriteFile(filepath.Join(w.top, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644))
	}
	return w
}

func (w *crashWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// mailstead runs a command that must end with the code.
func (w *crashWorld) mailstead(code int, verb, description string, flags ...string) string {
	w.Helper()
	c := exec.Command("mailstead", append([]string{verb, "--rootless", filepath.Join(w.top, description)}, flags...)...)
	out, _ := c.CombinedOutput()
	if got := c.ProcessState.ExitCode(); got != code {
		w.Fatalf("%s %s: exit %d, want %d\n%s", verb, description, got, code, out)
	}
	return string(out)
}

// kill applies and is killed at the nth call that writes; 0 is at none. It gives
// the number of calls, and whether it came to an end.
func (w *crashWorld) kill(n int, filesystem, description string) (calls int, whole bool) {
	w.Helper()
	c := exec.Command("mailstead-killer", strconv.Itoa(n), filesystem, "mailstead", "apply", "--rootless", "--yes", filepath.Join(w.top, description))
	var stderr bytes.Buffer
	c.Stderr = &stderr
	err := c.Run()
	lines := strings.Fields(stderr.String())
	if code := c.ProcessState.ExitCode(); err != nil && code != 137 || len(lines) == 0 {
		w.Fatalf("kill at %d: %v\n%s", n, err, &stderr)
	}
	calls, _ = strconv.Atoi(lines[len(lines)-1])
	return calls, err == nil
}

// deliver puts mail where the first description has it.
func (w *crashWorld) deliver() {
	w.Helper()
	for i, dir := range []string{"anna/Maildir/cur", "anna/Maildir/.Sent/cur", "carla/Maildir/new"} {
		name := filepath.Join(w.dir, "mail", dir, fmt.Sprintf("179544500%d.M1P1.host,S=9:2,S", i))
		w.must(os.WriteFile(name, fmt.Appendf(nil, "Subject: %d\n\nbody\n", i), 0o600))
	}
	unix.Sync()
}

// mail gives every message with its digest.
func (w *crashWorld) mail() string {
	w.Helper()
	var b strings.Builder
	w.must(filepath.WalkDir(filepath.Join(w.dir, "mail"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, "host,S=9") {
			var data []byte
			data, err = os.ReadFile(path)
			fmt.Fprintf(&b, "%s %x\n", path, sha256.Sum256(data))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing has been made yet
		}
		return err
	}))
	return b.String()
}

// files gives what shows whether anything was written.
func (w *crashWorld) files() string {
	w.Helper()
	var b strings.Builder
	w.must(filepath.WalkDir(w.dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		fmt.Fprintln(&b, path, st.Ino, st.Mode, st.Size, st.Mtim, st.Ctim)
		return err
	}))
	return b.String()
}

// recovered checks what a kill left, and that one apply mends it: after that two
// more write nothing.
func (w *crashWorld) recovered(at, mail string) {
	w.Helper()
	if now := w.mail(); now != mail {
		w.Fatalf("%s: mail was\n%s, is\n%s", at, mail, now)
	}
	bundle := filepath.Join(w.dir, "state/bundles/mail.example.org.pem")
	if _, err := tls.LoadX509KeyPair(bundle, bundle); err != nil && (mail != "" || !errors.Is(err, fs.ErrNotExist)) {
		w.Errorf("%s: the bundle is no pair: %v", at, err)
	}
	w.mailstead(0, "apply", "second.cue", "--yes")
	before := w.files()
	for range 2 {
		w.mailstead(0, "apply", "second.cue", "--yes")
		if after := w.files(); after != before {
			w.Fatalf("%s: applied again, it writes:\n%s", at, lineDiff(before, after))
		}
	}
	w.mailstead(0, "plan", "second.cue", "--detailed-exitcode")
	if now := w.mail(); now != mail {
		w.Fatalf("%s: mail was\n%s, is\n%s", at, mail, now)
	}
	for _, gone := range []string{"bundles/old.example.org.pem", "bundles/mail.example.org.pem.mailstead~", "config.json.mailstead~"} {
		if _, err := os.Lstat(filepath.Join(w.dir, "state", gone)); !errors.Is(err, fs.ErrNotExist) {
			w.Errorf("%s: %s is left: %v", at, gone, err)
		}
	}
}

// some gives the numbers from 1 to n: all of them with MAILSTEAD_CRASH, else
// about as many as asked for, evenly.
func some(n, about int) (list []int) {
	step := max(1, n/about)
	if os.Getenv("MAILSTEAD_CRASH") != "" {
		step = 1
	}
	for i := 1; i <= n; i += step {
		list = append(list, i)
	}
	return list
}

// mount mounts a file system for as long as the test runs.
func mount(t *testing.T, source, target, fstype, data string) {
	t.Helper()
	if err := syscall.Mount(source, target, fstype, 0, data); err != nil {
		t.Fatalf("mount %s: %v", fstype, err)
	}
	t.Cleanup(func() { syscall.Unmount(target, syscall.MNT_DETACH) })
}

// TestKilledAtEveryCall kills an apply as it is about to make its first, second,
// ... system call that writes. Nothing is torn, one more apply is enough, and
// the plan before it says what was interrupted.
func TestKilledAtEveryCall(t *testing.T) {
	e2e(t, "root")
	base := t.TempDir()
	mount(t, "tmpfs", base, "tmpfs", "")
	w := newCrashWorld(t, filepath.Join(base, "x"))
	w.killEverywhere("", 10)
	w.must(os.RemoveAll(w.dir))
	w.mailstead(0, "apply", "first.cue", "--yes")
	w.deliver()
	saved := filepath.Join(base, "saved")
	w.must(exec.Command("cp", "-a", w.dir, saved).Run())
	w.killEverywhere(saved, 15)
}

// killEverywhere kills applies to the host that is saved, or to nothing if none is.
func (w *crashWorld) killEverywhere(saved string, about int) {
	w.Helper()
	mail := ""
	restore := func() {
		w.must(os.RemoveAll(w.dir))
		if saved != "" {
			w.must(exec.Command("cp", "-a", saved, w.dir).Run())
			mail = w.mail()
		}
	}
	restore()
	calls, _ := w.kill(0, "-", "second.cue")
	said := 0
	for _, n := range some(calls, about) {
		restore()
		if _, whole := w.kill(n, "-", "second.cue"); whole {
			continue // the Go runtime writes to wake itself, now and then
		}
		if strings.Contains(w.mailstead(0, "plan", "second.cue"), " was interrupted ") {
			said++
		}
		w.recovered(fmt.Sprintf("killed at call %d of %d", n, calls), mail)
	}
	w.Logf("%d calls; the next plan spoke of %d interruptions", calls, said)
	if calls < 80 || said == 0 {
		w.Errorf("%d calls, %d interruptions told", calls, said)
	}
}

// disk is an ext4 file system in a file, mounted on a directory.
type disk struct {
	*crashWorld
	image, at string
	rounds    int
}

// mount mounts a copy of an image. It is never the file that was mounted before:
// as long as a container that was started meanwhile has a copy of that mount, the
// kernel gives the same file system back, as it was.
func (d *disk) mount(image string) {
	d.Helper()
	d.rounds++
	last := d.image
	d.image = fmt.Sprintf("%s.%d", d.at, d.rounds)
	d.must(exec.Command("cp", "--sparse=always", image, d.image).Run())
	if last != "" {
		d.must(os.Remove(last))
	}
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.at).CombinedOutput(); err != nil {
		d.Fatalf("mount: %v\n%s", err, out)
	}
}

func (d *disk) unmount() {
	d.Helper()
	if out, err := exec.Command("umount", d.at).CombinedOutput(); err != nil {
		d.Fatalf("umount: %v\n%s", err, out)
	}
}

// again is what the machine does when the power comes back.
func (d *disk) again() {
	d.Helper()
	d.unmount()
	d.mount(d.image)
}

// TestPowerCut cuts the power as an apply is about to write: the file system
// loses what no sync has written. What an apply that ended had made is there,
// what one was at is the old or the new, and one more apply is enough.
func TestPowerCut(t *testing.T) {
	e2e(t, "root")
	base := t.TempDir()
	mount(t, "tmpfs", base, "tmpfs", "")
	d := &disk{at: filepath.Join(base, "disk")}
	d.crashWorld = newCrashWorld(t, filepath.Join(d.at, "x"))
	d.must(os.Mkdir(d.at, 0o755))
	saved := filepath.Join(base, "saved")
	d.must(os.WriteFile(saved, nil, 0o600))
	d.must(os.Truncate(saved, 24<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", saved).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	d.mount(saved)
	t.Cleanup(func() { exec.Command("umount", "-l", d.at).Run() })

	d.kill(0, d.at, "first.cue")
	d.again()
	d.mailstead(0, "plan", "first.cue", "--detailed-exitcode")
	d.deliver()
	mail := d.mail()
	d.unmount()
	d.must(exec.Command("cp", "--sparse=always", d.image, saved).Run())

	d.mount(saved)
	calls, _ := d.kill(0, d.at, "second.cue")
	d.again()
	d.mailstead(0, "plan", "second.cue", "--detailed-exitcode")
	for _, n := range some(calls, 9) {
		d.unmount()
		d.mount(saved)
		d.kill(n, d.at, "second.cue")
		d.again()
		d.recovered(fmt.Sprintf("power cut at call %d of %d", n, calls), mail)
	}
}
