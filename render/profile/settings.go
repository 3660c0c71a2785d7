// Package profile says to mail programs what they need to know of a host: a
// configuration profile for Apple's, Thunderbird's autoconfig, Microsoft's
// autodiscover, SRV records, and a page for people. It is pure: the same
// description gives the same bytes, but for a signature, which has a time.
//
// It is called by cmd, which writes the files or serves them, and by
// reconcile/desired for those of a web server; it imports schema alone.
package profile

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailstead/schema"
)

// Settings is what a mail program needs to know: of one user, or of everybody
// with an address in a domain.
type Settings struct {
	Host      string   `json:"host"`                // name of the mail host in the description
	Name      string   `json:"name"`                // of the provider, for people; one line
	Domain    string   `json:"domain"`              // of the address
	Address   string   `json:"address,omitempty"`   // of the user; "" for a whole domain
	Incoming  []Server `json:"incoming"`            // best first; never empty
	Outgoing  *Server  `json:"outgoing,omitempty"`  // nil: the description names none
	Folders   []Folder `json:"folders,omitempty"`   // those with a use
	Namespace string   `json:"namespace,omitempty"` // prefix of personal folders: "" or "INBOX."

	login Login // of a whole domain
}

// Server is one way to a server, always over TLS.
type Server struct {
	Host string         `json:"host"`
	Port int            `json:"port"`
	TLS  schema.TLSMode `json:"tls"` // schema.Implicit or schema.STARTTLS
	// User is what the user logs in with. It is "" where nobody logs in, and for a
	// whole domain.
	User string `json:"user,omitempty"`

	form Login // for a whole domain; "" where nobody logs in
}

// Folder is one that mail programs have a use for.
type Folder struct {
	Use  string `json:"use"`  // "sent", "drafts", ... (RFC 6154 §2)
	Name string `json:"name"` // as clients see it
}

// Login says what the users of a domain log in with.
type Login string

// What they can log in with.
const (
	ByName    Login = "name"    // the part of the address before the "@"
	ByAddress Login = "address" // all of it
	Mixed     Login = "mixed"   // some with the one, some with the other
)

// ElsewhereError says that a user's mail is on another server (RFC 2221), of
// which the description knows no more than its URL.
type ElsewhereError struct{ User, URL string }

func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("the mail of %s is on another server: %s", e.User, e.URL)
}

// For gives the settings of somebody by name: a user of the description, or, where
// directories are asked about users, anybody.
func For(host *schema.Host, name string) (*Settings, error) {
	i := slices.IndexFunc(host.Users, func(u schema.User) bool { return u.Name == name })
	switch {
	case i >= 0:
		return ForUser(host, host.Users[i])
	case len(host.Directories) == 0 || !sayable(name):
		return nil, fmt.Errorf("%s has no user %q", host.Name, name)
	}
	return ForUser(host, schema.User{Name: name, Folders: host.Folders})
}

// ForUser gives the settings of one of the host's users. For one whose mail is on
// another server the error is an *ElsewhereError.
func ForUser(host *schema.Host, u schema.User) (*Settings, error) {
	if u.Elsewhere != "" {
		return nil, &ElsewhereError{u.Name, u.Elsewhere}
	}
	address := u.Name
	if !strings.Contains(address, "@") {
		address += "@" + host.MailDomain()
	}
	_, domain, _ := cutLast(address, "@")
	s, err := newSettings(host, strings.ToLower(domain))
	if err != nil {
		return nil, err
	}
	s.Address, s.Folders = address, special(u.Folders, host.Namespace)
	for i := range s.Incoming {
		s.Incoming[i].User = u.Name
	}
	if s.Outgoing != nil {
		s.Outgoing.User = map[string]string{"name": u.Name, "address": address}[host.Profiles.Submission.Login]
	}
	return s, nil
}

// sayable tells whether a name can stand in each of the files and on a page.
func sayable(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// ForDomain gives the settings of whoever has an address in a domain. It depends
// on nobody in particular, so it tells no stranger who there is.
func ForDomain(host *schema.Host, domain string) (*Settings, error) {
	return ForLogins(host, domain, Logins(host))
}

// ForLogins is ForDomain for who has no users at hand, but knows how they log in.
func ForLogins(host *schema.Host, domain string, logins map[string]Login) (*Settings, error) {
	login, ok := logins[domain]
	if !ok {
		return nil, fmt.Errorf("%s has no addresses in %q", host.Name, domain)
	}
	s, err := newSettings(host, domain)
	if err != nil {
		return nil, err
	}
	s.login, s.Folders = login, special(host.Folders, host.Namespace)
	for i := range s.Incoming {
		s.Incoming[i].form = login
	}
	if s.Outgoing != nil {
		s.Outgoing.form = map[string]Login{"name": login, "address": ByAddress}[host.Profiles.Submission.Login]
	}
	return s, nil
}

// As gives the settings of a domain to somebody with an address in it, whether or
// not there is such a user. An address of another domain, or one of a domain where
// some log in with their address and some with the part before the "@", is an error.
func (s *Settings) As(address string) (*Settings, error) {
	local, domain, _ := cutLast(address, "@")
	if !sayable(local) || !strings.EqualFold(domain, s.Domain) {
		return nil, fmt.Errorf("%q is no address in %s", address, s.Domain)
	}
	if s.login == Mixed {
		return nil, s.mixedError()
	}
	user := *s
	user.Address = address
	name := func(login Login) string {
		return map[Login]string{ByName: local, ByAddress: address}[login]
	}
	user.Incoming = slices.Clone(s.Incoming)
	for i := range user.Incoming {
		user.Incoming[i].User = name(user.Incoming[i].form)
	}
	if s.Outgoing != nil {
		out := *s.Outgoing
		out.User = name(out.form)
		user.Outgoing = &out
	}
	return &user, nil
}

func (s *Settings) mixedError() error {
	return fmt.Errorf("in %s some users log in with their address and some with the part before the \"@\", which no file for all of them can say", s.Domain)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Domains lists the domains of the addresses of a host's users, sorted.
func Domains(host *schema.Host) []string { return slices.Sorted(maps.Keys(Logins(host))) }

// domainName is what a domain has to be to become the name of a file or of a zone:
// the names of users may hold others, such as "..".
var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// IsDomain tells whether a domain, in small letters, is a name in the DNS.
func IsDomain(domain string) bool { return domainName.MatchString(domain) }

// Logins says for each domain of the users' addresses what they log in with: that of
// names without one, and those in names, as far as they are names in the DNS. Of those
// who are only in a directory nothing is known: they are taken to be like the others,
// or else to log in with a name that has no domain.
func Logins(host *schema.Host) map[string]Login {
	logins := map[string]Login{}
	for _, u := range host.Users {
		login, domain := ByName, host.MailDomain()
		if _, d, ok := cutLast(u.Name, "@"); ok {
			login, domain = ByAddress, strings.ToLower(d)
		}
		if !IsDomain(domain) {
			continue
		}
		if known, ok := logins[domain]; ok && known != login {
			login = Mixed
		}
		logins[domain] = login
	}
	if domain := host.MailDomain(); len(logins) == 0 || len(host.Directories) > 0 && logins[domain] == "" {
		logins[domain] = ByName
	}
	return logins
}

// newSettings gives what holds for everybody.
func newSettings(host *schema.Host, domain string) (*Settings, error) {
	s := &Settings{Host: host.Name, Name: domain, Domain: domain, Namespace: host.Namespace}
	server := host.Name
	if p := host.Profiles; p != nil {
		s.Name, server = cmp.Or(p.Name, domain), cmp.Or(p.Server, server)
		if out := p.Submission; out != nil {
			s.Outgoing = &Server{Host: out.Server, Port: out.Port, TLS: out.TLS}
		}
	}
	names := []string{server, domain}
	if s.Outgoing != nil {
		names = append(names, s.Outgoing.Host)
	}
	for _, name := range names {
		if !IsDomain(name) {
			return nil, fmt.Errorf("%q is no name in the DNS", name)
		}
	}
	for _, l := range host.Listeners {
		if l.Public() {
			s.Incoming = append(s.Incoming, Server{Host: server, Port: l.Port, TLS: l.TLS})
		}
	}
	if len(s.Incoming) == 0 {
		return nil, fmt.Errorf("%s has no listener by which a mail program could reach its mail: they are on loopback addresses, without TLS, or proxies", host.Name)
	}
	// TLS from the start is better (RFC 8314 §3), and the usual port is the one
	// that firewalls let through.
	slices.SortStableFunc(s.Incoming, func(a, b Server) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Port, b.Port))
	})
	s.Incoming = slices.CompactFunc(s.Incoming, func(a, b Server) bool { return a == b })
	return s, nil
}

func rank(s Server) int {
	switch {
	case s.TLS == schema.Implicit && s.Port == 993:
		return 0
	case s.TLS == schema.Implicit:
		return 1
	case s.Port == 143:
		return 2
	}
	return 3
}

// special picks the folders that have a use.
func special(folders []schema.Folder, namespace string) []Folder {
	var list []Folder
	for _, f := range folders {
		if f.Use != "" {
			list = append(list, Folder{f.Use, namespace + f.Name})
		}
	}
	slices.SortFunc(list, func(a, b Folder) int { return strings.Compare(a.Use, b.Use) })
	return list
}
