package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// issued makes a certificate; issuer nil is itself.
func issued(t *testing.T, issuer *x509.Certificate, by *ecdsa.PrivateKey, c x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), true
	if issuer == nil {
		issuer, by = &c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

// What a client would have against a chain, each in turn, and nothing against a
// good one.
func TestChain(t *testing.T) {
	now := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	authority := x509.Certificate{NotBefore: now.Add(-100 * day), NotAfter: now.Add(1000 * day), IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	named := func(c x509.Certificate, name string) x509.Certificate {
		c.Subject = pkix.Name{CommonName: name}
		return c
	}
	root, rootKey := issued(t, nil, nil, named(authority, "root"))
	between, betweenKey := issued(t, root, rootKey, named(authority, "between"))
	roots := x509.NewCertPool()
	roots.AddCert(root)
	of := func(from, to time.Duration, name string) x509.Certificate {
		return x509.Certificate{DNSNames: []string{name}, NotBefore: now.Add(from), NotAfter: now.Add(to), IssuingCertificateURL: []string{"http://ca.example/between.der"}}
	}
	leaf := func(from, to time.Duration, name string, change ...func(*x509.Certificate)) *x509.Certificate {
		c := of(from, to, name)
		for _, f := range change {
			f(&c)
		}
		made, _ := issued(t, between, betweenKey, c)
		return made
	}
	// below gives a chain whose intermediate ends then.
	below := func(to time.Duration) []*x509.Certificate {
		c := named(authority, "brief")
		c.NotAfter = now.Add(to)
		brief, key := issued(t, root, rootKey, c)
		made, _ := issued(t, brief, key, of(-30*day, 60*day, "mail.example.org"))
		return []*x509.Certificate{made, brief}
	}
	crossed := func() []*x509.Certificate { // root, as an authority that is gone has signed it
		_, oldKey := issued(t, nil, nil, named(authority, "old"))
		c := *root
		c.NotAfter = now.Add(-day)
		der, err := x509.CreateCertificate(rand.Reader, &c, &x509.Certificate{Subject: pkix.Name{CommonName: "old"}}, root.PublicKey, oldKey)
		if err != nil {
			t.Fatal(err)
		}
		cross, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return []*x509.Certificate{leaf(-30*day, 60*day, "mail.example.org"), between, cross}
	}
	own, _ := issued(t, nil, nil, x509.Certificate{DNSNames: []string{"mail.example.org"}, NotBefore: now.Add(-day), NotAfter: now.Add(2 * day)})
	good := leaf(-30*day, 60*day, "mail.example.org")
	for _, test := range []struct {
		name       string
		chain      []*x509.Certificate
		selfSigned bool
		want       []Code
		severity   Severity
	}{
		{"good", []*x509.Certificate{good, between}, false, nil, ""},
		{"with its root", []*x509.Certificate{good, between, root}, false, nil, ""},
		{"nothing", nil, false, nil, ""},
		{"expired", []*x509.Certificate{leaf(-90*day, -time.Minute, "mail.example.org"), between}, false, []Code{CertificateExpired}, Error},
		{"not yet good", []*x509.Certificate{leaf(time.Minute, 90*day, "mail.example.org"), between}, false, []Code{CertificateTooEarly}, Error},
		{"soon over", []*x509.Certificate{leaf(-70*day, 20*day, "mail.example.org"), between}, false, []Code{CertificateEnds}, Warning},
		{"short, and not soon over", []*x509.Certificate{leaf(-3*day, 3*day, "mail.example.org"), between}, false, nil, ""},
		{"for another name", []*x509.Certificate{leaf(-30*day, 60*day, "other.example.org"), between}, false, []Code{CertificateName}, Error},
		{"no intermediate", []*x509.Certificate{good}, false, []Code{ChainIncomplete}, Error},
		{"intermediate that has expired", below(-time.Minute), false, []Code{ChainExpired}, Error},
		{"intermediate that ends first", below(20 * day), false, []Code{ChainEnds}, Warning},
		{"expired, and another way", crossed(), false, []Code{ChainExpired}, Warning},
		{"out of order", []*x509.Certificate{good, root, between}, false, []Code{ChainOrder}, Warning},
		{"with a stranger", []*x509.Certificate{good, own, between}, false, []Code{ChainOrder}, Warning},
		{"no second intermediate", without(t, root, rootKey, authority, now), false, []Code{CertificateUntrusted}, Error},
		{"for clients", []*x509.Certificate{leaf(-30*day, 60*day, "mail.example.org", func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), between}, false, []Code{CertificateUsage}, Error},
		{"that may not sign", []*x509.Certificate{leaf(-30*day, 60*day, "mail.example.org", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), between}, false,
			[]Code{CertificateUsage}, Error},
		{"for clients, of nobody", []*x509.Certificate{func() *x509.Certificate {
			c, _ := issued(t, nil, nil, x509.Certificate{DNSNames: []string{"mail.example.org"}, NotBefore: now.Add(-day), NotAfter: now.Add(90 * day), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
			return c
		}()}, false, []Code{CertificateUsage, CertificateUntrusted}, Error},
		{"nobody's", []*x509.Certificate{own}, false, []Code{CertificateUntrusted}, Error},
		{"nobody's, as described", []*x509.Certificate{own}, true, []Code{CertificateUntrusted}, Note},
	} {
		s := Served{Listener: "listener imap", Name: "mail.example.org", Chain: test.chain, SelfSigned: test.selfSigned}
		found := s.Judge(roots, now)
		var got []Code
		for _, f := range found {
			got = append(got, f.Code)
		}
		if !equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		} else if test.name == "no second intermediate" != strings.Contains(fmt.Sprint(found), "is missing at the end of the chain") {
			t.Errorf("%s: %v", test.name, found)
		} else if len(found) > 0 && found[len(found)-1].Severity != test.severity {
			t.Errorf("%s: %s, want %s", test.name, found[len(found)-1].Severity, test.severity)
		}
	}
}

// without gives a chain that lacks the second of its intermediates.
func without(t *testing.T, root *x509.Certificate, key *ecdsa.PrivateKey, authority x509.Certificate, now time.Time) []*x509.Certificate {
	authority.Subject = pkix.Name{CommonName: "second"}
	second, secondKey := issued(t, root, key, authority)
	authority.Subject, authority.IssuingCertificateURL = pkix.Name{CommonName: "first"}, []string{"http://ca.example/second.der"}
	first, firstKey := issued(t, second, secondKey, authority)
	leaf, _ := issued(t, first, firstKey, x509.Certificate{DNSNames: []string{"mail.example.org"}, NotBefore: now, NotAfter: now.Add(90 * 24 * time.Hour)})
	return []*x509.Certificate{leaf, first}
}
