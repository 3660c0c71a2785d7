package kind

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile"
)

// authority issues certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = a.newKey(elliptic.P256())
	a.cert = a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}, a.key.Public())
	return a
}

func (a *authority) newKey(curve elliptic.Curve) crypto.Signer {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) sign(tpl *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	a.t.Helper()
	parent := a.cert
	if parent == nil {
		parent = tpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, parent, pub, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *authority) leaf(pub crypto.PublicKey, days int, names ...string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	return a.sign(&x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, days),
	}, pub)
}

func certPEM(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.String()
}

func keyPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// certBench is a bench with a certificate source.
type certBench struct {
	*bench
	ca   *authority
	spec CertificateSpec
}

func newCertBench(t *testing.T, source Source) *certBench {
	b := &certBench{bench: newBench(t), ca: newAuthority(t)}
	b.must(os.MkdirAll(b.path("bundles"), 0o700))
	b.spec = CertificateSpec{
		Name: "mail.example.org", Names: []string{"mail.example.org"}, Source: source, Days: 90,
		Bundle: b.path("bundles", "mail.example.org.pem"),
	}
	if source != SelfSigned {
		b.must(os.MkdirAll(b.path("le", "live", "mail.example.org"), 0o755))
		b.spec.Certificate = b.path("le", "live", "mail.example.org", "fullchain.pem")
		b.spec.Key = b.path("le", "live", "mail.example.org", "privkey.pem")
	}
	return b
}

func (b *certBench) install(chain, key string) {
	b.Helper()
	b.must(os.WriteFile(b.spec.Certificate, []byte(chain), 0o644))
	b.must(os.WriteFile(b.spec.Key, []byte(key), 0o600))
}

// issue puts a new pair into the source.
func (b *certBench) issue(names ...string) *x509.Certificate {
	b.Helper()
	key := b.ca.newKey(elliptic.P256())
	leaf := b.ca.leaf(key.Public(), 90, names...)
	b.install(certPEM(leaf, b.ca.cert), keyPEM(b.T, key))
	return leaf
}

// want makes the wanted resource from what the source holds now.
func (b *certBench) want() reconcile.Resource {
	return Certificate(b.spec, ReadCertificate(b.Context(), b.spec), "host.cue:3:1")
}

func TestCertificateFollowsItsSource(t *testing.T) {
	b := newCertBench(t, Certbot)
	leaf := b.issue("mail.example.org", "imap.example.org")
	b.spec.Stitched = b.path("bundles", "courier.pem")
	b.wantPlan([]string{"create certificate/mail.example.org: missing"}, b.want())
	b.apply(b.want())
	for _, path := range []string{b.spec.Bundle, b.spec.Stitched} {
		b.wantMode(path, "0600")
		pair, err := tls.LoadX509KeyPair(path, path)
		b.must(err)
		if !pair.Leaf.Equal(leaf) || len(pair.Certificate) != 2 {
			t.Errorf("%s holds another certificate", path)
		}
		if text := b.content(path); !strings.HasPrefix(text, "-----BEGIN PRIVATE KEY-----\n") {
			t.Errorf("%s does not begin with the key", path)
		}
	}
	have := ReadCertificate(t.Context(), b.spec)
	if have.Installed != have.Fingerprint || have.Fingerprint != digest(leaf.Raw) {
		t.Errorf("facts: %+v", have)
	}

	b.issue("mail.example.org")
	got := b.plan(b.want())
	if len(got) != 1 || !strings.Contains(got[0], "update certificate/mail.example.org: fingerprint ") || strings.Contains(got[0], "state") {
		t.Errorf("plan after a renewal: %q", got)
	}
	b.apply(b.want())

	b.must(os.Chmod(b.spec.Bundle, 0o644))
	b.wantPlan([]string{"update certificate/mail.example.org: state mode 0644 instead of 0600, want good"}, b.want())
	b.apply(b.want())
	b.wantMode(b.spec.Bundle, "0600")

	// What somebody has done to it is undone: something added, other line ends.
	for _, text := range []string{b.content(b.spec.Bundle) + "\n", strings.ReplaceAll(b.content(b.spec.Bundle), "\n", "\r\n")} {
		b.must(os.WriteFile(b.spec.Bundle, []byte(text), 0o600))
		b.wantPlan([]string{"update certificate/mail.example.org: state was changed by someone else, want good"}, b.want())
		b.apply(b.want())
	}

	b.must(os.WriteFile(b.spec.Stitched, []byte("old"), 0o600))
	b.wantPlan([]string{"update certificate/mail.example.org: stitched state differs from the bundle, want good"}, b.want())
	b.apply(b.want())

	// The copy moves, then is not wanted any more: no key stays behind.
	old := b.spec.Stitched
	b.spec.Stitched = b.path("bundles", "exim.pem")
	b.wantPlan([]string{"update certificate/mail.example.org: stitched state missing, want good; left behind " + old + ", want none"}, b.want())
	b.apply(b.want())
	b.spec.Stitched = ""
	b.apply(b.want())
	b.apply()
	entries, err := os.ReadDir(b.path("bundles"))
	b.must(err)
	if len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestCertificateBundleOfAGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a file to a group")
	}
	b := newCertBench(t, Files)
	b.issue("mail.example.org")
	b.spec.Group = "mail"
	b.apply(b.want())
	b.wantMode(b.spec.Bundle, "0640")
	b.must(os.Chown(b.spec.Bundle, 0, 0))
	got := b.plan(b.want())
	if len(got) != 1 || !strings.Contains(got[0], "instead of the group mail") {
		t.Errorf("plan: %q", got)
	}
	b.apply(b.want())
}

func TestCertificateThatIsMissing(t *testing.T) {
	b := newCertBench(t, Certbot)
	b.must(os.RemoveAll(b.path("le", "live")))
	have := ReadCertificate(t.Context(), b.spec)
	if have.Missing != "certbot has no lineage mail.example.org yet" || !strings.Contains(have.Command, "--cert-name mail.example.org -d mail.example.org") {
		t.Errorf("facts: %+v", have)
	}
	b.wantPlan([]string{"blocked certificate/mail.example.org: certbot has no lineage mail.example.org yet"}, b.want())
	b.apply(b.want())

	b.spec.Names = []string{"*.example.org"}
	have = ReadCertificate(t.Context(), b.spec)
	if want := "; with a DNS plugin, or with --manual-auth-hook, certbot renews it by itself"; !strings.HasSuffix(have.Missing, want) || !strings.Contains(have.Command, " --manual ") {
		t.Errorf("facts of a wildcard: %+v, want %q", have, want)
	}

	b.spec.Source = Files
	have = ReadCertificate(t.Context(), b.spec)
	if !strings.Contains(have.Missing, "no such file") || have.Command != "" {
		t.Errorf("facts: %+v", have)
	}
}

// TestCertificateSourceBreaks: what is installed goes on being served.
func TestCertificateSourceBreaks(t *testing.T) {
	b := newCertBench(t, Certbot)
	leaf := b.issue("mail.example.org")
	b.apply(b.want())
	b.must(os.WriteFile(b.spec.Key, []byte(keyPEM(t, b.ca.newKey(elliptic.P256()))), 0o600))
	have := ReadCertificate(t.Context(), b.spec)
	if have.Fault != "the key is not the certificate's" || have.Fingerprint != "" || have.Installed != digest(leaf.Raw) {
		t.Errorf("facts: %+v", have)
	}
	before := b.content(b.spec.Bundle)
	b.wantPlan([]string{"blocked certificate/mail.example.org: the key is not the certificate's; what was installed before goes on being served"}, b.want())
	b.apply(b.want())
	if b.content(b.spec.Bundle) != before {
		t.Error("the bundle was touched")
	}
}

// TestCertificateRenewedBetween: the source changes between plan and apply.
func TestCertificateRenewedBetween(t *testing.T) {
	b := newCertBench(t, Files)
	b.issue("mail.example.org")
	p := b.compare(b.want())
	b.issue("mail.example.org")
	r, err := reconcile.Apply(t.Context(), p, reconcile.Options{Table: b.host.Table(), State: b.state})
	b.must(err)
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "changed since the plan was made: the source has another certificate") {
		t.Errorf("got %v", err)
	}
	b.apply(b.want())
}

func TestCertificateFaults(t *testing.T) {
	ca := newAuthority(t)
	key := ca.newKey(elliptic.P256())
	good := ca.leaf(key.Public(), 90, "mail.example.org", "*.example.net")
	weak, err := rsa.GenerateKey(insecure{}, 1024)
	if err != nil {
		t.Skip("this toolchain makes no weak keys")
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ecPEM := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ecDER}))
	params := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	rsaPEM := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(strong)}))
	encrypted := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	name := []string{"mail.example.org"}
	p224 := ca.newKey(elliptic.P224())
	old := newAuthority(t)
	old.key = strong
	old.cert = nil
	old.cert = old.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "old root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
		SignatureAlgorithm: x509.SHA1WithRSA, // nobody looks at that of a root
	}, strong.Public())
	sha1 := old.sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), DNSNames: name, NotBefore: good.NotBefore, NotAfter: good.NotAfter, SignatureAlgorithm: x509.SHA1WithRSA,
	}, key.Public())
	clients := ca.sign(&x509.Certificate{
		SerialNumber: big.NewInt(4), DNSNames: name, NotBefore: good.NotBefore, NotAfter: good.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key.Public())
	mute := ca.sign(&x509.Certificate{
		SerialNumber: big.NewInt(5), DNSNames: name, NotBefore: good.NotBefore, NotAfter: good.NotAfter, KeyUsage: x509.KeyUsageKeyEncipherment,
	}, key.Public())
	for _, tc := range []struct {
		name       string
		chain, key string
		names      []string
		want       string
	}{
		{"good", certPEM(good, ca.cert), keyPEM(t, key), name, ""},
		{"wildcard", certPEM(good, ca.cert), keyPEM(t, key), []string{"*.example.net"}, ""},
		{"EC key with parameters", certPEM(good), params + ecPEM, name, ""},
		{"RSA key of PKCS #1", certPEM(ca.leaf(strong.Public(), 9, "mail.example.org")), rsaPEM, name, ""},
		{"Ed25519", certPEM(ca.leaf(ed.Public(), 9, "mail.example.org")), keyPEM(t, ed), name, ""},
		{"CRLF and text", "issued by hand\r\n" + strings.ReplaceAll(certPEM(good, ca.cert), "\n", "\r\n"), keyPEM(t, key), name, ""},
		{"nothing", "", "", name, "CERT holds no certificate; KEY holds no private key"},
		{"junk", "hello", "world", name, "CERT holds no certificate; KEY holds no private key"},
		{"broken certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", keyPEM(t, key), name, "CERT: certificate 1: x509: malformed certificate"},
		{"key in the chain", certPEM(good) + keyPEM(t, key), keyPEM(t, key), name, "CERT holds a private key"},
		{"another block", certPEM(good) + params, keyPEM(t, key), name, `CERT holds a "EC PARAMETERS"`},
		{"two keys", certPEM(good), keyPEM(t, ed) + keyPEM(t, key), name, "KEY holds 2 private keys"},
		{"encrypted PKCS #8", certPEM(good), "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", name, "the key in KEY is encrypted"},
		{"encrypted", certPEM(good), encrypted, name, "the key in KEY is encrypted"},
		{"broken key", certPEM(good), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", name, "the key in KEY: cannot be read"},
		{"another key", certPEM(good, ca.cert), keyPEM(t, ed), name, "the key is not the certificate's"},
		{"order", certPEM(good, good, ca.cert), keyPEM(t, key), name, "certificate 2 did not issue certificate 1: the chain is out of order"},
		{"leaf last", certPEM(ca.cert, good), keyPEM(t, key), name,
			"the key is not the certificate's; certificate 2 did not issue certificate 1: the chain is out of order; the certificate is not for servers: its key usage does not let the key sign (digitalSignature); the certificate is for no name, not for mail.example.org"},
		{"names", certPEM(good), keyPEM(t, key), []string{"mail.example.org", "imap.example.org", "*.example.org", "a.example.net"},
			"the certificate is for mail.example.org *.example.net, not for imap.example.org *.example.org"},
		{"expired", certPEM(ca.leaf(key.Public(), -1, "mail.example.org")), keyPEM(t, key), name,
			"the certificate expired on " + time.Now().AddDate(0, 0, -1).UTC().Format(time.DateOnly)},
		{"weak", certPEM(ca.leaf(weak.Public(), 9, "mail.example.org")), keyPEM(t, weak), name, "the certificate has an RSA key of 1024 bits, want 2048 to 8192"},
		{"small curve", certPEM(ca.leaf(p224.Public(), 9, "mail.example.org")), keyPEM(t, p224), name, "the certificate has a key on the curve P-224, want one of 256 bits or more"},
		{"SHA-1", certPEM(sha1, old.cert), keyPEM(t, key), name, "the certificate is signed with SHA1-RSA, which clients refuse"},
		{"that may not sign", certPEM(mute), keyPEM(t, key), name, "the certificate is not for servers: its key usage does not let the key sign (digitalSignature)"},
		{"for clients", certPEM(clients), keyPEM(t, key), name, "the certificate is not for servers: its extended key usage says what else it is for"},
		{"cut in the key", certPEM(good, ca.cert), keyPEM(t, key)[:100], name, "KEY ends in the middle of a block"},
		{"cut in the leaf", certPEM(good, ca.cert)[:100], keyPEM(t, key), name, "CERT ends in the middle of a block"},
		{"cut in the chain", certPEM(good, ca.cert)[:len(certPEM(good))+100], keyPEM(t, key), name, "CERT ends in the middle of a block"},
		{"damage in the middle", strings.Replace(certPEM(good, ca.cert), "-----END", "----END", 1), keyPEM(t, key), name, "the key is not the certificate's"},
		{"a megabyte of junk around", strings.Repeat("junk\n", 100_000) + certPEM(good, ca.cert) + strings.Repeat("junk\n", 100_000), keyPEM(t, key), name, ""},
		{"a megabyte of beginnings", strings.Repeat("-----BEGIN ", 90_000), keyPEM(t, key), name, "CERT ends in the middle of a block"},
		{"many certificates", certPEM(slices.Repeat([]*x509.Certificate{good}, 500)...), keyPEM(t, key), name, "CERT holds 500 certificates"},
		{"everything at once", certPEM(ca.leaf(key.Public(), -1, "a.example.com")), keyPEM(t, ed), name,
			"the key is not the certificate's; the certificate expired on " + time.Now().AddDate(0, 0, -1).UTC().Format(time.DateOnly) +
				"; the certificate is for a.example.com, not for mail.example.org"},
		{"long", certPEM(good) + strings.Repeat("x", maxPEM), keyPEM(t, key), name, "larger than any certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel() // what is wrong with a source that has just changed is looked at for a while
			b := newCertBench(t, Files)
			b.spec.Names = tc.names
			b.install(tc.chain, tc.key)
			have := ReadCertificate(t.Context(), b.spec)
			got := strings.NewReplacer(b.spec.Certificate, "CERT", b.spec.Key, "KEY").Replace(have.Fault)
			if got != tc.want && (tc.want == "" || !strings.Contains(got, tc.want)) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if (have.Fingerprint == "") != (tc.want != "") {
				t.Errorf("fingerprint %q with the fault %q", have.Fingerprint, have.Fault)
			}
			if tc.want == "" {
				b.apply(b.want())
			} else if err := b.tryApply(b.want()); err != nil {
				t.Error(err)
			} else if _, err := os.Stat(b.spec.Bundle); err == nil {
				t.Error("a faulty certificate was installed")
			}
		})
	}
}

// insecure is not random, so that a weak key may be made with it.
type insecure struct{}

func (insecure) Read(p []byte) (int, error) { return rand.Read(p) }

func TestCertificateNotYetValid(t *testing.T) {
	ca := newAuthority(t)
	key := ca.newKey(elliptic.P256())
	p := &pair{chain: []*x509.Certificate{ca.leaf(key.Public(), 90, "a.example")}, key: key}
	if got := p.check([]string{"a.example"}, time.Now().Add(-2*time.Hour)); len(got) != 1 || !strings.Contains(got[0], "is not valid before") {
		t.Errorf("%q", got)
	}
}

func TestExposedKey(t *testing.T) {
	b := newCertBench(t, Files)
	b.issue("mail.example.org")
	b.must(os.Chmod(b.spec.Key, 0o644))
	got := ReadCertificate(t.Context(), b.spec).Fault
	// The directories of tests are closed to others on some hosts.
	open := true
	for dir := filepath.Dir(b.spec.Key); dir != "/"; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		b.must(err)
		open = open && st.Mode()&1 != 0
	}
	if open != strings.Contains(got, "can be read by every user") {
		t.Errorf("reachable %v, fault %q", open, got)
	}
	b.must(os.Chmod(filepath.Dir(b.spec.Key), 0o700))
	if got := ReadCertificate(t.Context(), b.spec).Fault; got != "" {
		t.Errorf("in a closed directory: %q", got)
	}
}

func TestSelfSigned(t *testing.T) {
	b := newCertBench(t, SelfSigned)
	have := ReadCertificate(t.Context(), b.spec)
	if diff := cmp.Diff(reconcile.Certificate{}, have); diff != "" {
		t.Errorf("facts of a certificate to be made: %s", diff)
	}
	b.apply(b.want())
	have = ReadCertificate(t.Context(), b.spec)
	if have.Fingerprint == "" || have.Installed != have.Fingerprint {
		t.Errorf("facts: %+v", have)
	}
	pair, err := tls.LoadX509KeyPair(b.spec.Bundle, b.spec.Bundle)
	b.must(err)
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "mail.example.org", Roots: pool}); err != nil {
		t.Errorf("it does not vouch for itself: %v", err)
	}
	if days := time.Until(pair.Leaf.NotAfter).Hours() / 24; days < 89 || days > 91 {
		t.Errorf("valid for %v days", days)
	}
	b.wantPlan(nil, b.want())

	b.spec.Names = []string{"mail.example.org", "127.0.0.1", "::1"}
	b.wantPlan([]string{"update certificate/mail.example.org: names mail.example.org, want mail.example.org 127.0.0.1 ::1"}, b.want())
	b.apply(b.want())
	if got := ReadCertificate(t.Context(), b.spec); got.Fingerprint == have.Fingerprint {
		t.Error("the names changed, the certificate did not")
	}
	b.spec.Names = []string{"::1", "127.0.0.1", "MAIL.example.org"} // the same ones
	b.wantPlan(nil, b.want())

	// A mode is mended without another certificate.
	before := ReadCertificate(t.Context(), b.spec).Fingerprint
	b.must(os.Chmod(b.spec.Bundle, 0o644))
	b.apply(b.want())
	if got := ReadCertificate(t.Context(), b.spec).Fingerprint; got != before {
		t.Error("another certificate was made for a wrong mode")
	}
	b.must(os.WriteFile(b.spec.Bundle, []byte("broken"), 0o600))
	b.apply(b.want())
}

func TestSelfSignedRenewal(t *testing.T) {
	b := newCertBench(t, SelfSigned)
	for left, due := range map[int]bool{31: false, 29: true, -1: true} {
		p, err := makeSelfSigned(b.spec.Names, 90, time.Now().AddDate(0, 0, left-90))
		b.must(err)
		b.must(os.WriteFile(b.spec.Bundle, p.encode(), 0o600))
		have := ReadCertificate(t.Context(), b.spec)
		if (have.Fingerprint == "") != due || have.Installed == "" {
			t.Errorf("%d days left: %+v", left, have)
		}
		if got := b.plan(b.want()); (len(got) > 0) != due || due && !strings.Contains(got[0], "renewal due (valid until ") {
			t.Errorf("%d days left: plan %q", left, got)
		}
	}
	b.apply(b.want())
}

func TestCertbotCommand(t *testing.T) {
	spec := CertificateSpec{Names: []string{"a.example.org", "b.example.org"}, Certificate: "/etc/letsencrypt/live/a.example.org/fullchain.pem"}
	how := "--standalone"
	if listening(80) {
		how = "--webroot -w /var/www/html"
	}
	if got, want := certbotCommand(spec), "certbot certonly "+how+" --cert-name a.example.org -d a.example.org -d b.example.org"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	spec.Names = []string{"*.example.org"}
	spec.Certificate = "/srv/le dir/live/odd/fullchain.pem"
	if got, want := certbotCommand(spec), "certbot certonly --manual --preferred-challenges dns --config-dir '/srv/le dir' --cert-name odd -d '*.example.org'"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCertificateSourceIsNoFile(t *testing.T) {
	b := newCertBench(t, Files)
	b.issue("mail.example.org")
	b.must(os.Remove(b.spec.Key))
	b.must(syscall.Mkfifo(b.spec.Key, 0o600))
	if got := ReadCertificate(t.Context(), b.spec).Fault; !strings.Contains(got, "not a file") {
		t.Errorf("a pipe: %q", got)
	}
	b.spec.Key = "/dev/zero"
	if got := ReadCertificate(t.Context(), b.spec).Fault; !strings.Contains(got, "not a file") {
		t.Errorf("a device: %q", got)
	}
}

// TestCertificatesHandOnCopies: a copy that other programs read goes from one certificate
// to another, by a new name or by a swap. It is nobody else's, and never goes away.
func TestCertificatesHandOnCopies(t *testing.T) {
	b := newCertBench(t, Certbot)
	b.issue("mail.example.org")
	x, y := b.path("x.pem"), b.path("y.pem")
	named := func(name, stitched string) reconcile.Resource {
		spec := b.spec
		spec.Name, spec.Bundle, spec.Stitched = name, b.path("bundles", name+".pem"), stitched
		return Certificate(spec, ReadCertificate(b.Context(), spec), "host.cue:3:1")
	}
	copied := func(from, to string) {
		t.Helper()
		if diff := cmp.Diff(b.content(b.path("bundles", from+".pem")), b.content(to)); diff != "" {
			t.Errorf("%s is no copy of %s:\n%s", to, from, diff)
		}
	}
	b.apply(named("a", x))

	// Renamed, and the source of the new one is another.
	b.issue("mail.example.org")
	b.wantPlan([]string{"create certificate/b: missing", "delete certificate/a: no longer in the description"}, named("b", x))
	b.apply(named("b", x))
	copied("b", x)
	if _, err := os.Lstat(b.path("bundles", "a.pem")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the bundle of the old name: %v", err)
	}

	// While the next one waits, the one before stays, and so what reads it.
	waits := named("c", x)
	waits.Blocked = &reconcile.Block{Reason: "it is not issued"}
	b.wantPlan([]string{"blocked certificate/b: no longer in the description, and stays until there is certificate/c", "blocked certificate/c: it is not issued"}, waits)
	b.apply(waits)
	copied("b", x)
	b.apply(named("c", x))
	copied("c", x)

	// Two swap theirs.
	b.apply(named("a", x), named("b", y))
	b.issue("mail.example.org")
	b.apply(named("a", x), named("b", y))
	b.apply(named("a", y), named("b", x))
	copied("a", y)
	copied("b", x)

	// A copy that none wants any more goes.
	b.apply(named("a", ""), named("b", x))
	if _, err := os.Lstat(y); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a copy that nobody wants: %v", err)
	}
	copied("b", x)
}

// TestCertificateIsRenewedBesideABadCopy: what is wrong with the place of the copy
// keeps the copy waiting, not the renewed certificate.
func TestCertificateIsRenewedBesideABadCopy(t *testing.T) {
	b := newCertBench(t, Certbot)
	b.issue("mail.example.org")
	b.spec.Stitched = b.path("etc", "courier.pem")
	b.must(os.Mkdir(b.path("etc"), 0o755))
	b.apply(b.want())
	renewed := func(why string) {
		t.Helper()
		leaf := b.issue("mail.example.org")
		if err := b.tryApply(b.want()); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, want %s", err, why)
		}
		if have := ReadCertificate(t.Context(), b.spec); have.Installed != digest(leaf.Raw) {
			t.Error("the renewed certificate is not installed")
		}
		p := b.compare(b.want())
		if len(p.Changes) != 1 || p.Changes[0].Have.Get("stitched state") != why || p.Changes[0].Have.Get("fingerprint") != digest(leaf.Raw) {
			t.Errorf("the plan after it is %q, want that the copy %s", b.plan(b.want()), why)
		}
	}

	b.must(os.Remove(b.spec.Stitched))
	b.must(os.Symlink("elsewhere", b.spec.Stitched))
	renewed(b.spec.Stitched + " is a symbolic link, want a file: move it away")
	b.must(os.Remove(b.spec.Stitched))
	b.apply(b.want())
	if os.Geteuid() == 0 {
		b.must(os.Chown(b.path("etc"), 4321, -1))
		renewed(b.path("etc") + " belongs to uid 4321: whoever can write there can lead the program astray")
	}
}
