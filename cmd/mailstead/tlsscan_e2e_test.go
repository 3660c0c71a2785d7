package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const scanned = `hosts: "mail.example.org": {
	listeners: {imap: {}, imaps: {}}
	tls: {policy: %q, certificates: "mail.example.org": selfSigned: {}}
	users: vera: password: hash: %q
	limits: {waitingPerAddress: 10000, newPerAddress: 100000, waiting: 10000, dropFrom: 10000}
}
`

// ofTheCertificate is what testssl has against a certificate that signed itself.
var ofTheCertificate = []string{"cert_chain_of_trust", "cert_trust", "cert_caIssuers", "cert_crlDistributionPoints", "cert_ocspURL", "OCSP_stapling", "cert_revocation", "DNS_CAArecord", "cert_expirationStatus", "cert_notAfter", "cert_extlifeSpan", "cert_mustStapleExtension"}

// TestTLSScanners has testssl and sslscan look at both policies: neither finds
// anything at LOW or above but the certificate that signed itself. With
// MAILSTEAD_SIEGE=1 testssl takes every way there is, in place of the one that offers most.
func TestTLSScanners(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "directory", "scan")
	hash := strings.TrimSpace(b.try("wonder\n", "mailstead", "hash-password").stdout)
	b.sh(`echo "127.0.0.1 mail.example.org" >> /etc/hosts`)
	for _, policy := range []string{"intermediate", "modern"} {
		b.write("/etc/mailstead/host.cue", fmt.Sprintf(scanned, policy, hash))
		b.run("mailstead", "apply", "--yes")
		for _, way := range [][]string{{"mail.example.org:993"}, {"--starttls", "imap", "mail.example.org:143"}} {
			// It takes more than a minute each time.
			if os.Getenv("MAILSTEAD_SIEGE") == "1" || policy == "intermediate" && len(way) > 1 {
				b.testssl(policy, way)
			}
		}
		for _, way := range [][]string{{"127.0.0.1:993"}, {"--starttls-imap", "127.0.0.1:143"}} {
			said := b.run(append([]string{"sslscan", "--no-colour", "--show-certificate", "--sni-name=mail.example.org"}, way...)...)
			protocols, ciphers, _ := strings.Cut(said, "Supported Server Cipher(s)")
			ciphers, _, _ = strings.Cut(ciphers, "SSL Certificate")
			for _, weak := range []string{"CBC", "-SHA ", "RC4", "3DES", "NULL", "TLSv1.0   enabled", "TLSv1.1   enabled", "SSLv3     enabled", "TLS renegotiation: enabled"} {
				if strings.Contains(protocols+ciphers, weak) {
					t.Errorf("%s %v: sslscan finds %s:\n%s", policy, way, weak, ciphers)
				}
			}
			if want := map[string]string{"intermediate": "TLSv1.2  ", "modern": "TLSv1.3  "}[policy]; !strings.Contains(ciphers, want) || policy == "modern" && strings.Contains(ciphers, "TLSv1.2  ") {
				t.Errorf("%s %v: sslscan finds\n%s", policy, way, ciphers)
			}
		}
	}
}

// testssl runs it once, and says what it finds.
func (b *box) testssl(policy string, way []string) {
	b.t.Helper()
	out := "/root/testssl.json"
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Minute)
	defer cancel()
	cmd := b.command(ctx, append([]string{"sh", "-c", `rm -f ` + out + `; exec testssl --quiet --warnings batch --color 0 --jsonfile ` + out + ` "$@"`, "sh"}, way...)...)
	said, _ := cmd.CombinedOutput() // it ends by how much it has found
	text, err := os.ReadFile(filepath.Join(b.root(), out))
	if err != nil {
		b.t.Fatalf("%v\n%s", err, said)
	}
	var findings []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(text, &findings); err != nil || len(findings) < 50 {
		b.t.Fatalf("testssl looked at %d things: %v\n%.2000s", len(findings), err, text)
	}
	for _, f := range findings {
		id, _, _ := strings.Cut(f.ID, " ")
		if slices.Contains([]string{"LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"}, f.Severity) && !slices.Contains(ofTheCertificate, id) {
			b.t.Errorf("%s %v: %s %s: %s", policy, way, f.Severity, f.ID, f.Finding)
		}
	}
	b.t.Logf("%s %v: testssl looked at %d things", policy, way, len(findings))
}
