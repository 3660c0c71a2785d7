package schema

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

func (c *completer) tls() {
	h, s := c.host, c.spot.at("tls")
	var fields struct {
		Policy, Default string
		Tickets         bool
		DHParams        *DHParams
	}
	if !slices.ContainsFunc(tlsFields, func(name string) bool { return !s.at(name).ok() }) && c.tlsFields(s, &fields) {
		h.TLS.Policy, h.TLS.Default, h.TLS.Tickets, h.TLS.DHParams = fields.Policy, fields.Default, fields.Tickets, fields.DHParams
	}
	for _, s := range s.at("certificates").fields() {
		if !s.ok() {
			continue
		}
		cert := Certificate{Name: s.name(), Origin: s.pos()}
		if c.member(s, &cert, "tls", "certificates") && c.checkCertificate(&cert, s) {
			h.TLS.Certificates = append(h.TLS.Certificates, cert)
		}
	}
	if h.TLS.Default == "" {
		h.TLS.Default = defaultCertificate(h)
	}
}

// tlsFields are what stands beside the certificates.
var tlsFields = []string{"policy", "default", "tickets", "dhparams"}

// tlsFields completes those.
func (c *completer) tlsFields(s spot, dst any) bool {
	one := c.schema.ctx.CompileString("{}")
	for _, name := range tlsFields {
		if f := s.at(name); f.exists() {
			one = one.FillPath(cue.MakePath(cue.Str(name)), c.data(f))
		}
	}
	v := c.rule.fields["tls"].value.Unify(c.defaults.LookupPath(cue.MakePath(cue.Str("tls"))))
	return c.decode(v.Unify(one), dst, s)
}

// defaultCertificate chooses what clients get who ask for no name.
func defaultCertificate(h *Host) string {
	for _, cert := range h.TLS.Certificates {
		if slices.Contains(cert.Names, h.Name) {
			return cert.Name
		}
	}
	if len(h.TLS.Certificates) > 0 {
		return h.TLS.Certificates[0].Name
	}
	return ""
}

// checkCertificate checks one certificate by itself.
func (c *completer) checkCertificate(cert *Certificate, s spot) bool {
	before := len(c.faults)
	var sources []string
	for _, name := range []string{"certbot", "files", "selfSigned"} {
		if s.at(name).exists() {
			sources = append(sources, name)
		}
	}
	switch {
	case len(sources) == 0:
		s.fault(CodeMissing, "does not say where it comes from",
			"write certbot: {} for the lineage of that name, files: {certificate: ..., key: ...}, or selfSigned: {}")
	case len(sources) > 1:
		c.fault(CodeValue, s.path, s.at(sources[1]).pos(), "comes from "+strings.Join(sources, " and ")+": it can come from one place only", "")
	}
	if len(cert.Names) == 0 {
		s.at("names").faultOfValue(CodeValue, "is empty, so no client would ever get the certificate", "leave it out to serve the certificate for its own name")
	}
	switch f := cert.Files; {
	case cert.Stitched == "":
	case f != nil && (cert.Stitched == f.Certificate || cert.Stitched == f.Key):
		s.at("stitched").faultOfValue(CodeUnsafe, "is a file that the certificate is read from: it would be overwritten", "name another file")
	default:
		c.checkElsewhere(s.at("stitched"), cert.Stitched, "/etc/courier/imapd.pem")
	}
	return len(c.faults) == before
}

// checkElsewhere wants a file for other programs to be where those look.
func (c *completer) checkElsewhere(s spot, file, example string) {
	if p := c.host.Paths; p.State != "" && (below(file, p.State) || below(file, p.Letsencrypt)) {
		s.faultOfValue(CodeUnsafe, "is among the files of Mailstead or of certbot", "name a file elsewhere, such as "+example)
	}
}

// checkDHParams finds a file that something else is in.
func (c *completer) checkDHParams(s spot) {
	d := c.host.TLS.DHParams
	if d == nil {
		return
	}
	s = s.at("dhparams", "file")
	c.checkElsewhere(s, d.File, "/etc/ssl/dhparams.pem")
	for _, cert := range c.host.TLS.Certificates {
		if f := cert.Files; cert.Stitched == d.File || f != nil && (f.Certificate == d.File || f.Key == d.File) {
			s.faultOfValue(CodeDuplicate, fmt.Sprintf("is a file of the certificate %s too (%s)", quote(cert.Name), cert.Origin), "name another file")
		}
	}
}

// checkCertificates compares the certificates with each other and with the listeners.
func (c *completer) checkCertificates() {
	s := c.spot.at("tls")
	c.checkServed(s)
	c.checkDHParams(s)
	names, stitched, sources := map[string]Certificate{}, map[string]Certificate{}, map[string]Certificate{}
	for _, cert := range c.host.TLS.Certificates {
		if f := cert.Files; f != nil {
			sources[f.Certificate], sources[f.Key] = cert, cert
		}
	}
	for _, cert := range c.host.TLS.Certificates {
		s := s.at("certificates", cert.Name)
		for i, name := range cert.Names {
			other, twice := names[name]
			if twice && other.Name == cert.Name {
				s.at("names").elements()[i].faultOfValue(CodeDuplicate, "is there twice: "+quote(name), "leave one of them out")
			} else if twice {
				s.fault(CodeDuplicate, fmt.Sprintf("is served for %s, as %s is (%s): clients could get either", name, quote(other.Name), other.Origin),
					"set names so that each name is in one certificate")
			} else {
				names[name] = cert
			}
		}
		if other, twice := stitched[cert.Stitched]; twice {
			s.at("stitched").faultOfValue(CodeDuplicate, fmt.Sprintf("is the file of %s too (%s)", quote(other.Name), other.Origin), "name a file for each")
		} else if of, read := sources[cert.Stitched]; read {
			s.at("stitched").faultOfValue(CodeUnsafe, fmt.Sprintf("is a file that %s is read from (%s): it would be overwritten", quote(of.Name), of.Origin), "name another file")
		} else if cert.Stitched != "" {
			stitched[cert.Stitched] = cert
		}
	}
	if name, ok := s.at("default").str(); ok && s.at("default").ok() && !s.at("certificates", name).exists() {
		s.at("default").faultOfValue(CodeReference, "names no certificate: "+quote(name), s.at("certificates").choices(name))
	}
}

// checkServed finds certificates without listeners, and listeners without certificates.
func (c *completer) checkServed(s spot) {
	listeners := c.spot.at("listeners")
	if !listeners.ok() || len(c.host.Listeners) < len(listeners.fields()) {
		return // what they are is not known
	}
	certificates := s.at("certificates").fields()
	tls := slices.IndexFunc(c.host.Listeners, func(l Listener) bool { return l.TLS != Plain })
	if tls >= 0 && len(certificates) == 0 && s.ok() {
		listeners.at(c.host.Listeners[tls].Name).fault(CodeMissing, "serves TLS, and the host has no certificate", fmt.Sprintf(
			"write tls: certificates: %q: certbot: {} for a lineage of certbot's, or selfSigned: {} in place of certbot to try things out", c.host.Name))
	}
	if tls < 0 && len(c.host.Listeners) > 0 {
		for _, s := range certificates {
			s.fault(CodeReference, "is served by no listener: none of them has TLS", "add listeners: imaps: {}, or remove the certificate")
		}
	}
}

// choices is the hint for a name that should be one of the fields of a struct.
func (s spot) choices(name string) string {
	var names []string
	for _, f := range s.fields() {
		names = append(names, f.name())
	}
	return choose(name, names)
}

// choose proposes names in place of a wrong one.
func choose(name string, names []string) string {
	switch near := Nearest(name, names); {
	case near != "":
		return fmt.Sprintf("did you mean %s?", quote(near))
	case len(names) == 0:
		return "there is none"
	case len(names) > 10:
		return ""
	}
	return "there is " + strings.Join(names, ", ")
}
