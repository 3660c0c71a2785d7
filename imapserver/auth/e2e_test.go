package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lab is the file system of a Debian host with the servers that may know users,
// for daemons to run in by chroot. It is gone when the test ends.
func lab(t *testing.T) string {
	t.Helper()
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("needs root and a Debian host with slapd, saslauthd and authdaemond (.ci/lab): set MAILSTEAD_E2E=1")
	}
	dir := os.Getenv("MAILSTEAD_LAB")
	if dir == "" {
		dir = "/var/cache/mailstead-lab"
	}
	if _, err := os.Stat(filepath.Join(dir, "directory.stamp")); err != nil {
		t.Fatalf("no lab: %v (make it with .ci/lab %s)", err, dir)
	}
	base := t.TempDir()
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(syscall.Mount("tmpfs", base, "tmpfs", 0, ""))
	t.Cleanup(func() { syscall.Unmount(base, syscall.MNT_DETACH) })
	for _, d := range []string{"up", "work", "root"} {
		try(os.Mkdir(filepath.Join(base, d), 0o755))
	}
	root := filepath.Join(base, "root")
	try(syscall.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s/directory,upperdir=%s/up,workdir=%s/work", dir, base, base)))
	t.Cleanup(func() { syscall.Unmount(root, syscall.MNT_DETACH) })
	return root
}

// inside prepares a program in the lab.
func inside(root string, args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Path = args[0]
	cmd.Err = nil
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// sh runs a script in the lab that must succeed.
func sh(t *testing.T, root, script string) string {
	t.Helper()
	out, err := inside(root, "/bin/sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// start runs a daemon of the lab in the foreground until the test or end ends it,
// and waits until somebody listens.
func start(t *testing.T, network, address, root string, args ...string) (cmd *exec.Cmd, end func()) {
	t.Helper()
	cmd = inside(root, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := false
	end = func() {
		if !gone {
			gone = true
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			cmd.Wait()
		}
	}
	t.Cleanup(end)
	for range 500 {
		c, err := net.Dial(network, address)
		if err == nil {
			c.Close()
			return cmd, end
		}
		time.Sleep(20 * time.Millisecond)
	}
	end()
	t.Fatalf("%s does not come up at %s:\n%s", args[0], address, out.String())
	return nil, nil
}

// free gives a port of the loopback that nobody has.
func free(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// certificate writes a key and a certificate for a name, which is its own CA.
func certificate(t *testing.T, file, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
