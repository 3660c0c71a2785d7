package kind

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailstead/reconcile"
)

// applyEnv names the directory in which a process of TestKilledAnywhere applies.
const applyEnv = "MAILSTEAD_TEST_APPLY"

// killWorld describes a host below a directory, before (1) and after (2) a change
// of nearly everything.
func killWorld(dir string, n int) []reconcile.Resource {
	m := MaildirSpec{User: "vera", Home: dir + "/vmail/vera", Path: dir + "/vmail/vera/Maildir", UID: os.Getuid(), GID: os.Getgid()}
	spec := CertificateSpec{
		Name: "a.example", Names: []string{"a.example", fmt.Sprintf("n%d.example", n)}, Source: SelfSigned, Days: 90,
		Bundle: dir + "/bundles/a.pem", Stitched: fmt.Sprintf("%s/bundles/stitched%d.pem", dir, n),
	}
	want := []reconcile.Resource{
		Directory(dir+"/bundles", 0o700, "", "", ""),
		Directory(dir+"/vmail", 0o750, "", "", ""),
		Directory(fmt.Sprintf("%s/only%d", dir, n), 0o755, "", "", ""),
		virtual(m),
		Folder(m, FolderSpec{Name: "Sent", Use: []string{"sent", "trash"}[n-1], Subscribed: true}, ""),
		Folder(m, FolderSpec{Name: fmt.Sprint("Box", n), Use: "junk", Subscribed: true}, ""),
		Certificate(spec, ReadCertificate(context.Background(), spec), ""),
		File("password-file", FileSpec{Path: dir + "/users", Mode: 0o600, Content: []byte(strings.Repeat(fmt.Sprintf("user %d\n", n), 1000)), Secret: true}, ""),
		File("file", FileSpec{Path: fmt.Sprintf("%s/only%d/f", dir, n), Mode: 0o644, Content: []byte("x")}, ""),
	}
	return want
}

// applyAndExit is the process that is killed.
func applyAndExit(dir string) {
	var h Host
	p, err := reconcile.Compare(context.Background(), reconcile.Inputs{Want: killWorld(dir, 2), Table: h.Table(), State: dir + "/state"})
	if err == nil {
		var r *reconcile.Report
		if r, err = reconcile.Apply(context.Background(), p, reconcile.Options{Table: h.Table(), State: dir + "/state"}); err == nil {
			err = r.Err()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestKilledAnywhere kills an apply at the first, second, ... call of every
// system call that changes something. There is the old or the new of everything,
// the bundle is a pair, and one more apply makes it all as wanted.
func TestKilledAnywhere(t *testing.T) {
	e2e(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, call := range []string{"mkdirat", "openat", "openat2", "write", "fchmod", "fchown", "fsync", "syncfs", "renameat", "unlinkat", "flock"} {
		for n := 1; ; n++ {
			b := newBench(t)
			b.apply(killWorld(b.dir, 1)...)
			c := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace="+call,
				"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n), os.Args[0])
			c.Env = append(os.Environ(), applyEnv+"="+b.dir, "GOMAXPROCS=1")
			out, err := c.CombinedOutput()
			b.checkKilled(fmt.Sprintf("%s %d", call, n))
			os.RemoveAll(b.dir)
			if err == nil {
				break // it was not called as often by any thread
			}
			if exit, ok := err.(*exec.ExitError); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%s %d: %v\n%s", call, n, err, out)
			}
			killed++
		}
	}
	t.Logf("killed %d times", killed)
	if killed < 50 {
		t.Errorf("killed %d times only", killed)
	}
}

func (b *bench) checkKilled(at string) {
	b.Helper()
	users := b.content(b.path("users"))
	for n := 1; n <= 2; n++ {
		users = strings.TrimPrefix(users, strings.Repeat(fmt.Sprintf("user %d\n", n), 1000))
	}
	if users != "" {
		b.Errorf("%s: the users are torn: %.40q", at, users)
	}
	bundle := b.path("bundles", "a.pem")
	if _, err := tls.LoadX509KeyPair(bundle, bundle); err != nil {
		b.Errorf("%s: the bundle is torn: %v", at, err)
	}
	b.apply(killWorld(b.dir, 2)...)
	for _, gone := range []string{"only1", "bundles/stitched1.pem"} {
		if _, err := os.Lstat(b.path(gone)); err == nil {
			b.Errorf("%s: %s is still there", at, gone)
		}
	}
	for dir, want := range map[string]int{"bundles": 2, "only2": 1} {
		if entries, err := os.ReadDir(b.path(dir)); err != nil || len(entries) != want {
			b.Errorf("%s: in %s are %v %v", at, dir, entries, err)
		}
	}
	subs := b.content(filepath.Join(b.dir, "vmail/vera/Maildir/courierimapsubscribed"))
	if subs != "INBOX.Sent\nINBOX.Box1\nINBOX.Box2\n" {
		b.Errorf("%s: subscriptions %q", at, subs)
	}
}
