package adopt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// issue makes a certificate for names, as PEM.
func issue(t *testing.T, names ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A bundle is known by its certificate among certbot's, of now and of before.
func TestCertificates(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	now, before, other, nameless := issue(t, "mail.example.org", "imap.example.org"), issue(t, "mail.example.org"), issue(t, "other.example.net"), issue(t)
	host := func(bundle string) map[string]string {
		return map[string]string{
			"etc/courier/imapd-ssl":                                   "SSLPORT=993\nTLS_CERTFILE=/etc/courier/imapd.pem\n",
			"etc/courier/imapd.pem":                                   key + bundle,
			"etc/courier/imapd.pem.other.example.net":                 key + other,
			"etc/letsencrypt/live/README":                             "certbot's",
			"etc/letsencrypt/live/mail.example.org-0001/cert.pem":     now,
			"etc/letsencrypt/archive/mail.example.org-0001/cert1.pem": before,
			"etc/letsencrypt/archive/mail.example.org-0001/cert2.pem": now,
		}
	}
	cue, _ := describe(t, host(now), nil)
	contains(t, cue, `"mail.example.org-0001": {certbot: {}, names: ["mail.example.org", "imap.example.org"]} // /etc/courier/imapd-ssl:2 TLS_CERTFILE=`,
		`"other.example.net": files: {certificate: "/etc/courier/imapd.pem.other.example.net", key: "/etc/courier/imapd.pem.other.example.net"}`)
	if strings.Contains(cue, "missed") {
		t.Error(cue)
	}
	cue, _ = describe(t, host(before), nil)
	contains(t, cue, `"mail.example.org-0001": {certbot: {}`, "a renewal was missed", "is not what certbot renewed last")
	cue, _ = describe(t, host(nameless), nil)
	contains(t, cue, "the certificate is for no DNS name, and is not taken over")
}

// Of the files beside TLS_CERTFILE those are served that Courier finds by the name that
// clients ask for, or by the address that they come to.
func TestCertificatesByName(t *testing.T) {
	main, other, address := issue(t, "mail.example.org"), issue(t, "*.example.net"), issue(t, "mail.example.com", "mail.example.org")
	cue, _ := describe(t, map[string]string{
		"etc/courier/imapd-ssl":                   "SSLPORT=993\nTLS_CERTFILE=/etc/courier/imapd.pem\n",
		"etc/courier/imapd.pem":                   main,
		"etc/courier/imapd.pem.mail.example.org":  main,
		"etc/courier/imapd.pem.mail.example.net":  other,
		"etc/courier/imapd.pem.192.0.2.1":         main,
		"etc/courier/imapd.pem.192.0.2.2":         address,
		"etc/courier/imapd.pem.bak":               main,
		"etc/courier/imapd.pem.dpkg-old":          other,
		"etc/courier/imapd.pem.mail.example.net~": other,
	}, nil)
	contains(t, cue, `"mail.example.org": files: {certificate: "/etc/courier/imapd.pem", `,
		`"mail.example.net": files: {certificate: "/etc/courier/imapd.pem.mail.example.net", `,
		`"mail.example.com": files: {certificate: "/etc/courier/imapd.pem.192.0.2.2", `,
		"/etc/courier/imapd.pem.bak: no client gets it: the certificate is not for bak",
		"/etc/courier/imapd.pem.dpkg-old: no client gets it", "/etc/courier/imapd.pem.mail.example.net~: no client gets it",
		"/etc/courier/imapd.pem.192.0.2.1: another certificate is served for mail.example.org")
	if strings.Contains(cue, "left out") || strings.Count(cue, " files: {") != 3 {
		t.Error(cue)
	}
}
