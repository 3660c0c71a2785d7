package kind

import (
	"bytes"
	"context"
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
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
)

// readPair reads a chain and its key, which may change under its hands: certbot
// switches the links of a lineage one by one. It looks again until the two
// belong together. The error is of reading; whether the pair is good, check says.
func readPair(ctx context.Context, certificate, key string) (*pair, []string, error) {
	const tries, pause = 6, 100 * time.Millisecond
	for n := 1; ; n++ {
		p, faults, err := readPairOnce(certificate, key)
		torn := errors.Is(err, fs.ErrNotExist) || err == nil && p.chain != nil && p.key != nil && !p.matches()
		if !torn || n == tries || ctx.Err() != nil {
			return p, faults, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// readPairOnce gives what can be read, and what is wrong with the rest.
func readPairOnce(certificate, key string) (*pair, []string, error) {
	chainPEM, err := readPEM(certificate)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err := readPEM(key)
	if err != nil {
		return nil, nil, err
	}
	p, faults := parsePair(certificate, chainPEM, key, keyPEM)
	if exposed(key) {
		faults = append(faults, fmt.Sprintf("%s can be read by every user of the host: chmod 600", key))
	}
	return p, faults, nil
}

// parsePair reads a chain and its key, which may stand in one file, as Courier
// has them.
func parsePair(certificate string, chainPEM []byte, key string, keyPEM []byte) (*pair, []string) {
	p := &pair{}
	faults := p.parseChain(certificate, chainPEM, certificate == key)
	return p, append(faults, p.parseKey(key, keyPEM)...)
}

// readPEM reads a file of a sensible size. Links are followed: a lineage is
// made of them. It never waits for the other end of a pipe.
func readPEM(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(data) > maxPEM {
		err = fmt.Errorf("read %s: larger than any certificate", path)
	}
	return data, err
}

// exposed tells whether any user can read the file: its mode lets them, and so
// does every directory above it.
func exposed(path string) bool {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode()&0o004 == 0 {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err != nil || st.Mode()&0o001 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

// parseChain reads certificates. Text between the blocks is let through, as
// openssl writes it. Other blocks are only where the file is stitched.
func (p *pair) parseChain(path string, data []byte, stitched bool) (faults []string) {
	for rest := data; ; {
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
	if len(p.chain) == 0 {
		faults = append(faults, fmt.Sprintf("%s holds no certificate", path))
	}
	if len(p.chain) > maxChain {
		faults = append(faults, fmt.Sprintf("%s holds %d certificates", path, len(p.chain)))
	}
	return slices.Compact(faults)
}

func (p *pair) parseKey(path string, data []byte) (faults []string) {
	keys := 0
	for rest := data; ; {
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
		switch {
		case now.After(c.NotAfter):
			faults = append(faults, fmt.Sprintf("%s expired on %s", what, c.NotAfter.UTC().Format(time.DateOnly)))
		case now.Before(c.NotBefore):
			faults = append(faults, fmt.Sprintf("%s is not valid before %s", what, c.NotBefore.UTC().Format(time.DateTime)))
		}
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < minRSABits {
			faults = append(faults, fmt.Sprintf("%s has an RSA key of %d bits, want %d", what, k.N.BitLen(), minRSABits))
		}
		if i > 0 && p.chain[i-1].CheckSignatureFrom(c) != nil {
			faults = append(faults, fmt.Sprintf("certificate %d did not issue certificate %d: the chain is out of order", i+1, i))
		}
	}
	if missing := uncovered(p.chain[0], names); len(missing) > 0 {
		faults = append(faults, fmt.Sprintf("the certificate is for %s, not for %s",
			strings.Join(certificateNames(p.chain[0]), " "), strings.Join(missing, " ")))
	}
	return faults
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
