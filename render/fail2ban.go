package render

import (
	"fmt"
	"slices"
	"strings"

	"mailstead/schema"
)

// The files that fail2ban reads.
const (
	Fail2banFilter = "/etc/fail2ban/filter.d/mailstead.conf"
	Fail2banJail   = "/etc/fail2ban/jail.d/mailstead.conf"
)

const fail2banHead = `# Kept by mailstead: "mailstead apply" writes this file again, and what is
# changed here is lost. Changes of one's own go into a file beside it that ends in .local.
`

// Fail2ban is what the filter and the jail are made of.
type Fail2ban struct {
	Listeners []schema.Listener
	Web       *schema.Web // the page; nil: there is none
	Jail      schema.Fail2ban
}

// Filter finds failed logins in the journal, and in a file where standard error
// goes into one. The address stands before anything that a client has sent, and
// what a client has sent is quoted, so nobody writes the address of another. A
// line is of the units that talk to clients: users have processes and a journal
// of their own, too.
func (f Fail2ban) Filter() ([]byte, error) {
	units := []string{ServiceUnit, "mailstead-auth.service"}
	for _, l := range f.Listeners {
		if err := checkName("listener", listenerName, l.Name); err != nil {
			return nil, fmt.Errorf("render fail2ban filter: %w", err)
		}
		units = append(units, "mailstead-login@"+l.Name+".service")
	}
	if f.Web != nil {
		units = append(units, WebUnit)
	}
	var b strings.Builder
	b.WriteString(fail2banHead)
	b.WriteString(`
[Definition]
failregex = ^\s*(?:\S+ )?mailstead(?:-imapd)?(?:\[\d+\])?: msg="login failed" addr=<ADDR>\s
            ^\s*time=\S* level=WARN msg="login failed" addr=<ADDR>\s
ignoreregex =
`)
	b.WriteString("journalmatch = _SYSTEMD_UNIT=" + strings.Join(units, " + _SYSTEMD_UNIT=") + "\n")
	return []byte(b.String()), nil
}

// Settings is the jail: addresses that fail too often are kept from the ports. Those of
// listeners without TLS, which are on loopback addresses, are behind something else. Where
// there are no others, fail2ban's own default holds: every port.
func (f Fail2ban) Settings() []byte {
	var ports []string
	add := func(n int) {
		if port := fmt.Sprint(n); !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	for _, l := range f.Listeners {
		if l.TLS != schema.Plain {
			add(l.Port)
		}
	}
	if f.Web != nil && f.Web.Certificate != "" {
		add(f.Web.Port)
	}
	port := ""
	if len(ports) > 0 {
		port = "port = " + strings.Join(ports, ",") + "\n"
	}
	var b strings.Builder
	b.WriteString(fail2banHead)
	fmt.Fprintf(&b, `
[mailstead]
enabled = true
backend = systemd
filter = mailstead
%smaxretry = %d
findtime = %d
bantime = %d
`, port, f.Jail.MaxRetry, f.Jail.FindTime, f.Jail.BanTime)
	return []byte(b.String())
}
