package kind

import (
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// lineage is a directory as certbot keeps it: links in live/NAME to numbered
// files in archive/NAME.
type lineage struct {
	*certBench
	leaves map[string]bool // fingerprints of what was issued
}

func newLineage(t *testing.T, pairs int) *lineage {
	l := &lineage{certBench: newCertBench(t, Certbot), leaves: map[string]bool{}}
	l.must(os.MkdirAll(l.archive(""), 0o700))
	for n := 1; n <= pairs; n++ {
		key := l.ca.newKey(elliptic.P256())
		leaf := l.ca.leaf(key.Public(), 90, "mail.example.org")
		l.leaves[digest(leaf.Raw)] = true
		for name, text := range map[string]string{
			"cert": certPEM(leaf), "chain": certPEM(l.ca.cert), "fullchain": certPEM(leaf, l.ca.cert), "privkey": keyPEM(t, key),
		} {
			l.must(os.WriteFile(l.archive(fmt.Sprintf("%s%d.pem", name, n)), []byte(text), 0o600))
		}
	}
	l.turn(1, func() {})
	return l
}

func (l *lineage) archive(name string) string {
	return filepath.Join(l.dir, "le", "archive", "mail.example.org", name)
}

// turn switches the links to number n in certbot's way and order: each is
// removed, then made.
func (l *lineage) turn(n int, between func()) error {
	for _, name := range []string{"cert", "privkey", "chain", "fullchain"} {
		link := l.path("le", "live", "mail.example.org", name+".pem")
		os.Remove(link)
		between()
		if err := os.Symlink(fmt.Sprintf("../../archive/mail.example.org/%s%d.pem", name, n), link); err != nil {
			return err
		}
		between()
	}
	return nil
}

// TestReadPairWhileLinksTurn: certbot, run again and again, turns the links while
// we read. We get one of the pairs every time, whole; who looks once does not.
func TestReadPairWhileLinksTurn(t *testing.T) {
	const pairs = 20
	l := newLineage(t, pairs)
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-end:
				done <- nil
				return
			default:
			}
			if err := l.turn(1+rand.IntN(pairs), func() { time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) }); err != nil {
				done <- err
				return
			}
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		}
	}()
	torn, different := 0, map[string]bool{}
	for range 300 {
		have := ReadCertificate(t.Context(), l.spec)
		if !l.leaves[have.Fingerprint] {
			t.Errorf("%+v", have)
		}
		different[have.Fingerprint] = true
		if p, faults, err := readPairOnce(l.spec.Certificate, l.spec.Key); err != nil || len(faults) > 0 || !p.matches() {
			torn++
		}
	}
	close(end)
	l.must(<-done)
	t.Logf("%d of 300 looks at once were torn; %d pairs were read", torn, len(different))
	if torn == 0 || len(different) < 3 {
		t.Error("nothing changed while it was read: this test has shown nothing")
	}
}

// TestReadPairWhileFilesAreWritten: others than certbot write their files in
// place, piece by piece.
func TestReadPairWhileFilesAreWritten(t *testing.T) {
	b := newCertBench(t, Files)
	b.issue("mail.example.org")
	for range 10 {
		key := b.ca.newKey(elliptic.P256())
		leaf := b.ca.leaf(key.Public(), 90, "mail.example.org")
		chain, done := certPEM(leaf, b.ca.cert), make(chan error, 1)
		go func() {
			err := os.WriteFile(b.spec.Key, []byte(keyPEM(t, key)), 0o600)
			for end := 0; end < len(chain) && err == nil; {
				time.Sleep(2 * time.Millisecond)
				end = min(end+rand.IntN(200), len(chain))
				err = os.WriteFile(b.spec.Certificate, []byte(chain[:end]), 0o644)
			}
			done <- err
		}()
		for range 20 {
			p, faults, err := readPair(t.Context(), b.spec.Certificate, b.spec.Key)
			if err != nil || len(faults) > 0 || !p.matches() {
				t.Fatalf("%v %v", faults, err)
			}
		}
		b.must(<-done)
		if have := ReadCertificate(t.Context(), b.spec); have.Fingerprint != digest(leaf.Raw) || have.Chain != chainOf(leaf, b.ca.cert) {
			t.Fatalf("%+v", have)
		}
	}
}

func chainOf(certs ...*x509.Certificate) string { return (&pair{chain: certs}).chainDigest() }

// TestReadPairAtRest: what has been wrong for a while is not waited for.
func TestReadPairAtRest(t *testing.T) {
	b := newCertBench(t, Files)
	b.spec.Certificate, b.spec.Key = "/etc/passwd", "/etc/passwd"
	if st := markSource("/etc/passwd"); time.Since(st.newest) < calm {
		t.Skip("somebody has just changed /etc/passwd")
	}
	start := time.Now()
	if have := ReadCertificate(t.Context(), b.spec); have.Fault == "" {
		t.Errorf("%+v", have)
	}
	if took := time.Since(start); took > settleTime/2 {
		t.Errorf("took %v", took)
	}
}
