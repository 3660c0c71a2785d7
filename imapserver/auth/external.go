package auth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// authority is whose certificates are accepted on a listener, and what in them is
// the name of the user.
type authority struct {
	roots *x509.CertPool
	by    string
}

// authorities gives those of the listeners, by name.
func authorities(listeners []config.Listener) (map[string]authority, error) {
	all := map[string]authority{}
	for _, l := range listeners {
		if l.Clients == nil {
			continue
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(l.Clients.PEM) {
			return nil, fmt.Errorf("listener %s: %s has no certificate in it", l.Name, l.Clients.CA)
		}
		all[l.Name] = authority{roots, l.Clients.By}
	}
	return all, nil
}

// external begins an exchange of EXTERNAL. The login has verified the certificate in
// its handshake; that it is one of the authority's is looked at here once more, for
// a login that was taken over could present any.
func (a *Auth) external(l *logins, c *handoff.Credentials) *sasl.External {
	names, err := l.authorities[c.Listener].names(c.Exchange.Certificates)
	if err != nil {
		a.log.Warn("certificate of a client not accepted", "session", c.ID, "addr", c.Remote, "err", err)
	}
	return &sasl.External{Names: names}
}

// names verifies a certificate with its chain, and gives the names of users in it.
func (y authority) names(chain [][]byte) ([]string, error) {
	if y.roots == nil || len(chain) == 0 {
		return nil, errors.New("there is none")
	}
	intermediates := x509.NewCertPool()
	var leaf *x509.Certificate
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			leaf = c
		} else {
			intermediates.AddCert(c)
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: y.roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, err
	}
	names := []string{leaf.Subject.CommonName}
	if y.by == config.ByEmail {
		names = leaf.EmailAddresses
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return sasl.Check(sasl.Credentials{User: n, Password: "-"}) != nil })
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no name in it, by %s", y.by)
	}
	return names, nil
}
