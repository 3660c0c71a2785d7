package schema

import (
	"slices"
	"strings"
)

// profiles completes what mail programs are told.
func (c *completer) profiles() {
	s := c.spot.at("profiles")
	if !s.exists() || !s.ok() {
		return
	}
	p := &Profiles{Origin: s.pos()}
	p.Name, _ = s.at("name").str()
	p.Domain, _ = s.at("domain").str()
	p.Server, _ = s.at("server").str()
	p.Dir, _ = s.at("dir").str()
	p.Sign, _ = s.at("sign").str()
	p.Submission = submission(s.at("submission"))
	if p.Sign != "" && !c.spot.at("tls", "certificates", p.Sign).exists() {
		s.at("sign").faultOfValue(CodeReference, "names no certificate of this host: "+quote(p.Sign), c.spot.at("tls", "certificates").choices(p.Sign))
	}
	if p.Dir != "" && p.Submission == nil && s.at("submission").ok() {
		s.at("dir").fault(CodeMissing, "asks for files that Thunderbird refuses without a server for outgoing mail, and there is none",
			`write submission: server: "smtp.example.org"`)
	}
	if p.Dir != "" && len(c.host.Listeners) > 0 && !slices.ContainsFunc(c.host.Listeners, Listener.Public) {
		s.at("dir").fault(CodeValue, "asks for files that tell of this host, whose mail no program can reach: its listeners are on loopback addresses, or proxies", "leave it out")
	}
	if systemDirectory(p.Dir) {
		s.at("dir").faultOfValue(CodeUnsafe, "is a directory of the system: "+p.Dir, "choose one for this alone, such as /srv/www/profiles")
	}
	c.host.Profiles = p
}

// submission completes the server for outgoing mail, nil where there is none.
func submission(s spot) *Submission {
	if !s.exists() || !s.ok() {
		return nil
	}
	out := &Submission{Port: 465, TLS: Implicit, Login: "name"}
	out.Server, _ = s.at("server").str()
	if mode, ok := s.at("tls").str(); ok && TLSMode(mode) == STARTTLS {
		out.TLS, out.Port = STARTTLS, 587
	}
	if port, ok := s.at("port").number(); ok {
		out.Port = port
	}
	if login, ok := s.at("login").str(); ok {
		out.Login = login
	}
	return out
}

// MailDomain is the domain of the addresses of users whose names have none.
func (h *Host) MailDomain() string {
	if h.Profiles != nil && h.Profiles.Domain != "" {
		return h.Profiles.Domain
	}
	if _, rest, _ := strings.Cut(h.Name, "."); strings.Contains(rest, ".") {
		return rest
	}
	return h.Name
}
