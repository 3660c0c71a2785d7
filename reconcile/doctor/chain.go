package doctor

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Served is a certificate chain as a client got it for a name.
type Served struct {
	Listener   string // for the reader, such as `listener imap`
	Name       string // that the client asked for
	Chain      []*x509.Certificate
	SelfSigned bool // the description wants one that nobody has issued
	Origin     string
}

// renewedLate is how much of its life a certificate has left when it should have
// been renewed for a while, and no more than people would act on.
func renewedLate(c *x509.Certificate) time.Duration {
	const most = 21 * 24 * time.Hour
	return min(c.NotAfter.Sub(c.NotBefore)/4, most)
}

// Judge finds what a client that trusts roots has against a chain.
func (s Served) Judge(roots *x509.CertPool, now time.Time) []Finding {
	if len(s.Chain) == 0 {
		return nil
	}
	leaf := s.Chain[0]
	found := s.dates(leaf, now)
	if err := leaf.VerifyHostname(s.Name); err != nil {
		found = append(found, s.finding(CertificateName, "the certificate is for "+names(leaf)))
	}
	return append(found, s.trust(leaf, roots)...)
}

func (s Served) finding(code Code, seen string) Finding {
	return New(code, fmt.Sprintf("%s, %s", s.Listener, s.Name), seen).At(s.Origin)
}

// dates looks at when the certificate is good. What Mailstead makes itself is
// renewed by the plan.
func (s Served) dates(leaf *x509.Certificate, now time.Time) []Finding {
	left := leaf.NotAfter.Sub(now)
	switch {
	case now.After(leaf.NotAfter):
		return []Finding{s.finding(CertificateExpired, "the certificate expired on "+date(leaf.NotAfter))}
	case now.Before(leaf.NotBefore):
		return []Finding{s.finding(CertificateTooEarly, fmt.Sprintf("the certificate is good from %s on, and it is %s here", moment(leaf.NotBefore), moment(now)))}
	case left < renewedLate(leaf) && !s.SelfSigned:
		return []Finding{s.finding(CertificateEnds, fmt.Sprintf("the certificate as served expires in %d days, on %s", int(left.Hours()/24), date(leaf.NotAfter)))}
	}
	return nil
}

// trust looks whether the chain leads to somebody whom clients know. When it is
// good has been looked at, so the time is one at which the leaf is.
func (s Served) trust(leaf *x509.Certificate, roots *x509.CertPool) []Finding {
	between := x509.NewCertPool()
	for _, c := range s.Chain[1:] {
		between.AddCert(c)
	}
	at := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at})
	if err == nil {
		return nil
	}
	last := s.Chain[len(s.Chain)-1]
	var unknown x509.UnknownAuthorityError
	switch {
	case s.SelfSigned:
		return []Finding{s.finding(CertificateUntrusted, "the certificate is self-signed, as the description has it").As(Note).
			Do("Nothing, as long as clients are told to trust it.")}
	case errors.As(err, &unknown) && len(s.Chain) == 1 && leaf.CheckSignatureFrom(leaf) != nil && len(leaf.IssuingCertificateURL) > 0:
		return []Finding{s.finding(ChainIncomplete, fmt.Sprintf("the certificate of %q, which has issued this one, is not served with it", leaf.Issuer))}
	case errors.As(err, &unknown):
		return []Finding{s.finding(CertificateUntrusted, fmt.Sprintf("the chain ends with %q, issued by %q, who is not among the system's authorities", last.Subject, last.Issuer))}
	}
	return []Finding{s.finding(CertificateUntrusted, err.Error())}
}

// names gives the names in a certificate, some of them where they are many.
func names(c *x509.Certificate) string {
	const most = 5
	all := c.DNSNames
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	switch {
	case len(all) == 0:
		return "no name"
	case len(all) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func moment(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }
