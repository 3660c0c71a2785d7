package profile

import (
	"fmt"
	"strings"

	"mailstead/schema"
)

// Zone is the SRV records of the domain (RFC 6186, RFC 8314 §5.1) as a fragment of
// a zone file. TLS from the start comes first; what is not offered has ".". Of the
// server for outgoing mail nothing is said where the description names none.
func (s *Settings) Zone() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "; How mail programs find the servers of addresses in %s (RFC 6186, RFC 8314).\n$ORIGIN %s.\n", s.Domain, s.Domain)
	b.WriteString("; The priority (least first, of _imaps and _imap together), the weight, the port, the server:\n")
	records := func(service string, mode schema.TLSMode, servers []Server) {
		offered := false
		for _, srv := range servers {
			if srv.TLS == mode {
				priority := 0
				if mode == schema.STARTTLS {
					priority = 10
				}
				fmt.Fprintf(&b, "%-20s IN SRV %2d 1 %5d %s.\n", service+"._tcp", priority, srv.Port, srv.Host)
				offered = true
			}
		}
		if !offered {
			fmt.Fprintf(&b, "%-20s IN SRV  0 0     0 .\n", service+"._tcp")
		}
	}
	records("_imaps", schema.Implicit, s.Incoming)
	records("_imap", schema.STARTTLS, s.Incoming)
	if s.Outgoing != nil {
		records("_submissions", schema.Implicit, []Server{*s.Outgoing})
		records("_submission", schema.STARTTLS, []Server{*s.Outgoing})
	}
	b.WriteString("; Mailstead has no POP3. Leave these out if another server of yours has.\n")
	records("_pop3s", schema.Implicit, nil)
	records("_pop3", schema.STARTTLS, nil)
	return []byte(b.String())
}
