package schema

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// users completes the users. Strict has unified each of their values with the
// schema; the one default of theirs is filled in here, since evaluating each
// of tens of thousands once more would take longer than everything else. Of a user with a
// fault the other fields are checked all the same.
func (c *completer) users() {
	policies := c.policies()
	for s := range c.each() {
		if s.sound = !s.ok(); s.sound && c.rule.fields["users"].quickKey.Unify(c.schema.ctx.Encode(s.name())).Err() != nil {
			continue
		}
		u := User{Name: s.name(), Origin: s.pos()}
		before := len(c.faults)
		u.Capabilities.Off = off(s.at("capabilities", "off"), false)
		u.Elsewhere = elsewhere(s.at("elsewhere"), u.Name)
		u.Expunge = c.host.Expunge
		if expunge, ok := s.at("expunge").str(); ok {
			u.Expunge = Expunge(expunge)
		}
		u.Quota = quota(s.at("quota"), c.host.Quota)
		u.Imports = c.imports(s.at("imports"))
		c.userFolders(&u, s, policies)
		if password := s.at("password"); password.exists() {
			c.virtual(&u, s)
		} else if password.ok() {
			c.system(&u, s)
		}
		if s.ok() && len(c.faults) == before {
			c.host.Users = append(c.host.Users, u)
		}
	}
}

// elsewhere completes the URL of a user's server: without a user and ";AUTH=",
// clients would log in there as anonymous (RFC 2221 §3).
func elsewhere(s spot, name string) string {
	given, _ := s.str()
	rest, ok := strings.CutPrefix(given, "imap://")
	if !ok {
		return ""
	}
	user, server, ok := strings.Cut(rest, "@")
	if !ok {
		user, server = url.PathEscape(name), rest
		user = strings.ReplaceAll(user, "@", "%40")
	}
	if !strings.Contains(user, ";AUTH=") {
		user += ";AUTH=*"
	}
	return "imap://" + user + "@" + server
}

// userFolders gives a user the folders of the policy, or of the host, and
// their own. Users without folders of their own share one list.
func (c *completer) userFolders(u *User, s spot, policies map[string]folders) {
	base := folders{c.host.Folders, c.host.PurgeInbox}
	if policy, ok := s.at("policy").str(); ok {
		if _, ok := policies[policy]; !ok {
			s.at("policy").faultOfValue(CodeReference, "names no policy: "+quote(policy), c.spot.at("policies").choices(policy))
		}
		base = policies[policy]
	} else if !s.at("policy").ok() {
		base = folders{} // it is not known what the user gets
	}
	all := c.folderList(s.at("folders"), base)
	u.Folders, u.PurgeInbox = all.list, all.purgeInbox
}

// virtual completes a user with a password.
func (c *completer) virtual(u *User, s spot) {
	for _, name := range []string{"home", "uid"} {
		if f := s.at(name); f.exists() {
			f.fault(CodeValue, "is for system users, and this is a virtual one: it has a password",
				"leave it out: the mail is in NAME/Maildir below mail.root, or where maildir says")
		}
	}
	at := s.at("password", "hash")
	hash, _ := at.str()
	if wrong, hint := checkHash(hash, c.host.weak()); wrong != "" && at.ok() {
		at.faultOfValue(CodeUnsafe, wrong, hint)
	}
	u.Virtual = &VirtualUser{Origin: at.pos(), PasswordHash: Secret(withoutScheme(hash))}
	u.Maildir = path.Join(c.host.Mail.Root, u.Name, "Maildir")
	if given, set := s.at("maildir").str(); set {
		if u.Maildir = given; !path.IsAbs(given) {
			u.Maildir = path.Join(c.host.Mail.Root, given)
		}
		if u.Maildir == c.host.Mail.Root || !below(u.Maildir, c.host.Mail.Root) {
			s.at("maildir").faultOfValue(CodeUnsafe, "is not below mail.root, "+c.host.Mail.Root+", where the mail of virtual users is: "+given,
				"set mail: root: to a directory that holds the mail of all of them")
		}
	}
}

var accountName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)

// ownAccounts may not log in: one may do everything, the other serves the mail.
var ownAccounts = []string{"root", "mailstead"}

// system completes a user without a password: an account of the host.
func (c *completer) system(u *User, s spot) {
	switch {
	case slices.Contains(ownAccounts, u.Name):
		s.fault(CodeUnsafe, "is an account that nobody may log in to for mail", "name the account of a person; mail for root goes to one by an alias of the mail server")
	case !accountName.MatchString(u.Name):
		s.fault(CodeName, "cannot be the name of an account of the host, and the user has no password",
			"a virtual user has password: hash: \"...\"; "+hashHint)
	}
	home, _ := s.at("home").str()
	if systemDirectory(home) {
		s.at("home").faultOfValue(CodeUnsafe, "is a directory of the system: "+home, "a home directory is one user's own, such as /home/"+u.Name)
	}
	maildir, set := s.at("maildir").str()
	if !set {
		maildir = c.schema.maildir
	}
	if systemDirectory(maildir) {
		s.at("maildir").faultOfValue(CodeUnsafe, "is a directory of the system: "+maildir, "")
	}
	uid, _ := s.at("uid").number()
	u.System, u.Maildir = &SystemUser{Home: home, UID: uid}, maildir
}

// checkUsers compares the users with each other. Every comparison is of
// neighbours in a sorted list or by a map: there may be tens of thousands.
func (c *completer) checkUsers() {
	c.checkMail()
	uids, homes := map[int]User{}, map[string]User{}
	for _, u := range c.host.Users {
		if u.System == nil {
			continue
		}
		if other, twice := uids[u.System.UID]; twice {
			c.duplicate(u, other, "uid", fmt.Sprint(u.System.UID))
		} else if u.System.UID != 0 {
			uids[u.System.UID] = u
		}
		if other, twice := homes[u.System.Home]; twice {
			c.duplicate(u, other, "home", u.System.Home)
		} else if u.System.Home != "" {
			homes[u.System.Home] = u
		}
	}
	c.checkMaildirs()
}

func (c *completer) duplicate(u, other User, name, value string) {
	c.user(u.Name).at(name).faultOfValue(CodeDuplicate, fmt.Sprintf("is that of %s too (%s): %s", quote(other.Name), other.Origin, value), "")
}

// checkMail checks where the mail of virtual users is.
func (c *completer) checkMail() {
	m, root, owner := c.host.Mail, c.spot.at("mail", "root"), c.spot.at("mail", "user")
	if systemDirectory(m.Root) {
		root.faultOfValue(CodeUnsafe, "is a directory of the system: "+m.Root, "choose one for mail alone, such as /var/vmail")
	}
	if slices.Contains(ownAccounts, m.User) {
		owner.faultOfValue(CodeUnsafe, fmt.Sprintf("is %q: the mail must belong to an account of its own", m.User), `leave it out for "vmail"`)
	}
	virtual := slices.ContainsFunc(c.host.Users, func(u User) bool { return u.Virtual != nil })
	for _, u := range c.host.Users {
		switch {
		case u.System == nil || !virtual:
		case u.Name == m.User:
			c.user(u.Name).fault(CodeUnsafe, "is the account that owns the mail of the virtual users: who logs in to it could read all of it",
				"set mail: user: to another account")
		case u.System.Home != "" && below(m.Root, u.System.Home):
			root.faultOfValue(CodeUnsafe, fmt.Sprintf("is in the home directory of %s (%s), who could put other directories in its place", quote(u.Name), u.Origin),
				"choose one for mail alone, such as /var/vmail")
		}
	}
}

// maildir is where the mail of a user is.
type maildir struct {
	dir  string
	user User
}

// maildirs gives those that are known without the host's passwd, each before
// those inside it.
func (c *completer) maildirs() []maildir {
	var list []maildir
	for _, u := range c.host.Users {
		if path.IsAbs(u.Maildir) {
			list = append(list, maildir{u.Maildir, u})
		} else if u.System != nil && u.System.Home != "" {
			list = append(list, maildir{path.Join(u.System.Home, u.Maildir), u})
		}
	}
	// By whole names: /a/b comes before /a/b/c, with nothing else between.
	slices.SortStableFunc(list, func(a, b maildir) int {
		return slices.Compare(strings.Split(a.dir, "/"), strings.Split(b.dir, "/"))
	})
	return list
}

// checkMaildirs finds Maildirs that are the same, or one in the other.
func (c *completer) checkMaildirs() {
	var outer maildir
	for _, m := range c.maildirs() {
		if outer.dir == "" || !below(m.dir, outer.dir) {
			outer = m
			continue
		}
		message := fmt.Sprintf("has the Maildir %s, as %s has (%s)", m.dir, quote(outer.user.Name), outer.user.Origin)
		if m.dir != outer.dir {
			message = fmt.Sprintf("has the Maildir %s, which is inside that of %s (%s)", m.dir, quote(outer.user.Name), outer.user.Origin)
		}
		c.user(m.user.Name).fault(CodeDuplicate, message, "give each user a Maildir of their own")
	}
}
