package schema

import (
	"cmp"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Directory is somebody else's list of users. Exactly one of LDAP, Authdaemon and
// Saslauthd is not nil.
type Directory struct {
	Name   string
	Origin Pos
	Order  int
	// Homes are the directories below which users have homes and uids of their own;
	// without any, their mail is Mail.User's below Mail.Root.
	Homes      []string
	FirstUID   int
	LastUID    int
	LDAP       *LDAP       `json:",omitempty"`
	Authdaemon *Authdaemon `json:",omitempty"`
	Saslauthd  *Saslauthd  `json:",omitempty"`
}

// LDAP says how LDAP servers are asked.
type LDAP struct {
	Servers      []string // URLs
	STARTTLS     bool
	CA           string // path; "": the system's
	User         string // DN with UserPlaceholder; "": searched for
	Base         string // DN
	Account      string // DN; "": anonymous
	PasswordFile string // path
	Filter       string
	Attributes   LDAPAttributes
	Connections  int
	Timeout      int // seconds
}

// LDAPAttributes names attributes; "" is none.
type LDAPAttributes struct {
	Name, UID, GID, Home, Maildir, Quota, Elsewhere string
}

// Authdaemon says how Courier's authdaemond is asked.
type Authdaemon struct {
	Socket      string // path
	Group       string // that may reach it; "": everybody
	Connections int
	Timeout     int // seconds
}

// Saslauthd says how Cyrus SASL's saslauthd is asked.
type Saslauthd struct {
	Socket         string // path
	Group          string // that may reach it; "": everybody
	Service, Realm string
	Connections    int
	Timeout        int // seconds
}

// UserPlaceholder stands for the name of the user in DNs and filters.
const UserPlaceholder = "{user}"

// Groups gives the groups that whoever asks the directories needs, sorted.
func (h *Host) Groups() []string {
	var groups []string
	for _, d := range h.Directories {
		if a := d.Authdaemon; a != nil && a.Group != "" {
			groups = append(groups, a.Group)
		}
		if s := d.Saslauthd; s != nil && s.Group != "" {
			groups = append(groups, s.Group)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// Servers gives the names and addresses of the servers that the daemon connects to:
// those of directories, and those behind proxies.
func (h *Host) Servers() []string {
	var all []string
	for _, d := range h.Directories {
		if d.LDAP == nil {
			continue
		}
		for _, text := range d.LDAP.Servers {
			if u, err := url.Parse(text); err == nil && u.Scheme != "ldapi" {
				all = append(all, u.Hostname())
			}
		}
	}
	for _, l := range h.Listeners {
		if l.Proxy != nil {
			for _, s := range l.Proxy.Servers {
				all = append(all, s.Host)
			}
		}
	}
	return all
}

// directories completes the directories, in the order in which they are asked.
func (c *completer) directories() {
	for _, s := range c.spot.at("directories").fields() {
		if !s.ok() {
			continue
		}
		d := Directory{Name: s.name(), Origin: s.pos()}
		before := len(c.faults)
		if c.member(s, &d, "directories") {
			c.checkDirectory(&d, s)
		}
		if len(c.faults) == before {
			c.host.Directories = append(c.host.Directories, d)
		}
	}
	slices.SortStableFunc(c.host.Directories, func(a, b Directory) int { return cmp.Compare(a.Order, b.Order) })
}

func (c *completer) checkDirectory(d *Directory, s spot) {
	var ways []string
	for _, name := range []string{"ldap", "authdaemon", "saslauthd"} {
		if s.at(name).exists() {
			ways = append(ways, name)
		}
	}
	switch {
	case len(ways) == 0:
		s.fault(CodeMissing, "does not say who is asked", `write ldap: {servers: ["ldaps://..."], base: "..."}, authdaemon: {} or saslauthd: {}`)
	case len(ways) > 1:
		c.fault(CodeValue, s.path, s.at(ways[1]).pos(), "is "+strings.Join(ways, " and ")+": one directory is one of them", "make two directories of it")
	}
	if d.LastUID < d.FirstUID {
		s.fault(CodeValue, "leaves no uid: firstUID is greater than lastUID", "")
	}
	for _, home := range d.Homes {
		switch {
		case systemDirectory(path.Join(home, "NAME")), systemDirectory(home) && !slices.Contains(homeTops, home), below(home, "/root"):
			s.at("homes").faultOfValue(CodeUnsafe, "holds a directory of the system: "+home, "name one that holds homes, such as /home")
		case below(c.host.Mail.Root, home) || below(home, c.host.Mail.Root):
			s.at("homes").faultOfValue(CodeUnsafe, "holds "+home+", and that and mail.root, "+c.host.Mail.Root+", are one in the other: users could reach the mail of others", "part them")
		case c.host.Paths.State != "" && (below(c.host.Paths.State, home) || below(home, c.host.Paths.State)):
			s.at("homes").faultOfValue(CodeUnsafe, "holds "+home+", and that and paths.state, "+c.host.Paths.State+", are one in the other: users could put files in the place of Mailstead's", "part them")
		}
	}
	if d.LDAP != nil {
		c.checkLDAP(d, s.at("ldap"))
	}
}

func (c *completer) checkLDAP(d *Directory, s spot) {
	l := d.LDAP
	if len(l.Servers) == 0 {
		s.at("servers").faultOfValue(CodeMissing, "names no server", `write servers: ["ldaps://ldap.example.org"]`)
	}
	for _, server := range l.Servers {
		checkLDAPServer(s.at("servers"), server, l.STARTTLS)
	}
	if l.Filter == "" {
		l.Filter = "(uid=" + UserPlaceholder + ")"
		if l.User != "" {
			l.Filter = "(objectClass=*)"
		}
	}
	a := &l.Attributes
	for _, each := range []struct {
		to    *string
		field string
		usual string
	}{{&a.UID, "uid", "uidNumber"}, {&a.GID, "gid", "gidNumber"}, {&a.Home, "home", "homeDirectory"}} {
		if len(d.Homes) > 0 && !s.at("attributes", each.field).exists() {
			*each.to = each.usual
		}
	}
	checkLDAPUsers(l, s)
}

// checkLDAPServer keeps passwords from crossing a network in the clear.
func checkLDAPServer(s spot, server string, starttls bool) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "ldapi" && u.Hostname() == "" {
		s.faultOfValue(CodeValue, "is no URL: "+quote(server), "")
		return
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "ldap" && !starttls && (err != nil || !ip.IsLoopback()) {
		s.faultOfValue(CodeUnsafe, "is asked without TLS, and is no address of the loopback: "+quote(server), "leave starttls out, or write ldaps://")
	}
}

// checkLDAPUsers checks how a user is found.
func checkLDAPUsers(l *LDAP, s spot) {
	switch {
	case l.User != "" && (l.Base != "" || l.Account != ""):
		s.at("user").fault(CodeValue, "is the DN of every user, and users are searched for as well", "leave out user, or base and account")
	case l.User != "" && !strings.Contains(l.User, UserPlaceholder):
		s.at("user").faultOfValue(CodeUnsafe, "is the same DN for everybody: it has no "+UserPlaceholder, "")
	case l.User == "" && l.Base == "":
		s.fault(CodeMissing, "does not say where users are", `write base: "ou=people,dc=example,dc=org", or user: "uid={user},ou=people,dc=example,dc=org"`)
	case l.User == "" && !strings.Contains(l.Filter, UserPlaceholder):
		s.at("filter").faultOfValue(CodeUnsafe, "finds the same entry for everybody: it has no "+UserPlaceholder, "")
	case l.Account != "" && l.PasswordFile == "":
		s.at("account").fault(CodeMissing, "has no password", "write passwordFile: with the path of a file that holds it; the password itself is not for a description")
	case l.Account == "" && l.PasswordFile != "":
		s.at("passwordFile").fault(CodeMissing, "is the password of nobody", "write account: with the DN whose password it is")
	}
	if !strings.HasPrefix(l.Filter, "(") || !balanced(l.Filter) {
		s.at("filter").faultOfValue(CodeValue, "is no filter in parentheses: "+quote(l.Filter), `write one such as "(uid={user})"`)
	}
}

// balanced says whether every parenthesis has its other half, and all is in one pair.
func balanced(filter string) bool {
	depth := 0
	for i, r := range filter {
		switch r {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 || depth == 0 && i < len(filter)-1 {
				return false
			}
		}
	}
	return depth == 0
}
