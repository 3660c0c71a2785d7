package siege_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// whole says whether the numbers are those of the table of threats.
var whole = os.Getenv("MAILSTEAD_SIEGE") == "1"

// scaled is n, or a part of it that a test of every day has time for.
func scaled(n, part int) int {
	if whole {
		return n
	}
	return n / part
}

// program builds the daemon once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mailstead-siege")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "mailstead-imapd")
	cmd := exec.Command("go", "build", "-trimpath", "-o", name, "mailstead/cmd/mailstead-imapd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return name, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if name, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(name))
	}
	os.Exit(code)
}

// passwordHash is of "wonder", of the least cost: it is not hashing that is tried.
const passwordHash = "$2a$05$w2/5gTfNprElH6edLl3s1.VDSSqKO/ExUWZ9kxPMT03/paEFracE2"

// daemon is a mailstead-imapd with the listeners "imap" (STARTTLS), "imaps" and
// "plain" and the users alice and bob.
type daemon struct {
	t     testing.TB
	cmd   *exec.Cmd
	dir   string
	conf  *config.Config
	addr  map[string]string
	roots *x509.CertPool
	log   string // path
}

// start runs a daemon with those limits, until the test ends.
func start(t testing.TB, limits map[string]int64) *daemon {
	t.Helper()
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: t.TempDir(), addr: map[string]string{}, roots: x509.NewCertPool()}
	d.log = filepath.Join(d.dir, "log")
	d.write("mail.pem", d.certificate("mail.example"))
	d.write("other.pem", d.certificate("other.example"))
	d.conf = &config.Config{
		Version: config.FormatVersion, Generation: "first", Hostname: "mail.example",
		Control: filepath.Join(d.dir, "control"), Users: filepath.Join(d.dir, "users.ndjson"),
		Service: config.Identity{UID: os.Getuid(), GID: os.Getgid()},
		Listeners: []config.Listener{
			{Name: "imap", Address: "127.0.0.1", TLS: config.STARTTLS},
			{Name: "imaps", Address: "127.0.0.1", TLS: config.Implicit},
			{Name: "plain", Address: "127.0.0.1", TLS: config.Plain},
		},
		TLS: config.TLS{Policy: config.Intermediate, Bundles: []config.Bundle{
			{Name: "mail.example", File: filepath.Join(d.dir, "mail.pem"), Names: []string{"mail.example"}},
			{Name: "other.example", File: filepath.Join(d.dir, "other.pem"), Names: []string{"other.example"}},
		}},
		Workers: config.WorkerInline,
		Limits:  limits,
	}
	d.configure()
	log, err := os.Create(d.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command(name, "serve", "--config", filepath.Join(d.dir, "config.json"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Env = append(os.Environ(), "JOURNAL_STREAM=")
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	d.await()
	return d
}

func (d *daemon) write(name string, data []byte) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), data, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// configure writes the two files.
func (d *daemon) configure() {
	d.t.Helper()
	var users []config.User
	for _, name := range []string{"alice", "bob"} {
		maildir := filepath.Join(d.dir, name, "Maildir")
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(maildir, sub), 0o700); err != nil {
				d.t.Fatal(err)
			}
		}
		users = append(users, config.User{Name: name, Hash: passwordHash, UID: os.Getuid(), GID: os.Getgid(), Home: filepath.Join(d.dir, name), Maildir: maildir})
	}
	var b bytes.Buffer
	if err := config.EncodeUsers(&b, d.conf.Workers, users); err != nil {
		d.t.Fatal(err)
	}
	d.write("users.ndjson", b.Bytes())
	data, err := config.Encode(d.conf)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("config.json", data)
}

// await waits until it serves, and notes where.
func (d *daemon) await() {
	d.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		s, err := control.Ask(d.t.Context(), d.conf.Control, control.Request{Verb: control.VerbStatus})
		if err == nil && len(s.Listeners) == len(d.conf.Listeners) {
			for _, l := range s.Listeners {
				d.addr[l.Name] = l.Address
			}
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("the daemon does not serve: %v\n%s", err, d.said())
		}
	}
}

// reload has it read its files again.
func (d *daemon) reload() {
	d.t.Helper()
	s, err := control.Ask(d.t.Context(), d.conf.Control, control.Request{Verb: control.VerbReload})
	if err != nil || s.Error != "" {
		d.t.Fatalf("reload: %v %s", err, s.Error)
	}
}

func (d *daemon) said() string {
	text, _ := os.ReadFile(d.log)
	return string(text)
}

// stop ends the daemon, which must have lived until then.
func (d *daemon) stop() {
	if err := d.cmd.Process.Signal(syscall.Signal(0)); err != nil {
		d.t.Errorf("the daemon has died: %s", d.said())
	}
	d.cmd.Process.Kill() // it waits for clients that a test has left behind
	d.cmd.Wait()
	if said := d.said(); strings.Contains(said, "panic") || strings.Contains(said, "fault of ours") {
		d.t.Errorf("a fault of ours:\n%.4000s", said)
	}
}

// pids are the daemon and what it has started.
func (d *daemon) pids() []int {
	list := []int{d.cmd.Process.Pid}
	for i := 0; i < len(list); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", list[i]))
		for _, task := range tasks {
			text, _ := os.ReadFile(task)
			for word := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil {
					list = append(list, pid)
				}
			}
		}
	}
	return list
}

// status reads a number of /proc/PID/status, summed over all processes: kB for
// memory.
func (d *daemon) status(field string) (n int64) {
	for _, pid := range d.pids() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, after, ok := strings.Cut(string(text), "\n"+field+":"); ok {
			kB, _ := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
			n += kB
		}
	}
	return n
}

// cpu is the processor time that all processes have taken.
func (d *daemon) cpu() (total time.Duration) {
	for _, pid := range d.pids() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if i := bytes.LastIndexByte(text, ')'); i > 0 {
			fields := strings.Fields(string(text[i+1:]))
			for _, f := range fields[11:13] { // utime and stime (proc_pid_stat(5)), in hundredths
				ticks, _ := strconv.ParseInt(f, 10, 64)
				total += time.Duration(ticks) * 10 * time.Millisecond
			}
		}
	}
	return total
}

// files is the number of descriptors that all processes have.
func (d *daemon) files() (n int) {
	for _, pid := range d.pids() {
		list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		n += len(list)
	}
	return n
}

// certificate makes the PEM of a self-signed bundle, which clients trust.
func (d *daemon) certificate(name string) []byte {
	d.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		d.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		d.t.Fatal(err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	d.roots.AppendCertsFromPEM(out)
	return out
}

// trust is how a client checks the daemon's certificate.
func (d *daemon) trust() *tls.Config {
	return &tls.Config{ServerName: "mail.example", RootCAs: d.roots}
}

// dialFrom connects from an address of this host, of which it has all of 127/8.
func (d *daemon) dialFrom(source net.IP, listener string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: source}, Timeout: 10 * time.Second}
	return dialer.DialContext(context.Background(), "tcp", d.addr[listener])
}
