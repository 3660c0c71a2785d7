package kind

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// pair is a certificate chain with the key of its leaf.
type pair struct {
	chain  []*x509.Certificate
	key    crypto.Signer
	keyDER []byte // PKCS #8
}

// The limits of what is read as a certificate.
const (
	maxPEM     = 1 << 20
	maxChain   = 16
	minRSABits = 2048
	maxRSABits = 8192 // crypto/tls takes no more
	minECBits  = 256
)

// parsePair reads a chain and its key, which may stand in one file, as Courier
// has them.
func parsePair(certificate string, chainPEM []byte, key string, keyPEM []byte) (*pair, []string) {
	p := &pair{}
	faults := p.parseChain(certificate, chainPEM, certificate == key)
	return p, append(faults, p.parseKey(key, keyPEM)...)
}

// parseChain reads certificates. Text between the blocks is let through, as
// openssl writes it. Other blocks are only where the file is stitched.
func (p *pair) parseChain(path string, data []byte, stitched bool) (faults []string) {
	rest := data
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		switch {
		case stitched && b.Type != "CERTIFICATE":
		case strings.HasSuffix(b.Type, "PRIVATE KEY"):
			faults = append(faults, fmt.Sprintf("%s holds a private key", path))
		case b.Type != "CERTIFICATE":
			faults = append(faults, fmt.Sprintf("%s holds a %q", path, b.Type))
		default:
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return append(faults, fmt.Sprintf("%s: certificate %d: %v", path, len(p.chain)+1, err))
			}
			p.chain = append(p.chain, c)
		}
	}
	switch {
	case cut(rest):
		faults = append(faults, fmt.Sprintf("%s ends in the middle of a block", path))
	case len(p.chain) == 0:
		faults = append(faults, fmt.Sprintf("%s holds no certificate", path))
	}
	if len(p.chain) > maxChain {
		faults = append(faults, fmt.Sprintf("%s holds %d certificates", path, len(p.chain)))
	}
	return slices.Compact(faults)
}

// cut tells whether what no block could be read from begins one: the file is
// damaged, or is just being written.
func cut(rest []byte) bool { return bytes.Contains(rest, []byte("-----BEGIN")) }

func (p *pair) parseKey(path string, data []byte) (faults []string) {
	keys, rest := 0, data
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue // EC PARAMETERS, or the certificate of a stitched file
		}
		keys++
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			faults = append(faults, fmt.Sprintf("the key in %s is encrypted", path))
			continue
		}
		key, err := parseKey(b.Bytes)
		if err != nil {
			faults = append(faults, fmt.Sprintf("the key in %s: %v", path, err))
			continue
		}
		p.key = key
	}
	switch {
	case cut(rest):
		faults = append(faults, fmt.Sprintf("%s ends in the middle of a block", path))
	case keys == 0:
		faults = append(faults, fmt.Sprintf("%s holds no private key", path))
	case keys > 1:
		faults = append(faults, fmt.Sprintf("%s holds %d private keys", path, keys))
	}
	if p.key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(p.key)
		if err != nil {
			faults = append(faults, fmt.Sprintf("the key in %s: %v", path, err))
		}
		p.keyDER = der
	}
	return faults
}

func parseKey(der []byte) (crypto.Signer, error) {
	var key any
	var err error
	if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
		if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			key = k
		} else if k, err := x509.ParseECPrivateKey(der); err == nil {
			key = k
		} else {
			return nil, errors.New("cannot be read")
		}
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("is of a kind that TLS does not have (%T)", key)
}

// matches tells whether the key is the leaf's.
func (p *pair) matches() bool {
	pub, ok := p.key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(p.chain[0].PublicKey)
}

// check names everything that keeps the pair from being served for the names.
func (p *pair) check(names []string, now time.Time) (faults []string) {
	if len(p.chain) == 0 || p.key == nil {
		return nil // said when it was read
	}
	if !p.matches() {
		faults = append(faults, "the key is not the certificate's")
	}
	for i, c := range p.chain {
		what := fmt.Sprintf("certificate %d (%s)", i+1, c.Subject.CommonName)
		if i == 0 {
			what = "the certificate"
		}
		for _, weak := range weaknesses(c, now) {
			faults = append(faults, what+" "+weak)
		}
		if i > 0 && !issued(c, p.chain[i-1]) {
			faults = append(faults, fmt.Sprintf("certificate %d did not issue certificate %d: the chain is out of order", i+1, i))
		}
	}
	leaf := p.chain[0]
	if fault := NotForServers(leaf); fault != "" {
		faults = append(faults, "the certificate is not for servers: "+fault)
	}
	if missing := uncovered(leaf, names); len(missing) > 0 {
		faults = append(faults, fmt.Sprintf("the certificate is for %s, not for %s",
			strings.Join(certificateNames(leaf), " "), strings.Join(missing, " ")))
	}
	return faults
}

// NotForServers says why a certificate may not be a server's, "" if it may. Where TLS
// keeps a key by ephemeral Diffie-Hellman, and 1.3 has nothing else, the server's own
// key signs (RFC 8446 §4.4.2.2, RFC 5280 §4.2.1.3 and §4.2.1.12).
func NotForServers(leaf *x509.Certificate) string {
	switch {
	case len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return "its extended key usage says what else it is for"
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return "its key usage does not let the key sign (digitalSignature)"
	}
	return ""
}

// weaknesses names what clients object to in any certificate of a chain.
func weaknesses(c *x509.Certificate, now time.Time) (faults []string) {
	switch {
	case now.After(c.NotAfter):
		faults = append(faults, "expired on "+c.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(c.NotBefore):
		faults = append(faults, "is not valid before "+c.NotBefore.UTC().Format(time.DateTime))
	}
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			faults = append(faults, fmt.Sprintf("has an RSA key of %d bits, want %d to %d", bits, minRSABits, maxRSABits))
		}
	case *ecdsa.PublicKey:
		if bits := k.Curve.Params().BitSize; bits < minECBits {
			faults = append(faults, fmt.Sprintf("has a key on the curve %s, want one of %d bits or more", k.Curve.Params().Name, minECBits))
		}
	}
	// Nobody looks at the signature that a root has made for itself.
	if outdatedSignature(c) && !bytes.Equal(c.RawIssuer, c.RawSubject) {
		faults = append(faults, fmt.Sprintf("is signed with %s, which clients refuse", c.SignatureAlgorithm))
	}
	return faults
}

func outdatedSignature(c *x509.Certificate) bool {
	return slices.Contains([]x509.SignatureAlgorithm{
		x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
	}, c.SignatureAlgorithm)
}

// issued tells whether one certificate signed the other. A signature that is too
// weak to be checked is a fault of its own.
func issued(issuer, c *x509.Certificate) bool {
	if outdatedSignature(c) {
		return bytes.Equal(c.RawIssuer, issuer.RawSubject)
	}
	return c.CheckSignatureFrom(issuer) == nil
}

// uncovered gives the names that a certificate is not for. A wildcard is
// covered by the same wildcard only.
func uncovered(c *x509.Certificate, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		if strings.HasPrefix(name, "*.") {
			return slices.ContainsFunc(c.DNSNames, func(n string) bool { return strings.EqualFold(n, name) })
		}
		return c.VerifyHostname(name) == nil
	})
}

func certificateNames(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = append(names, "no name")
	}
	return names
}

// fingerprint is the SHA-256 of the leaf's DER.
func (p *pair) fingerprint() string { return digest(p.chain[0].Raw) }

// chainDigest is the SHA-256 of everything that a client is sent.
func (p *pair) chainDigest() string {
	var b bytes.Buffer
	for _, c := range p.chain {
		b.Write(c.Raw)
	}
	return digest(b.Bytes())
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// encode gives the bundle: the key, then the chain, with LF line ends and
// nothing else.
func (p *pair) encode() []byte {
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: p.keyDER})
	for _, c := range p.chain {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}
