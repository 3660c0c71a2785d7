package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Directory is somebody else's list of users: whom the table does not have is
// looked for there. Exactly one of LDAP, Authdaemon and Saslauthd is not nil.
type Directory struct {
	Name       string      `json:"name"`
	LDAP       *LDAP       `json:"ldap,omitempty"`
	Authdaemon *Authdaemon `json:"authdaemon,omitempty"`
	Saslauthd  *Saslauthd  `json:"saslauthd,omitempty"`
	May        May         `json:"may"`
}

// Folder is a mailbox that users of directories get.
type Folder struct {
	Name       string `json:"name"`          // UTF-8, levels parted by dots, without the namespace prefix
	Use        string `json:"use,omitempty"` // special use (RFC 6154) in lower case; "": none
	Subscribed bool   `json:"subscribed,omitempty"`
}

// LDAP is how LDAP servers are asked.
type LDAP struct {
	Servers  []string `json:"servers"`            // URLs; the first that answers is asked
	STARTTLS bool     `json:"starttls,omitempty"` // on connections to ldap: URLs
	CA       string   `json:"ca,omitempty"`       // path of a PEM file; "": the system's
	// User is the DN of a user, "{user}" being the name; "" has them searched for.
	User         string     `json:"user,omitempty"`
	Account      string     `json:"account,omitempty"`      // DN of the account that searches; "" is nobody
	PasswordFile string     `json:"passwordFile,omitempty"` // path; its first line is the password of Account
	Base         string     `json:"base,omitempty"`         // DN below which users are searched for
	Filter       string     `json:"filter"`                 // that finds a user and nobody else; "{user}" is the name
	Attributes   Attributes `json:"attributes"`
	Bounds
}

// Attributes names those that say something of a user; "" is none. Without Name, the
// name is as the user has written it.
type Attributes struct {
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
	GID       string `json:"gid,omitempty"`
	Home      string `json:"home,omitempty"`
	Maildir   string `json:"maildir,omitempty"` // absolute, or relative to the home
	Quota     string `json:"quota,omitempty"`   // see ParseQuota
	Elsewhere string `json:"elsewhere,omitempty"`
}

// Names gives the attributes to ask for.
func (a Attributes) Names() []string {
	names := []string{"1.1"} // none of them (RFC 4511 §4.5.1.8); without effect beside others
	for _, n := range []string{a.Name, a.UID, a.GID, a.Home, a.Maildir, a.Quota, a.Elsewhere} {
		if n != "" {
			names = append(names, n)
		}
	}
	return names
}

// Authdaemon is how Courier's authdaemond is asked.
type Authdaemon struct {
	Socket  string `json:"socket"`  // path
	Service string `json:"service"` // the service that it is told; "imap" as a rule
	Bounds
}

// Saslauthd is how Cyrus SASL's saslauthd is asked.
type Saslauthd struct {
	Socket  string `json:"socket"` // path of mux
	Service string `json:"service"`
	Realm   string `json:"realm,omitempty"`
	Bounds
}

// Bounds is what asking may cost.
type Bounds struct {
	Connections int `json:"connections"` // at once
	Timeout     int `json:"timeout"`     // seconds for one login
}

// May is what a directory may say of a user, and what holds for those of whom it
// does not say it.
type May struct {
	// Owner is whose the mail of all of its users is; nil: each has a uid of their own.
	Owner   *Identity `json:"owner,omitempty"`
	MinUID  int       `json:"minUID,omitempty"` // the least uid of a user, and
	MaxUID  int       `json:"maxUID,omitempty"` // the greatest, where there is no owner
	MinGID  int       `json:"minGID,omitempty"` // the least gid of a user
	Roots   []string  `json:"roots"`            // directories that all Maildirs are below
	Host    string    `json:"host,omitempty"`   // this server, where it is named as the one that has a user's mail
	Quota   *Quota    `json:"quota,omitempty"`
	Discard bool      `json:"discard,omitempty"` // as User.Discard
}

// Admit says why somebody whom only a directory knows may have no session. It is
// asked by whoever gives a session its uid, whatever has been checked before.
func (c *Config) Admit(u User) error {
	if c.Workers == WorkerPerUID && (u.UID == c.Service.UID || c.Roles != nil && u.UID == c.Roles.Login.UID || c.Web != nil && u.UID == c.Web.UID) {
		return fmt.Errorf("uid %d is that of the service, which must not reach mail", u.UID)
	}
	for _, d := range c.Directories {
		if d.Name == u.Directory {
			return d.Admit(u)
		}
	}
	return fmt.Errorf("no directory %q", u.Directory)
}

// Admit says what a directory may not say of a user.
func (d Directory) Admit(u User) error {
	if u.Hash != "" || u.Directory != d.Name {
		return errors.New("not as a directory knows a user")
	}
	if err := checkUser(u); err != nil {
		return err
	}
	if err := d.May.Has(Identity{u.UID, u.GID}); err != nil {
		return err
	}
	for _, root := range d.May.Roots {
		if strings.HasPrefix(u.Maildir, root+"/") {
			return nil
		}
	}
	return fmt.Errorf("the Maildir %q is not below %s", u.Maildir, strings.Join(d.May.Roots, " or "))
}

// Has refuses every uid but those that the description leaves to the
// directory; never is it root's.
func (m May) Has(id Identity) error {
	switch {
	case m.Owner != nil && id != *m.Owner:
		return fmt.Errorf("uid %d and gid %d are not those of the mail, %d and %d", id.UID, id.GID, m.Owner.UID, m.Owner.GID)
	case m.Owner != nil:
		return nil
	case id.UID < max(1, m.MinUID) || id.UID > m.MaxUID:
		return fmt.Errorf("uid %d is not between %d and %d", id.UID, max(1, m.MinUID), m.MaxUID)
	case id.GID < max(1, m.MinGID):
		return fmt.Errorf("gid %d is less than %d", id.GID, max(1, m.MinGID))
	}
	return nil
}

// Owned says whether the mail of a user has the uid of other users' mail too, as
// far as a directory knows the user.
func (c *Config) Owned(u User) bool {
	for _, d := range c.Directories {
		if d.Name == u.Directory {
			return d.May.Owner != nil
		}
	}
	return false
}

// checkDirectories checks each and that no two have one name.
func (c *Config) checkDirectories(f *faults) {
	seen := map[string]bool{}
	for _, d := range c.Directories {
		where := fmt.Sprintf("directories (%s)", d.Name)
		if !plainName().MatchString(d.Name) || seen[d.Name] {
			f.add("%s: the name is no name or is given twice", where)
		}
		seen[d.Name] = true
		f.at(where, d.check())
		if o := d.May.Owner; o != nil {
			f.at(where, checkIdentity(o.UID, o.GID))
			if c.Workers == WorkerInline && *o != c.Service {
				f.add("%s: uid %d and gid %d, and one process for everything with %d and %d", where, o.UID, o.GID, c.Service.UID, c.Service.GID)
			}
			if c.Workers == WorkerPerUID && (o.UID == 0 || o.GID == 0) {
				f.add("%s: uid or gid 0: no worker runs as root", where)
			}
		} else if c.Workers == WorkerInline {
			f.add("%s: users with uids of their own, and one process for everything", where)
		}
		if len(d.May.Roots) == 0 {
			f.add("%s: no directory that Maildirs may be below", where)
		}
		for _, root := range d.May.Roots {
			f.at(where+": root", checkPath(root))
		}
	}
	for _, folder := range c.Folders {
		f.at("folders", checkText(folder.Name))
		if folder.Name == "" || len(folder.Name) > maxUserName {
			f.add("folders: %q: a name has from 1 to %d octets", folder.Name, maxUserName)
		}
	}
}

// check checks how a directory is asked.
func (d Directory) check() error {
	var f faults
	n := 0
	bounds := func(b Bounds) {
		if n++; b.Connections < 1 || b.Connections > 1000 || b.Timeout < 1 || b.Timeout > 60 {
			f.add("%d connections and %d seconds: from 1 to 1000 and from 1 to 60", b.Connections, b.Timeout)
		}
	}
	if l := d.LDAP; l != nil {
		bounds(l.Bounds)
		l.check(&f)
	}
	if a := d.Authdaemon; a != nil {
		bounds(a.Bounds)
		f.at("socket", checkPath(a.Socket))
		f.at("service", checkWord(a.Service))
	}
	if s := d.Saslauthd; s != nil {
		bounds(s.Bounds)
		f.at("socket", checkPath(s.Socket))
		f.at("service", checkWord(s.Service))
		if s.Realm != "" {
			f.at("realm", checkWord(s.Realm))
		}
	}
	if n != 1 {
		f.add("%d ways to ask in place of one", n)
	}
	return errors.Join(f...)
}

var word = Pattern(`^[A-Za-z0-9._@-]{1,100}$`)

func checkWord(s string) error {
	if !word().MatchString(s) {
		return fmt.Errorf("%q is not a word of letters, digits and . _ @ -", s)
	}
	return nil
}

func (l *LDAP) check(f *faults) {
	if len(l.Servers) == 0 {
		f.add("servers: missing")
	}
	for _, s := range l.Servers {
		f.at("servers", l.checkServer(s))
	}
	for what, path := range map[string]string{"ca": l.CA, "passwordFile": l.PasswordFile} {
		if path != "" {
			f.at(what, checkPath(path))
		}
	}
	switch {
	case l.User != "" && (l.Base != "" || l.Account != ""):
		f.add("user: a DN for users, and a search for them beside it")
	case l.User != "" && !strings.Contains(l.User, "{user}"):
		f.add("user: %q has no {user}: everybody would be the same", l.User)
	case l.User == "" && !strings.Contains(l.Filter, "{user}"):
		f.add("filter: %q has no {user}: everybody would be the same", l.Filter)
	case l.User == "" && l.Base == "":
		f.add("base: missing")
	case (l.Account == "") != (l.PasswordFile == ""):
		f.add("account and passwordFile: one without the other")
	}
	if !strings.HasPrefix(l.Filter, "(") {
		f.add("filter: %q is not in parentheses", l.Filter)
	}
}

// checkServer wants a URL, and no password to cross a network in the clear.
func (l *LDAP) checkServer(server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return err
	}
	plain := u.Scheme == "ldap" && !l.STARTTLS
	switch ip, err := netip.ParseAddr(u.Hostname()); {
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q: only scheme, host and port", server)
	case u.Scheme == "ldapi":
		return checkPath(u.Path)
	case u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" || u.Path != "" && u.Path != "/":
		return fmt.Errorf("%q is none of ldaps://HOST, ldap://HOST and ldapi:///SOCKET", server)
	case plain && (err != nil || !ip.IsLoopback()):
		return fmt.Errorf("%q without STARTTLS: passwords would cross the network in the clear", server)
	}
	return nil
}

// sizes are the units of a quota.
var sizes = map[string]int64{
	"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
	"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40,
}

var quotaPart = Pattern(`^([0-9]{1,15}) ?([A-Za-z]{0,3})$`)

// ParseQuota reads a quota as directories have it: octets, or a size such as 5GB
// or 5GiB, or as Courier does, "5000000000S,10000C", of which C counts messages.
func ParseQuota(s string) (Quota, error) {
	var q Quota
	for part := range strings.SplitSeq(s, ",") {
		m := quotaPart().FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return Quota{}, fmt.Errorf("quota %.40q is neither a size such as 5GB nor like 5000000000S,10000C", s)
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		unit := strings.ToUpper(m[2])
		factor, known := sizes[unit]
		switch {
		case err != nil:
			return Quota{}, err
		case unit == "C":
			q.Messages = n
		case unit == "S":
			q.Storage = n
		case !known || n > math.MaxInt64/factor:
			return Quota{}, fmt.Errorf("quota %.40q has a strange unit or is too large", s)
		default:
			q.Storage = n * factor
		}
	}
	return q, nil
}
