package kind

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailstead/reconcile"
)

// writerEnv names the directory in which processes of the tests below write
// bundles, and from which source and how often.
const writerEnv = "MAILSTEAD_TEST_WRITER"

// writerSpec is a certificate with a chain, from one of two sources.
func writerSpec(dir, source string) CertificateSpec {
	return CertificateSpec{
		Name: "mail.example.org", Names: []string{"mail.example.org"}, Source: Files,
		Certificate: filepath.Join(dir, source+".chain"), Key: filepath.Join(dir, source+".key"),
		Bundle: filepath.Join(dir, "bundles", "mail.example.org.pem"), Stitched: filepath.Join(dir, "bundles", "stitched.pem"),
	}
}

// writeBundles applies the sources of the arguments ("a", "b", ...) one after
// the other.
func writeBundles(args string) {
	f := strings.Fields(args)
	for _, source := range f[1:] {
		if err := writeBundle(f[0], source); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// writeBundle applies one. That the other writer was faster is no failure.
func writeBundle(dir, source string) error {
	var h Host
	ctx, state, spec := context.Background(), filepath.Join(dir, "state"), writerSpec(dir, source)
	p, err := reconcile.Compare(ctx, reconcile.Inputs{
		Want: []reconcile.Resource{Certificate(spec, ReadCertificate(ctx, spec), "")}, Table: h.Table(), State: state,
	})
	if err != nil {
		return err
	}
	r, err := reconcile.Apply(ctx, p, reconcile.Options{Table: h.Table(), State: state, Wait: time.Minute})
	if errors.Is(err, reconcile.ErrBehind) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, o := range r.Outcomes {
		if o.Err != nil && !errors.Is(o.Err, reconcile.ErrChanged) {
			return o.Err
		}
	}
	return nil
}

// bundleBench has two sources, whose certificates one authority has issued.
type bundleBench struct {
	*bench
	ca   *authority
	text map[string]string // of the bundle by source
}

func newBundleBench(t *testing.T) *bundleBench {
	t.Helper()
	e2e(t)
	b := &bundleBench{newBench(t), newAuthority(t), map[string]string{}}
	b.issue()
	return b
}

func (b *bundleBench) issue() {
	b.Helper()
	b.must(os.MkdirAll(b.path("bundles"), 0o700))
	for _, source := range []string{"a", "b"} {
		key := b.ca.newKey(elliptic.P256())
		chain := certPEM(b.ca.leaf(key.Public(), 90, "mail.example.org"), b.ca.cert)
		b.must(os.WriteFile(b.path(source+".chain"), []byte(chain), 0o600))
		b.must(os.WriteFile(b.path(source+".key"), []byte(keyPEM(b.T, key)), 0o600))
		b.text[source] = keyPEM(b.T, key) + chain
	}
}

// write starts a process that applies the sources.
func (b *bundleBench) write(sources []string, under ...string) *exec.Cmd {
	args := append(under, os.Args[0])
	c := exec.Command(args[0], args[1:]...)
	c.Env = append(os.Environ(), writerEnv+"="+b.dir+" "+strings.Join(sources, " "), "GOMAXPROCS=1")
	return c
}

// look reads both files as other programs do: each is one of the two bundles,
// whose key is the leaf's and whose chain verifies.
func (b *bundleBench) look(at string) {
	b.Helper()
	for _, name := range []string{"mail.example.org.pem", "stitched.pem"} {
		data, err := os.ReadFile(b.path("bundles", name))
		if err != nil || string(data) != b.text["a"] && string(data) != b.text["b"] {
			b.Errorf("%s: %s is neither the old nor the new one: %v\n%.60q", at, name, err, data)
			continue
		}
		p, faults := parsePair(name, data, name, data)
		roots := x509.NewCertPool()
		roots.AddCert(b.ca.cert)
		if _, err := p.chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: "mail.example.org"}); err != nil || len(faults) > 0 || !p.matches() {
			b.Errorf("%s: %s is torn: %v %v", at, name, faults, err)
		}
	}
}

// TestBundleKilled kills a writer at each of its system calls that change
// something. There is the old or the new bundle, and the next run ends the work.
func TestBundleKilled(t *testing.T) {
	b := newBundleBench(t)
	killed := 0
	for _, call := range []string{"openat", "write", "fchown", "fchmod", "fsync", "renameat", "unlinkat"} {
		for n := 1; ; n++ {
			b.must(writeBundle(b.dir, "a"))
			out, err := b.write([]string{"b"}, "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace="+call,
				"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n)).CombinedOutput()
			at := fmt.Sprintf("%s %d", call, n)
			b.look(at)
			b.must(writeBundle(b.dir, "b"))
			if entries, err := os.ReadDir(b.path("bundles")); err != nil || len(entries) != 2 || b.content(b.path("bundles", "stitched.pem")) != b.text["b"] {
				t.Errorf("%s: after another run: %v %v", at, entries, err)
			}
			if err == nil {
				break // it was not called as often by any thread
			}
			if exit, ok := err.(*exec.ExitError); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%s: %v\n%s", at, err, out)
			}
			killed++
		}
	}
	if t.Logf("killed %d times", killed); killed < 20 {
		t.Error("that is too few")
	}
}

// TestBundleOfTwoWriters has two processes replace the bundle in turns, as fast
// as they can, while it is read 10,000 times.
func TestBundleOfTwoWriters(t *testing.T) {
	b := newBundleBench(t)
	b.must(writeBundle(b.dir, "a"))
	var turns []string
	for range 500 {
		turns = append(turns, "a", "b")
	}
	writers := []*exec.Cmd{b.write(turns), b.write(turns[1:])}
	for _, w := range writers {
		w.Stderr = os.Stderr
		b.must(w.Start())
	}
	seen := map[string]int{}
	for n := 0; n < 10000 && !t.Failed(); n++ {
		b.look(fmt.Sprintf("look %d", n))
		seen[b.content(b.path("bundles", "stitched.pem"))]++
	}
	for _, w := range writers {
		w.Process.Signal(syscall.SIGTERM)
		if err := w.Wait(); err != nil && w.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Error(err)
		}
	}
	if len(seen) != 2 {
		t.Error("only one of the bundles was ever there")
	}
}

// TestBundleOnFullDisk: the old one stays, nothing is left behind, and with room
// the next run ends the work.
func TestBundleOnFullDisk(t *testing.T) {
	b := newBundleBench(t)
	disk := b.path("bundles")
	b.must(syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=32k,mode=700"))
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	b.must(writeBundle(b.dir, "a"))
	filler := filepath.Join(disk, "filler")
	for _, room := range []int{0, 1} { // pages
		f, err := os.Create(filler)
		b.must(err)
		for err == nil {
			_, err = f.Write(make([]byte, os.Getpagesize()))
		}
		st, _ := f.Stat()
		b.must(f.Truncate(st.Size() - int64(room*os.Getpagesize())))
		b.must(f.Close())
		if err := writeBundle(b.dir, "b"); (room == 0) != errors.Is(err, syscall.ENOSPC) {
			t.Errorf("with room for %d pages: %v", room, err)
		}
		b.look("on a full disk")
		if entries, err := os.ReadDir(disk); err != nil || len(entries) != 3 {
			t.Errorf("left behind: %v %v", entries, err)
		}
		b.must(os.Remove(filler))
		b.must(writeBundle(b.dir, "b"))
		b.must(writeBundle(b.dir, "a"))
	}
}
