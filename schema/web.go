package schema

import (
	"fmt"
	"net/netip"
	"slices"
)

// Web is the page for users and admins.
type Web struct {
	Origin      Pos
	Address     string // an IP address; "" is every address
	Port        int
	Certificate string // Certificate.Name; "": no TLS, on loopback
	Admins      []WebAdmin
}

// WebAdmin is somebody who looks after the host at the page.
type WebAdmin struct {
	Name         string
	Hash         Secret
	TOTPFile     string   // path of a file with the secret in base32 on its first line
	Certificates []string // SHA-256 of the DER, lower-case hex
}

// AsksCertificates tells whether an admin logs in by a certificate.
func (w *Web) AsksCertificates() bool {
	return slices.ContainsFunc(w.Admins, func(a WebAdmin) bool { return len(a.Certificates) > 0 })
}

// web completes the page. It comes after listeners, certificates and logins.
func (c *completer) web() {
	s := c.spot.at("web")
	var place struct {
		Address, Certificate string
		Port                 int
	}
	if !s.exists() || !c.part(&place, "web") {
		return
	}
	w := &Web{Origin: s.pos(), Address: place.Address, Port: place.Port, Certificate: place.Certificate}
	before := len(c.faults)
	for _, a := range s.at("admins").fields() {
		w.Admins = append(w.Admins, webAdmin(a))
	}
	if c.host.Logins == nil && !c.spot.at("logins").exists() {
		s.fault(CodeMissing, "needs the daemon to keep what users change", "write logins: {} beside it")
	}
	c.checkWebPlace(w, s)
	if len(c.faults) == before {
		c.host.Web = w
	}
}

func webAdmin(s spot) WebAdmin {
	a := WebAdmin{Name: s.name()}
	hash, _ := s.at("hash").str()
	if wrong, hint := checkHash(hash, nil); wrong != "" {
		s.at("hash").faultOfValue(CodeUnsafe, wrong, hint)
	}
	a.Hash = Secret(withoutScheme(hash))
	a.TOTPFile, _ = s.at("totpFile").str()
	for _, f := range s.at("certificates").elements() {
		print, _ := f.str()
		a.Certificates = append(a.Certificates, print)
	}
	return a
}

// checkWebPlace checks where the page is served, and by which certificate.
func (c *completer) checkWebPlace(w *Web, s spot) {
	ip, err := netip.ParseAddr(w.Address)
	switch {
	case w.Address == "":
	case err != nil || ip.Is4In6() || ip.IsMulticast():
		s.at("address").faultOfValue(CodeValue, "is no IP address that a server can listen on: "+quote(w.Address), "write one such as 127.0.0.1 or ::1")
		return
	default:
		w.Address = ip.String()
	}
	if w.Certificate == "" && (w.Address == "" || !ip.IsLoopback()) {
		s.fault(CodeUnsafe, "is not on a loopback address and names no certificate: passwords would cross the network in the clear",
			`write certificate: with the name of one of tls.certificates, or address: "127.0.0.1"`)
	}
	if w.Certificate == "" && w.AsksCertificates() {
		s.fault(CodeValue, "has admins with certificates, and without TLS nobody can show one", "write certificate: with the name of one of tls.certificates")
	}
	if w.Certificate != "" && !c.spot.at("tls", "certificates", w.Certificate).exists() {
		s.at("certificate").faultOfValue(CodeReference, "names no certificate of this host: "+quote(w.Certificate), "")
	}
	for _, l := range c.host.Listeners {
		if l.Port == w.Port && overlap(l.Address, w.Address) {
			s.fault(CodeDuplicate, fmt.Sprintf("listens where the listener %s does (%s)", l.Name, l.Origin), "give it another port")
		}
	}
}
