package login

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"mailstead/imapserver/config"
)

// Bundle is a certificate chain with its key, checked against each other.
type Bundle struct {
	Name        string
	Names       []string // SNI names; a leading "*." matches one label
	Certificate tls.Certificate
}

// ParseBundle reads the PEM of a bundle: key, leaf, then its chain. It is an
// error if the key is not the leaf's. Dates and names are Fault's.
func ParseBundle(name string, names []string, pem []byte) (Bundle, error) {
	c, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		// Its errors name what is missing and no octet of the key.
		return Bundle{}, fmt.Errorf("bundle %s: %w", name, err)
	}
	if c.Leaf == nil {
		return Bundle{}, fmt.Errorf("bundle %s: the leaf cannot be parsed", name)
	}
	for i, der := range c.Certificate[1:] {
		if err := checkIssuer(c.Certificate[i], der); err != nil {
			return Bundle{}, fmt.Errorf("bundle %s: certificate %d of the chain: %w", name, i+2, err)
		}
	}
	return Bundle{Name: name, Names: names, Certificate: c}, nil
}

// checkIssuer wants each certificate of a chain to be signed by the next one.
func checkIssuer(der, issuer []byte) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	i, err := x509.ParseCertificate(issuer)
	if err != nil {
		return err
	}
	if err := c.CheckSignatureFrom(i); err != nil {
		return errors.New("it did not sign the one before it")
	}
	return nil
}

// Fault says what clients would object to at that moment, or nil.
func (b Bundle) Fault(now time.Time) error {
	leaf := b.Certificate.Leaf
	var faults []error
	if now.After(leaf.NotAfter) {
		faults = append(faults, fmt.Errorf("bundle %s: expired on %s", b.Name, leaf.NotAfter.UTC().Format(time.RFC3339)))
	}
	if now.Before(leaf.NotBefore) {
		faults = append(faults, fmt.Errorf("bundle %s: not valid before %s", b.Name, leaf.NotBefore.UTC().Format(time.RFC3339)))
	}
	for _, name := range b.Names {
		// A wildcard is covered if any one label in its place is.
		if err := leaf.VerifyHostname(strings.Replace(name, "*", "any-label", 1)); err != nil {
			faults = append(faults, fmt.Errorf("bundle %s: the certificate is not for %s", b.Name, name))
		}
	}
	return errors.Join(faults...)
}

// Fingerprint is the SHA-256 of the leaf, in lower-case hex.
func (b Bundle) Fingerprint() string {
	sum := sha256.Sum256(b.Certificate.Leaf.Raw)
	return hex.EncodeToString(sum[:])
}

// Chain is the SHA-256 of the leaf and all that is sent behind it, in lower-case hex.
func (b Bundle) Chain() string {
	h := sha256.New()
	for _, der := range b.Certificate.Certificate {
		h.Write(der)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// certificates is the bundles in force; it does not change but for the keys of
// its session tickets.
type certificates struct {
	bundles []Bundle
	configs []*tls.Config  // of the bundles
	exact   map[string]int // index by SNI name
	wild    map[string]int // index by what follows "*"
	outer   *tls.Config    // chooses one of configs by SNI

	mu      sync.Mutex
	tickets [][][32]byte // of the bundles: the present key, then the last one
}

// newCertificates takes bundles, of which the first is the default, and may
// take none. A certificate of clients is asked for, and verified, where it is to be
// signed by an authority of clients; nil asks for none.
func newCertificates(how config.TLS, bundles []Bundle, clients *x509.CertPool) (*certificates, error) {
	c := &certificates{bundles: bundles, exact: map[string]int{}, wild: map[string]int{}}
	for i, b := range bundles {
		t, err := policyConfig(how.Policy)
		if err != nil {
			return nil, err
		}
		t.SessionTicketsDisabled = !how.Tickets
		t.Certificates = []tls.Certificate{b.Certificate}
		if clients != nil {
			t.ClientCAs, t.ClientAuth = clients, tls.VerifyClientCertIfGiven
		}
		c.configs = append(c.configs, t)
		for _, name := range b.Names {
			if rest, ok := strings.CutPrefix(name, "*"); ok {
				c.wild[rest] = i
			} else {
				c.exact[name] = i
			}
		}
	}
	c.tickets = make([][][32]byte, len(bundles))
	c.rotate()
	c.outer = &tls.Config{
		MinVersion:         tls.VersionTLS12, // whoever offers less hears so before the choice
		GetConfigForClient: c.choose,
	}
	return c, nil
}

// policyConfig is Mozilla's policy of that name, as far as crypto/tls has it.
// A client that offers protocols by ALPN must offer imap among them: one that
// was sent here while it talks to another server is turned away (ALPACA).
func policyConfig(policy string) (*tls.Config, error) {
	t := &tls.Config{NextProtos: []string{"imap"}}
	switch policy {
	case config.Modern:
		t.MinVersion = tls.VersionTLS13
	case config.Intermediate:
		t.MinVersion = tls.VersionTLS12
		t.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	default:
		return nil, fmt.Errorf("TLS policy %q is not known", policy)
	}
	return t, nil
}

// choose gives the configuration of the bundle for an SNI name: its exact
// name, a wildcard for it, or the default.
func (c *certificates) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	return c.configs[c.find(hello.ServerName)], nil
}

func (c *certificates) find(name string) int {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if i, ok := c.exact[name]; ok {
		return i
	}
	if dot := strings.IndexByte(name, '.'); dot > 0 {
		if i, ok := c.wild[name[dot:]]; ok {
			return i
		}
	}
	return 0
}

// ticketLife is how long a key of session tickets, where there are some, is the present
// one; for as long again tickets of it are taken.
const ticketLife = 12 * time.Hour

// rotate makes new keys. Each bundle has its own, so a session that began with
// one certificate is never resumed under another name, and none outlives a
// reload.
func (c *certificates) rotate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, t := range c.configs {
		var key [32]byte
		rand.Read(key[:])
		c.tickets[i] = append([][32]byte{key}, c.tickets[i][:min(1, len(c.tickets[i]))]...)
		t.SetSessionTicketKeys(c.tickets[i])
	}
}

// clientCertificates makes certificates of their own for each listener on which
// clients show one. Their tickets are of other keys: what began anywhere else, or
// before a reload, is not resumed there (CVE-2025-68121).
func clientCertificates(c *config.Config, bundles []Bundle) (map[string]*certificates, error) {
	all := map[string]*certificates{}
	for _, l := range c.Listeners {
		if l.Clients == nil {
			continue
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(l.Clients.PEM) {
			return nil, fmt.Errorf("listener %s: %s has no certificate in it", l.Name, l.Clients.CA)
		}
		var err error
		if all[l.Name], err = newCertificates(c.TLS, bundles, roots); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// of gives the certificates of a listener.
func (s *settings) of(listener string) *certificates {
	if own := s.clients[listener]; own != nil {
		return own
	}
	return s.certificates
}
