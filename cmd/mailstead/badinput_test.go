package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wants runs a command, and wants its exit code and each of the patterns in what
// it says.
func (w *crashWorld) wants(code int, c *exec.Cmd, patterns ...string) {
	w.Helper()
	out, _ := c.CombinedOutput()
	if got := c.ProcessState.ExitCode(); got != code {
		w.Errorf("%q: exit %d, want %d", c.Args[1:], got, code)
	}
	for _, p := range patterns {
		if !regexp.MustCompile("(?m)" + p).Match(out) {
			w.Errorf("%q: no %s in:\n%s", c.Args[1:], p, out)
		}
	}
}

func (w *crashWorld) apply() *exec.Cmd {
	return exec.Command("mailstead", "apply", "--rootless", "--yes", filepath.Join(w.top, "first.cue"))
}

// TestDiskFull has no room at one point after the other: the error says what,
// where and what to do, nothing is torn, and with room one apply is enough.
func TestDiskFull(t *testing.T) {
	e2e(t, "root")
	for _, options := range []string{"size=8k", "size=24k", "size=40k", "nr_inodes=6", "nr_inodes=14", "nr_inodes=24", "nr_inodes=34", "nr_inodes=44"} {
		t.Run(strings.ReplaceAll(options, "=", " "), func(t *testing.T) {
			base := t.TempDir()
			mount(t, "tmpfs", base, "tmpfs", options)
			w := newCrashWorld(t, filepath.Join(base, "x"))
			c := w.apply()
			out, _ := c.CombinedOutput()
			if code := c.ProcessState.ExitCode(); code != 1 && code != 6 || !strings.Contains(string(out), "no space left on device") {
				t.Fatalf("exit %d:\n%s", code, out)
			}
			contains(t, string(out), w.dir, "hint: make room on that file system")
			if err := syscall.Mount("", base, "", syscall.MS_REMOUNT, "size=10m,nr_inodes=1000"); err != nil {
				t.Fatal(err)
			}
			w.mailstead(0, "apply", "first.cue", "--yes")
			w.mailstead(0, "plan", "first.cue", "--detailed-exitcode")
		})
	}
}

// TestReadOnly: what is as it should be needs no writing.
func TestReadOnly(t *testing.T) {
	e2e(t, "root")
	base := t.TempDir()
	mount(t, "tmpfs", base, "tmpfs", "")
	w := newCrashWorld(t, filepath.Join(base, "x"))
	remount := func(flags uintptr) {
		if err := syscall.Mount("", base, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	w.wants(1, w.apply(), `^mailstead: error: .*`+w.dir+`.*read-only file system$`, `^hint: .* mount it writable`)
	remount(0)
	w.mailstead(0, "apply", "first.cue", "--yes")
	remount(syscall.MS_RDONLY)
	w.mailstead(0, "apply", "first.cue", "--yes")
	w.wants(1, exec.Command("mailstead", "apply", "--rootless", "--yes", filepath.Join(w.top, "second.cue")), `read-only file system$`, `^hint: .* mount it writable`)
}

// TestNoPermission is an apply by somebody who may not write where it is to, and
// one by somebody who may not read the description.
func TestNoPermission(t *testing.T) {
	e2e(t, "root")
	w := newCrashWorld(t, filepath.Join(t.TempDir(), "x"))
	for dir := w.top; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		w.must(os.Chmod(dir, 0o755))
	}
	w.must(os.Chmod(filepath.Dir(w.dir), 0o755))
	bin, err := programs()
	w.must(err)
	as := func(args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bin, "mailstead"), args...)
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 43210, Gid: 43210, Groups: []uint32{}}}
		return c
	}
	description := filepath.Join(w.top, "first.cue")
	w.wants(1, as("apply", "--rootless", "--yes", description), `^mailstead: error: .*`+w.dir+`.*permission denied$`, `^hint: .* run it as root, or as the owner`)
	w.must(os.Chmod(description, 0o600))
	w.wants(3, as("validate", description), `^error\[input\]: cannot read .*first.cue: permission denied$`, `hint: run this as somebody who may read it`)
}

// TestMaildirIsFile: the mail of others is made all the same.
func TestMaildirIsFile(t *testing.T) {
	w := newCrashWorld(t, filepath.Join(t.TempDir(), "x"))
	w.must(os.MkdirAll(filepath.Join(w.dir, "mail/anna"), 0o700))
	w.must(os.WriteFile(filepath.Join(w.dir, "mail/anna/Maildir"), []byte("not mail\n"), 0o600))
	w.wants(6, w.apply(), `^  maildir/anna: not compared: `+w.dir+`/mail/anna/Maildir is not a directory: move it away$`, `^  maildir/carla: done$`)
	if data, err := os.ReadFile(filepath.Join(w.dir, "mail/anna/Maildir")); err != nil || string(data) != "not mail\n" {
		t.Errorf("the file: %q %v", data, err)
	}
	w.must(os.Rename(filepath.Join(w.dir, "mail/anna/Maildir"), filepath.Join(w.dir, "mail/anna/away")))
	w.wants(0, w.apply())
}

// TestCertificateLapses has a certificate run out between a plan and its apply:
// the old bundle is kept, and the error names the certificate and the day.
func TestCertificateLapses(t *testing.T) {
	w := newCrashWorld(t, filepath.Join(t.TempDir(), "x"))
	files := filepath.Join(w.top, "tls")
	w.must(os.Mkdir(files, 0o700))
	text := strings.Replace(strings.ReplaceAll(crashFirst, "DIR", w.dir), `"mail.example.org": selfSigned: {}`,
		`"mail.example.org": files: {certificate: "`+files+`/c.pem", key: "`+files+`/k.pem"}`, 1)
	w.must(os.WriteFile(filepath.Join(w.top, "first.cue"), []byte(text), 0o644))
	w.issue(files, time.Now().Add(time.Hour))
	w.wants(0, w.apply())
	bundle := filepath.Join(w.dir, "state/bundles/mail.example.org.pem")
	old, err := os.ReadFile(bundle)
	w.must(err)

	w.issue(files, time.Now().Add(3*time.Second))
	plan := filepath.Join(w.top, "saved.json")
	w.mailstead(0, "plan", "first.cue", "-o", plan)
	time.Sleep(4 * time.Second)
	w.wants(6, exec.Command("mailstead", "apply", "--rootless", plan), `certificate/mail\.example\.org`, `expired`)
	if data, err := os.ReadFile(bundle); err != nil || string(data) != string(old) {
		t.Errorf("the bundle was replaced by one that has lapsed: %v", err)
	}
	w.wants(6, w.apply(), `certificate/mail\.example\.org`, `expired`)
}

// issue writes a certificate and its key.
func (w *crashWorld) issue(dir string, until time.Time) {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.org"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	w.must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	w.must(err)
	for name, block := range map[string]*pem.Block{"c.pem": {Type: "CERTIFICATE", Bytes: cert}, "k.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		w.must(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}
