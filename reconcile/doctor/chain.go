package doctor

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailstead/reconcile/kind"
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
	if why := kind.NotForServers(leaf); why != "" {
		found = append(found, s.finding(CertificateUsage, why))
	}
	found = append(found, s.order()...)
	return append(found, s.trust(leaf, roots, now)...)
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

// trust looks whether the chain leads to somebody whom clients know. When the leaf is
// good has been looked at, so the time is one at which it is.
func (s Served) trust(leaf *x509.Certificate, roots *x509.CertPool, now time.Time) []Finding {
	between := x509.NewCertPool()
	for _, c := range s.Chain[1:] {
		between.AddCert(c)
	}
	at := now
	if at.Before(leaf.NotBefore) || at.After(leaf.NotAfter) {
		at = leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	}
	ways, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at})
	old := slices.IndexFunc(s.Chain[1:], func(c *x509.Certificate) bool { return at.After(c.NotAfter) }) + 1
	last := s.Chain[len(s.Chain)-1]
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil && old > 0:
		return []Finding{s.finding(ChainExpired, s.nth(old)+" expired on "+date(s.Chain[old].NotAfter)+"; clients that know another way to an authority go on").As(Warning)}
	case err == nil:
		return s.until(leaf, ways)
	case s.SelfSigned:
		return []Finding{s.finding(CertificateUntrusted, "the certificate is self-signed, as the description has it").As(Note).
			Do("Nothing, as long as clients are told to trust it.")}
	case old > 0:
		return []Finding{s.finding(ChainExpired, s.nth(old)+" expired on "+date(s.Chain[old].NotAfter))}
	case errors.As(err, &unknown) && len(s.Chain) == 1 && leaf.CheckSignatureFrom(leaf) != nil && len(leaf.IssuingCertificateURL) > 0:
		return []Finding{s.finding(ChainIncomplete, fmt.Sprintf("the certificate of %q, which has issued this one, is not served with it", leaf.Issuer))}
	case errors.As(err, &unknown):
		f := s.finding(CertificateUntrusted, fmt.Sprintf("the chain ends with %q, issued by %q, who is not among the system's authorities", last.Subject, last.Issuer))
		if len(s.Chain) > 1 && last.CheckSignatureFrom(last) != nil { // whether that is a root, its own certificate would tell
			f = f.Do(f.Remedy + " If that one has an issuer, too, its certificate is missing at the end of the chain.")
		}
		return []Finding{f}
	}
	if kind.NotForServers(leaf) != "" {
		return nil // which has been said
	}
	return []Finding{s.finding(CertificateUntrusted, err.Error())}
}

// nth calls a certificate of the chain by its place.
func (s Served) nth(i int) string {
	if i == 0 {
		return "this one"
	}
	return fmt.Sprintf("certificate %d of the chain (%q)", i+1, s.Chain[i].Subject)
}

// until says that a chain is good for less long than its leaf, by each of the ways to
// an authority.
func (s Served) until(leaf *x509.Certificate, ways [][]*x509.Certificate) []Finding {
	var best *x509.Certificate // the first to end, of the way that is good for longest
	for _, way := range ways {
		first := slices.MinFunc(way, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
		if best == nil || first.NotAfter.After(best.NotAfter) {
			best = first
		}
	}
	if best == nil || !best.NotAfter.Before(leaf.NotAfter) {
		return nil
	}
	return []Finding{s.finding(ChainEnds, fmt.Sprintf("%q, by which clients trust the certificate, expires on %s, and the certificate itself on %s", best.Subject, date(best.NotAfter), date(leaf.NotAfter)))}
}

// order wants each certificate to have issued the one before it (RFC 5246 §7.4.2; RFC
// 8446 §4.4.2 has clients take others, and not all do).
func (s Served) order() []Finding {
	for i, c := range s.Chain[1:] {
		if !bytes.Equal(s.Chain[i].RawIssuer, c.RawSubject) {
			return []Finding{s.finding(ChainOrder, fmt.Sprintf("%s has not issued %s: that was %q", s.nth(i+1), s.nth(i), s.Chain[i].Issuer))}
		}
	}
	return nil
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
