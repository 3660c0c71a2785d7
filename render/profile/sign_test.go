package profile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
)

// issue makes a certificate, of itself without an issuer.
func issue(t *testing.T, name string, key crypto.Signer, issuer *x509.Certificate, by crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: issuer == nil, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, DNSNames: []string{name},
	}
	if issuer == nil {
		issuer, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// signers makes a root, and a certificate by it for a key of each kind.
func signers(t *testing.T) (root *x509.Certificate, keys map[string]crypto.Signer, certs map[string]*x509.Certificate) {
	t.Helper()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root = issue(t, "root", rootKey, nil, nil)
	keys = map[string]crypto.Signer{"rsa": rsaKey, "ecdsa": ecKey, "ed25519": edKey}
	certs = map[string]*x509.Certificate{}
	for name, key := range keys {
		certs[name] = issue(t, name+".example.org", key, root, rootKey)
	}
	return root, keys, certs
}

func TestSign(t *testing.T) {
	root, keys, certs := signers(t)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	for _, kind := range []string{"rsa", "ecdsa"} {
		signed, err := Sign([]byte("profile"), []*x509.Certificate{certs[kind], root}, keys[kind])
		if err != nil {
			t.Fatal(err)
		}
		message, err := pkcs7.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		if err := message.VerifyWithChain(roots); err != nil || string(message.Content) != "profile" {
			t.Errorf("%s: %v, content %q", kind, err, message.Content)
		}
	}
	for what, try := range map[string]struct {
		chain []*x509.Certificate
		key   crypto.Signer
	}{
		"no certificate":      {nil, keys["rsa"]},
		"somebody else's key": {[]*x509.Certificate{certs["rsa"]}, keys["ecdsa"]},
		"an Ed25519 key":      {[]*x509.Certificate{certs["ed25519"]}, keys["ed25519"]},
		"a foreign issuer":    {[]*x509.Certificate{certs["rsa"], certs["ecdsa"]}, keys["rsa"]},
	} {
		if _, err := Sign([]byte("profile"), try.chain, try.key); err == nil {
			t.Errorf("signed with %s", what)
		}
	}
}

// TestSignedForOthers has OpenSSL check the signature, and Python's reader of
// property lists read what was signed.
func TestSignedForOthers(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") == "" {
		t.Skip("needs openssl and python3: set MAILSTEAD_E2E=1")
	}
	s, err := For(exampleHost(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.MobileConfig()
	if err != nil {
		t.Fatal(err)
	}
	root, keys, certs := signers(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	ca := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
	for _, kind := range []string{"rsa", "ecdsa"} {
		signed, err := Sign(plain, []*x509.Certificate{certs[kind]}, keys[kind])
		if err != nil {
			t.Fatal(err)
		}
		file := write(kind+".mobileconfig", signed)
		verify := exec.Command("openssl", "cms", "-verify", "-inform", "DER", "-in", file, "-CAfile", ca, "-purpose", "any", "-binary")
		var said bytes.Buffer
		verify.Stderr = &said
		if out, err := verify.Output(); err != nil || !bytes.Equal(out, plain) {
			t.Errorf("openssl on %s: %v: %s", kind, err, said.String())
		}
		signed[bytes.Index(signed, []byte("alice@"))] = 'm'
		if out, err := exec.Command("openssl", "cms", "-verify", "-inform", "DER", "-in", write("changed", signed), "-CAfile", ca, "-purpose", "any").CombinedOutput(); err == nil {
			t.Errorf("openssl takes a changed profile: %s", out)
		}
	}
	const read = `import plistlib, sys, uuid
p = plistlib.loads(sys.stdin.buffer.read())
assert p["PayloadType"] == "Configuration" and p["PayloadVersion"] == 1, p
m, = p["PayloadContent"]
for u in (p, m): assert uuid.UUID(u["PayloadUUID"]).version == 5, u
assert m["PayloadType"] == "com.apple.mail.managed" and m["EmailAccountType"] == "EmailTypeIMAP", m
print(m["IncomingMailServerHostName"], m["IncomingMailServerPortNumber"], m["IncomingMailServerUseSSL"], m["IncomingMailServerUsername"],
      m["OutgoingMailServerHostName"], m["OutgoingMailServerPortNumber"], m["OutgoingMailServerUseSSL"], m["OutgoingMailServerUsername"], m["EmailAddress"])`
	py := exec.Command("python3", "-c", read)
	py.Stdin = bytes.NewReader(plain)
	out, err := py.CombinedOutput()
	if want := "imap.example.org 993 True alice smtp.example.org 587 True alice@example.org alice@example.org\n"; err != nil || string(out) != want {
		t.Errorf("python3: %v: %s, want %s", err, out, want)
	}
}
