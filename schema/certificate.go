package schema

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

func (c *completer) tls() {
	h := c.host
	var policy struct{ Policy, Default string }
	if c.ok("tls", "policy") && c.ok("tls", "default") && c.tlsFields(&policy) {
		h.TLS.Policy, h.TLS.Default = policy.Policy, policy.Default
	}
	for _, f := range fieldsOf(c.get("tls", "certificates")) {
		path := []string{"tls", "certificates", f.name}
		if !c.ok(path...) {
			continue
		}
		cert := Certificate{Name: f.name, Origin: c.pos(path...)}
		if c.member(f, &cert, "tls", "certificates") && c.checkCertificate(&cert) {
			h.TLS.Certificates = append(h.TLS.Certificates, cert)
		}
	}
	if h.TLS.Default == "" {
		h.TLS.Default = defaultCertificate(h)
	}
}

// tlsFields completes what stands beside the certificates.
func (c *completer) tlsFields(dst any) bool {
	one := c.schema.ctx.CompileString("{}")
	for _, name := range []string{"policy", "default"} {
		if u := c.get("tls", name); u.Exists() {
			one = one.FillPath(cue.MakePath(cue.Str(name)), u)
		}
	}
	v := c.rule.fields["tls"].value.Unify(c.defaults.LookupPath(cue.MakePath(cue.Str("tls"))))
	return c.decode(v.Unify(one), dst, "tls")
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
func (c *completer) checkCertificate(cert *Certificate) bool {
	before := len(c.loader.faults)
	path := []string{"tls", "certificates", cert.Name}
	var sources []string
	for _, name := range []string{"certbot", "files", "selfSigned"} {
		if c.get(append(path, name)...).Exists() {
			sources = append(sources, name)
		}
	}
	switch {
	case len(sources) == 0:
		c.found(CodeMissing, cert.Origin, path, "does not say where it comes from",
			"write certbot: {} for the lineage of that name, files: {certificate: ..., key: ...}, or selfSigned: {}")
	case len(sources) > 1:
		c.found(CodeValue, c.pos(append(path, sources[1])...), path, "comes from "+strings.Join(sources, " and ")+": it can come from one place only", "")
	case len(cert.Names) == 0:
		c.found(CodeValue, c.valuePos(append(path, "names")...), append(path, "names"), "is empty, so no client would ever get the certificate",
			"leave it out to serve the certificate for its own name")
	}
	if f := cert.Files; f != nil && (cert.Stitched == f.Certificate || cert.Stitched == f.Key) {
		c.found(CodeUnsafe, c.valuePos(append(path, "stitched")...), append(path, "stitched"),
			"is a file that the certificate is read from: it would be overwritten", "name another file")
	}
	return len(c.loader.faults) == before
}

// checkCertificates compares the certificates with each other and with the listeners.
func (c *completer) checkCertificates() {
	h := c.host
	c.checkServed()
	names, stitched := map[string]Certificate{}, map[string]Certificate{}
	for _, cert := range h.TLS.Certificates {
		path := []string{"tls", "certificates", cert.Name}
		for _, name := range cert.Names {
			if other, twice := names[name]; twice && other.Name != cert.Name {
				c.found(CodeDuplicate, cert.Origin, path, fmt.Sprintf("is served for %s, as %s is (%s): clients could get either", name, quote(other.Name), other.Origin),
					"set names so that each name is in one certificate")
				continue
			}
			names[name] = cert
		}
		if other, twice := stitched[cert.Stitched]; twice {
			c.found(CodeDuplicate, c.valuePos(append(path, "stitched")...), append(path, "stitched"),
				fmt.Sprintf("is the file of %s too (%s)", quote(other.Name), other.Origin), "name a file for each")
		} else if cert.Stitched != "" {
			stitched[cert.Stitched] = cert
		}
	}
	path := []string{"tls", "default"}
	if name := h.TLS.Default; name != "" && c.get(path...).Exists() && !c.get("tls", "certificates", name).Exists() {
		c.found(CodeReference, c.valuePos(path...), path, "names no certificate: "+quote(name), c.choices("tls", "certificates", name))
	}
}

// checkServed finds certificates without listeners, and listeners without certificates.
func (c *completer) checkServed() {
	listeners, certificates := fieldsOf(c.get("listeners")), fieldsOf(c.get("tls", "certificates"))
	if !c.ok("listeners") || len(listeners) == 0 {
		return // what they are is not known
	}
	var tls *Listener
	for i, l := range c.host.Listeners {
		if l.TLS != Plain {
			tls = &c.host.Listeners[i]
			break
		}
	}
	if tls != nil && len(certificates) == 0 && c.ok("tls") {
		c.found(CodeMissing, tls.Origin, []string{"listeners", tls.Name}, "serves TLS, and the host has no certificate", fmt.Sprintf(
			"write tls: certificates: %q: certbot: {} for a lineage of certbot's, or selfSigned: {} in place of certbot to try things out", c.host.Name))
	}
	if tls == nil && len(c.host.Listeners) == len(listeners) {
		for _, f := range certificates {
			path := []string{"tls", "certificates", f.name}
			c.found(CodeReference, c.pos(path...), path, "is served by no listener: none of them has TLS", `add listeners: imaps: {}, or remove the certificate`)
		}
	}
}

// choices is the hint for a name that should be one of those below a path.
func (c *completer) choices(path ...string) string {
	name := path[len(path)-1]
	var names []string
	for _, f := range fieldsOf(c.get(path[:len(path)-1]...)) {
		names = append(names, f.name)
	}
	switch near := nearest(name, names); {
	case near != "":
		return fmt.Sprintf("did you mean %s?", quote(near))
	case len(names) == 0:
		return "there is none"
	case len(names) > 10:
		return ""
	}
	return "there is " + strings.Join(names, ", ")
}
