package kind

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// makeSelfSigned makes a certificate that nobody but its reader vouches for.
func makeSelfSigned(names []string, days int, now time.Time) (*pair, error) {
	if len(names) == 0 || days <= 0 {
		return nil, fmt.Errorf("make certificate: %d names for %d days", len(names), days)
	}
	p, err := newSelfSigned(names, now.Add(-5*time.Minute), now.AddDate(0, 0, days)) // for clocks that are behind
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return p, nil
}

func newSelfSigned(names []string, from, until time.Time) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := selfSignedTemplate(names, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	t.NotBefore, t.NotAfter = from, until
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	return &pair{chain: []*x509.Certificate{cert}, key: key, keyDER: keyDER}, err
}

// selfSignedTemplate has a key identifier on both sides, which strict verifiers
// (Python's from 3.13 on) ask for.
func selfSignedTemplate(names []string, pub *ecdsa.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	point, err := pub.Bytes()
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(point)
	t := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: names[0]},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		SubjectKeyId:          id[:20],
		AuthorityKeyId:        id[:20],
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	if len(t.Subject.CommonName) > 64 { // X.520's bound
		t.Subject.CommonName = ""
	}
	return t, nil
}

// renewal says whether a self-signed certificate is to be renewed: when a third
// of its life is left.
func (p *pair) renewal(now time.Time) string {
	leaf := p.chain[0]
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if leaf.NotAfter.Sub(now) < life/3 {
		return fmt.Sprintf("due (valid until %s)", leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return renewalNotDue
}

// namesLike gives the names of the certificate, spelled as wanted if they are
// the same ones.
func (p *pair) namesLike(want []string) string {
	have := certificateNames(p.chain[0])
	norm := func(names []string) []string {
		out := make([]string, len(names))
		for i, n := range names {
			out[i] = strings.ToLower(n)
			if ip := net.ParseIP(n); ip != nil {
				out[i] = ip.String()
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	if slices.Equal(norm(have), norm(want)) {
		return strings.Join(want, " ")
	}
	return strings.Join(have, " ")
}
