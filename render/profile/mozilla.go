package profile

import (
	"fmt"
	"strings"
)

// Autoconfig is the file config-v1.1.xml that Thunderbird and others look for: of a
// user, or of a domain, with places for the address that they fill in. Thunderbird
// refuses one without a server for outgoing mail; without one the error is ErrNoOutgoing.
func (s *Settings) Autoconfig() ([]byte, error) {
	if s.Outgoing == nil {
		return nil, fmt.Errorf("autoconfig: %w", ErrNoOutgoing)
	}
	if s.Address == "" && s.login == Mixed {
		return nil, fmt.Errorf("autoconfig: %w", s.mixedError())
	}
	var b strings.Builder
	element := func(indent, name, value string) {
		fmt.Fprintf(&b, "%s<%s>%s</%s>\n", indent, name, escape(value), name)
	}
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n")
	fmt.Fprintf(&b, "  <emailProvider id=\"%s\">\n", escape(s.Domain))
	element("    ", "domain", s.Domain)
	element("    ", "displayName", s.Name)
	element("    ", "displayShortName", s.Name)
	server := func(kind, protocol string, srv Server) {
		fmt.Fprintf(&b, "    <%s type=\"%s\">\n", kind, protocol)
		element("      ", "hostname", srv.Host)
		element("      ", "port", fmt.Sprint(srv.Port))
		element("      ", "socketType", tlsWord(srv, "SSL", "STARTTLS"))
		login := s.placeOf(srv)
		if login == "" {
			element("      ", "authentication", "none")
		} else {
			element("      ", "authentication", "password-cleartext") // within TLS
			element("      ", "username", login)
		}
		fmt.Fprintf(&b, "    </%s>\n", kind)
	}
	for _, srv := range s.Incoming {
		server("incomingServer", "imap", srv)
	}
	server("outgoingServer", "smtp", *s.Outgoing)
	b.WriteString("  </emailProvider>\n</clientConfig>\n")
	return []byte(b.String()), nil
}

// placeOf is what stands for the login: the user's, or a word that the program
// replaces.
func (s *Settings) placeOf(srv Server) string {
	if s.Address != "" {
		return srv.User
	}
	return map[Login]string{ByName: "%EMAILLOCALPART%", ByAddress: "%EMAILADDRESS%"}[srv.form]
}
