package login

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/oracle"
)

// fuzzBundle makes a bundle that is the same in every process: each of those that fuzz
// at once has to know the key in its input, and to go the same ways as the others.
func fuzzBundle(f *testing.F) []byte {
	f.Helper()
	sum := sha256.Sum256([]byte("a key that protects nothing"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), sum[:])
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example"}, DNSNames: []string{"mail.example", "*.wild.example"},
		NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(4_000_000_000, 0), BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key) // signs by RFC 6979, without chance
	if err != nil {
		f.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
}

// FuzzBundle reads what may lie in a bundle's file: what is taken for one has a key
// that signs for its leaf, and no error tells any of the key.
func FuzzBundle(f *testing.F) {
	whole := fuzzBundle(f)
	end := bytes.Index(whole, []byte("-----BEGIN CERTIFICATE"))
	key, chain := whole[:end], whole[end:]
	f.Add(whole)
	f.Add(append(append([]byte(nil), chain...), key...))
	f.Add(append(append(append([]byte(nil), key...), key...), chain...))
	f.Add([]byte(strings.ReplaceAll(string(chain)+string(key), "\n", "\r\n")))
	f.Add([]byte(strings.Repeat("-----BEGIN ", 500)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got Bundle
		var err error
		// The signature that is tried costs the same however short the file is.
		oracle.Cost(t, len(data)+4096*strings.Count(string(data), "-----BEGIN"), func() { got, err = ParseBundle("x", []string{"mail.example"}, data) })
		if err != nil {
			for line := range strings.Lines(string(key)) {
				if line = strings.TrimSpace(line); len(line) > 40 && strings.Contains(err.Error(), line[:40]) {
					t.Fatalf("the key is in %q", err)
				}
			}
			return
		}
		if got.Fingerprint() == "" || got.Certificate.Leaf == nil {
			t.Fatalf("no leaf in %q", data)
		}
		got.Fault(time.Unix(0, 0))
		c, err := newCertificates(config.TLS{Policy: config.Modern}, []Bundle{got}, nil)
		if err != nil {
			return
		}
		served, err := c.choose(&tls.ClientHelloInfo{ServerName: "mail.example"})
		if err != nil || len(served.Certificates) == 0 {
			t.Errorf("%v: nothing is served by %q", err, data)
		}
	})
}
