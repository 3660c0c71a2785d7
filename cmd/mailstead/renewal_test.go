package main_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// twoCertificates is a host with certbot's lineage beside a certificate that is
// made here: which of them a client gets is decided by SNI.
const twoCertificates = `hosts: "mail.example.org": {
	listeners: {imap: {}, imaps: {}}
	tls: {
		certificates: "mail.example.org": {certbot: {}, stitched: "/etc/ssl/mail.pem"}
		certificates: "self.example.net": selfSigned: {}
		default: "self.example.net"
	}
	users: alice: {}
}
`

// badNonces are the shares of requests, in per cent, that the ACME servers
// refuse with badNonce. certbot tries each request twice: where half are
// refused it rarely ends well, at 90 never.
var badNonces = []int{15, 50, 90}

// issuers starts an ACME server for each of badNonces; the first serves the others' DNS.
func issuers() string {
	var sh strings.Builder
	sh.WriteString(strings.Replace(acme, "NONCEREJECT=0", fmt.Sprintf("NONCEREJECT=%d", badNonces[0]), 1))
	for i, share := range badNonces[1:] {
		fmt.Fprintf(&sh, `
sed 's/:14000/:1400%[1]d/; s/:15000/:1500%[1]d/' config.json > config%[1]d.json
systemd-run -q --unit=pebble%[1]d -E PEBBLE_VA_NOSLEEP=1 -E PEBBLE_WFE_NONCEREJECT=%[2]d pebble -config /root/pebble/config%[1]d.json -strict -dnsserver 127.0.0.1:8053
for i in $(seq 100); do curl -s --cacert ca.pem https://localhost:1400%[1]d/dir >/dev/null && break; sleep 0.05; done
curl -s --cacert ca.pem https://localhost:1500%[1]d/roots/0 >> root.pem
`, i+1, share)
	}
	return sh.String()
}

// issueFrom is a certbot that issues or renews the lineage at one of the servers.
func issueFrom(server int) []string {
	return []string{"env", "REQUESTS_CA_BUNDLE=/root/pebble/ca.pem", "certbot", "certonly", "-n", "--agree-tos", "--register-unsafely-without-email",
		"--server", fmt.Sprintf("https://localhost:1400%d/dir", server), "--standalone", "--force-renewal", "-d", "mail.example.org"}
}

// TestRenewals is the life of a certificate: the first issue, of which no hook
// tells; a renewal whose hook never ran; one that cannot be used; and many that
// are killed anywhere. A client that connects all the time is always served a
// certificate of the lineage, which verifies, and never an older one again.
func TestRenewals(t *testing.T) {
	t.Parallel()
	b := newBox(t, "renewals")
	b.sh(`useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd` + issuers())
	b.write("/etc/mailstead/host.cue", twoCertificates)
	phase := func(name string, f func(t *testing.T)) {
		t.Helper()
		if !t.Run(name, func(t *testing.T) { b.t = t; f(t) }) {
			t.FailNow()
		}
		b.t = t
	}
	check := []string{"systemctl", "start", "mailstead-cert-check.service"}
	issue := func() {
		t.Helper()
		for range 5 {
			if b.try("", issueFrom(0)...).code == 0 {
				return
			}
		}
		t.Fatal("certbot cannot issue a certificate")
	}

	phase("the first issue is brought in by the timer", func(t *testing.T) {
		contains(t, b.exit(6, "mailstead", "apply", "--yes").stdout, "certbot certonly")
		contains(t, b.run("systemctl", "list-timers", "--no-legend", "mailstead*"), "mailstead-cert-check.timer")
		b.exit(0, check...) // what was never issued is no fault
		issue()
		b.exit(0, check...)
		if got, want := b.servedFor("mail.example.org"), b.lineage(); got != want {
			t.Errorf("served %s, want %s", got, want)
		}
		if b.servedFor("self.example.net") == b.lineage() || b.servedFor("") != b.servedFor("self.example.net") {
			t.Error("SNI does not decide what is served")
		}
		contains(t, b.run("mailstead", "status"), "In step.")
		b.writesNothing()
	})
	phase("a renewal without a hook", func(t *testing.T) {
		old := b.lineage()
		b.sh(`mv /etc/letsencrypt/renewal-hooks/deploy/mailstead /root/hook`)
		issue()
		b.sh(`mv /root/hook /etc/letsencrypt/renewal-hooks/deploy/mailstead`)
		if got := b.servedFor("mail.example.org"); got != old {
			t.Fatalf("served %s, want the old %s: something ran the hook", got, old)
		}
		contains(t, b.exit(2, "mailstead", "plan", "--detailed-exitcode").stdout, "~ certificate/mail.example.org", "fingerprint "+old[:12])
		contains(t, b.run("mailstead", "status"), "! certificate mail.example.org", "Out of step")
		b.exit(0, check...)
		if got, want := b.servedFor("mail.example.org"), b.lineage(); got != want || got == old {
			t.Errorf("served %s, want %s", got, want)
		}
		b.writesNothing()
	})
	phase("a hook that fails is heard", func(t *testing.T) {
		old := b.servedFor("mail.example.org")
		fail := func() {
			b.sh(`cd /etc/letsencrypt/live/mail.example.org; cp -L privkey.pem /root/key; openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 > "$(readlink -f privkey.pem)"`)
			b.exit(1, "systemd-run", "-q", "--pipe", "--wait", "-E", "RENEWED_LINEAGE=/etc/letsencrypt/live/mail.example.org", "mailstead", "deploy-hook")
			b.sh(`for i in $(seq 100); do systemctl is-failed -q mailstead-cert-check.service && exit 0; sleep 0.1; done; exit 1`)
		}
		fail()
		contains(t, b.run("journalctl", "-q", "-p", "err", "-t", "mailstead", "-o", "cat"), "deploy-hook: ", "the key is not the certificate's")
		contains(t, b.run("journalctl", "-q", "-p", "err", "-u", "mailstead-cert-check.service", "-o", "cat"), "the key is not the certificate's")
		contains(t, b.run("mailstead", "status"), "not brought into force since", "the key is not the certificate's", "Out of step")
		contains(t, b.run("mailstead", "plan"), "not brought into force since", "what was installed before goes on being served")
		if got := b.servedFor("mail.example.org"); got != old {
			t.Errorf("served %s, want the old %s", got, old)
		}
		mended := func(by ...string) {
			b.sh(`cat /root/key > "$(readlink -f /etc/letsencrypt/live/mail.example.org/privkey.pem)"`)
			b.exit(0, append([]string{"mailstead"}, by...)...)
			contains(t, b.run("mailstead", "status"), "In step.")
			if b.try("", "systemctl", "is-failed", "-q", "mailstead-cert-check.service").code == 0 {
				t.Errorf("after %v the unit is shown as failed although all is well", by)
			}
		}
		mended("deploy-hook", "--all")
		fail()
		mended("apply", "--yes")
		b.writesNothing()
	})
	phase("an account that is gone keeps no certificate from being renewed", func(t *testing.T) {
		old := b.lineage()
		b.sh(`cp -a /etc/passwd /etc/shadow /root; userdel alice`)
		issue()
		b.sh(`cp -a /root/passwd /root/shadow /etc`)
		if got, want := b.servedFor("mail.example.org"), b.lineage(); got != want || got == old {
			t.Errorf("served %s, want %s", got, want)
		}
		b.exit(0, "mailstead", "apply", "--yes")
		b.writesNothing()
	})
	phase("an account that has moved waits for an apply", func(t *testing.T) {
		users, old := b.run("cat", "/var/lib/mailstead/users.ndjson"), b.lineage()
		b.sh(`mkdir /srv/alice; usermod -d /srv/alice alice`)
		issue()
		if got, want := b.servedFor("mail.example.org"), b.lineage(); got != want || got == old {
			t.Errorf("served %s, want %s", got, want)
		}
		if b.run("cat", "/var/lib/mailstead/users.ndjson") != users {
			t.Error("the hook has moved somebody's mail")
		}
		b.sh(`usermod -d /home/alice alice`)
		b.writesNothing()
	})
	phase("killed at random", func(t *testing.T) { killRenewals(t, b, check) })
	phase("and then all is well", func(t *testing.T) {
		issue()
		b.exit(0, check...)
		if got, want := b.servedFor("mail.example.org"), b.lineage(); got != want {
			t.Errorf("served %s, want %s", got, want)
		}
		contains(t, b.run("mailstead", "status"), "In step.")
		b.writesNothing()
	})
}

// renewals is how many of them are killed: 25, or MAILSTEAD_RENEWALS.
func renewals(t *testing.T) int {
	text := os.Getenv("MAILSTEAD_RENEWALS")
	if text == "" {
		return 25
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("MAILSTEAD_RENEWALS=%s: %v", text, err)
	}
	return n
}

func killRenewals(t *testing.T, b *box, check []string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 47))
	w := b.watch("mail.example.org")
	ends := map[string]int{}
	start := time.Now()
	for i := range renewals(t) {
		server := []int{0, 0, 0, 0, 0, 0, 1, 1, 2, 0}[rnd.IntN(10)]
		ends[b.killRenewal(i, server, rnd)]++
		if t.Failed() {
			break
		}
		// What the hook did or did not do, the timer does, and the second time nothing.
		first := b.try("", check...).code
		state := b.state()
		if again := b.try("", check...).code; again != first || b.state() != state {
			t.Errorf("renewal %d: the check ends with %d, then %d, and writes:\n%s", i, first, again, lineDiff(state, b.state()))
		}
		if first == 0 && b.servedFor("mail.example.org") != b.lineage() {
			t.Errorf("renewal %d: the check ends well, and the lineage is not what is served", i)
		}
	}
	seen := w.stop()
	t.Logf("%v in %.0f s: %v; %d handshakes, %d certificates", renewals(t), time.Since(start).Seconds(), ends, seen.handshakes, len(seen.chains))
	seen.verify(t, b)
}

// killRenewal lets certbot renew at a server, kills it with its hook, or the hook
// alone, or neither, and says which.
func (b *box) killRenewal(i, server int, rnd *rand.Rand) string {
	b.t.Helper()
	unit := fmt.Sprintf("renewal-%d.service", i)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	run := b.command(ctx, append([]string{"systemd-run", "-q", "--wait", "--collect", "--unit=" + unit}, issueFrom(server)...)...)
	if err := run.Start(); err != nil {
		b.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- run.Wait() }()
	what := []string{"ends by itself", "killed", "killed", "hook killed", "hook killed"}[rnd.IntN(5)]
	switch what {
	case "killed":
		select {
		case <-time.After(300*time.Millisecond + time.Duration(rnd.Int64N(int64(3*time.Second)))):
			b.try("", "systemctl", "kill", "-s", "KILL", unit)
		case <-done:
			return "ends before it is killed"
		}
	case "hook killed":
		// The hook is looked for from the first moment on, and then has up to 200 ms.
		script := fmt.Sprintf(`while systemctl is-active -q %s; do
	for i in $(seq 20); do
		f=$(grep -lsa 'deploy-hoo[k]' /proc/[0-9]*/cmdline) && { sleep 0.%03d; f=${f#/proc/}; kill -9 ${f%%%%/*}; exit; }
	done
done; exit 1`, unit, rnd.IntN(200))
		b.sh("for i in $(seq 50); do systemctl is-active -q " + unit + " && exit 0; sleep 0.01; done; exit 0")
		if b.try("", "sh", "-c", script).code != 0 {
			what = "hook ends by itself"
		}
	}
	if err := <-done; err != nil && what == "ends by itself" {
		what = "refused"
	}
	return what
}

// state is what the check may write: the files with their inodes and times.
func (b *box) state() string {
	b.t.Helper()
	return b.sh(`find /var/lib/mailstead /etc/ssl/mail.pem /etc/systemd/system -printf '%p %i %m %s %C@\n' | sort`)
}

// lineage is the fingerprint of the leaf that certbot has now.
func (b *box) lineage() string {
	b.t.Helper()
	return b.leafOf("/etc/letsencrypt/live/mail.example.org/fullchain.pem")
}

func (b *box) leafOf(path string) string {
	b.t.Helper()
	block, _ := pem.Decode([]byte(b.run("cat", path)))
	if block == nil {
		b.t.Fatalf("%s: no certificate", path)
	}
	return sha256Hex(block.Bytes)
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// servedFor is the fingerprint that port 993 serves for an SNI name.
func (b *box) servedFor(name string) string {
	b.t.Helper()
	c := tls.Client(b.dial("127.0.0.1:993"), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := c.Handshake(); err != nil {
		b.t.Fatalf("handshake for %q: %v", name, err)
	}
	defer c.Close()
	return sha256Hex(c.ConnectionState().PeerCertificates[0].Raw)
}

// watcher is a client that connects all the time.
type watcher struct {
	end  chan struct{}
	wait sync.WaitGroup
	seen seen
}

// seen is what it was served.
type seen struct {
	handshakes int
	errors     []string
	order      []string // fingerprints, each where it began to be served
	chains     map[string][]*x509.Certificate
}

// watch connects with an SNI name until it is stopped.
func (b *box) watch(name string) *watcher {
	b.t.Helper()
	w := &watcher{end: make(chan struct{}), seen: seen{chains: map[string][]*x509.Certificate{}}}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", b.leader))
	if err != nil {
		b.t.Fatal(err)
	}
	w.wait.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			w.seen.errors = append(w.seen.errors, err.Error())
			return
		}
		for {
			select {
			case <-w.end:
				return
			case <-time.After(10 * time.Millisecond):
				w.look(name)
			}
		}
	})
	return w
}

func (w *watcher) look(name string) {
	s := &w.seen
	s.handshakes++
	// No address may connect as often as that.
	from := net.IPv4(127, byte(1+s.handshakes>>5%250), byte(s.handshakes<<3), 1)
	conn, err := (&net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp", "127.0.0.1:993")
	if err != nil {
		s.errors = append(s.errors, err.Error())
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		s.errors = append(s.errors, err.Error())
		return
	}
	chain := c.ConnectionState().PeerCertificates
	leaf := sha256Hex(chain[0].Raw)
	if len(s.order) == 0 || s.order[len(s.order)-1] != leaf {
		s.order = append(s.order, leaf)
	}
	s.chains[leaf] = chain
}

func (w *watcher) stop() *seen {
	close(w.end)
	w.wait.Wait()
	return &w.seen
}

// verify holds what was served against what certbot has: each is a certificate
// of the lineage with its chain, and they follow each other as they were issued.
func (s *seen) verify(t *testing.T, b *box) {
	t.Helper()
	if len(s.errors) > 0 {
		t.Errorf("%d of %d handshakes failed: %s", len(s.errors), s.handshakes, s.errors[0])
	}
	issued := map[string]int{}
	files, err := filepath.Glob(filepath.Join(b.root(), "etc/letsencrypt/archive/mail.example.org/fullchain*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no archive: %v", err)
	}
	for _, f := range files {
		name := strings.TrimPrefix(f, b.root())
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "fullchain"), ".pem"))
		issued[b.leafOf(name)] = n
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(b.run("cat", "/root/pebble/root.pem")))
	last := 0
	for _, leaf := range s.order {
		n := issued[leaf]
		if n <= last {
			t.Errorf("number %d of the lineage was served after number %d", n, last)
		}
		last = n
		chain := s.chains[leaf]
		between := x509.NewCertPool()
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: "mail.example.org", Roots: roots, Intermediates: between}); err != nil {
			t.Errorf("number %d does not verify: %v", n, err)
		}
	}
	if len(s.order) < 3 {
		t.Errorf("only %d certificates were served", len(s.order))
	}
}
