package schema

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// rawUser is a user as the schema has it.
type rawUser struct {
	Password *struct{ Hash string }
	Home     string
	UID      int
	Maildir  string
	Policy   string
}

func (c *completer) users() {
	policies := c.policies()
	for _, f := range fieldsOf(c.get("users")) {
		at := []string{"users", f.name}
		if !c.ok(at...) {
			continue
		}
		var raw rawUser
		if !c.member(f, &raw, "users") {
			continue
		}
		u := User{Name: f.name, Origin: c.pos(at...), Maildir: raw.Maildir}
		good := c.userFolders(&u, raw.Policy, policies)
		if raw.Password != nil {
			good = c.virtual(&u, raw) && good
		} else {
			good = c.system(&u, raw) && good
		}
		if good {
			c.host.Users = append(c.host.Users, u)
		}
	}
}

// userFolders gives a user the folders of the policy, or of the host, and
// their own. Users without folders of their own share one list.
func (c *completer) userFolders(u *User, policy string, policies map[string][]Folder) bool {
	before := len(c.loader.faults)
	base := c.host.Folders
	if policy != "" || c.get("users", u.Name, "policy").Exists() {
		if _, ok := policies[policy]; !ok {
			at := []string{"users", u.Name, "policy"}
			c.found(CodeReference, c.valuePos(at...), at, "names no policy: "+quote(policy), c.choices("policies", policy))
		}
		base = policies[policy]
	}
	u.Folders = c.folderList([]string{"users", u.Name, "folders"}, base)
	return len(c.loader.faults) == before
}

// virtual completes a user with a password.
func (c *completer) virtual(u *User, raw rawUser) bool {
	before := len(c.loader.faults)
	for _, name := range []string{"home", "uid", "maildir"} {
		if c.get("users", u.Name, name).Exists() {
			c.found(CodeValue, c.pos("users", u.Name, name), []string{"users", u.Name, name}, "is for system users, and this is a virtual one: it has a password",
				"leave it out: the mail is in NAME/Maildir below mail.root")
		}
	}
	if wrong, hint := checkHash(raw.Password.Hash); wrong != "" {
		at := []string{"users", u.Name, "password", "hash"}
		c.found(CodeUnsafe, c.valuePos(at...), at, wrong, hint)
	}
	u.Virtual = &VirtualUser{PasswordHash: Secret(raw.Password.Hash)}
	u.Maildir = path.Join(c.host.Mail.Root, u.Name, "Maildir")
	return len(c.loader.faults) == before
}

var accountName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)

// ownAccounts may not log in: one may do everything, the other serves the mail.
var ownAccounts = []string{"root", "mailstead"}

// system completes a user without a password: an account of the host.
func (c *completer) system(u *User, raw rawUser) bool {
	before := len(c.loader.faults)
	at := []string{"users", u.Name}
	switch {
	case slices.Contains(ownAccounts, u.Name):
		c.found(CodeUnsafe, u.Origin, at, "is an account that nobody may log in to for mail", "name the account of a person; mail for root goes to one by an alias of the mail server")
	case !accountName.MatchString(u.Name):
		c.found(CodeName, u.Origin, at, "cannot be the name of an account of the host, and the user has no password",
			"a virtual user has password: hash: \"...\"; "+hashHint)
	}
	if at := append(at, "home"); raw.Home != "" && systemDirectory(raw.Home) {
		c.found(CodeUnsafe, c.valuePos(at...), at, fmt.Sprintf("is a directory of the system: %s", raw.Home), "a home directory is one user's own, such as /home/"+u.Name)
	}
	if at := append(at, "maildir"); path.IsAbs(raw.Maildir) && systemDirectory(raw.Maildir) {
		c.found(CodeUnsafe, c.valuePos(at...), at, fmt.Sprintf("is a directory of the system: %s", raw.Maildir), "")
	}
	u.System = &SystemUser{Home: raw.Home, UID: raw.UID}
	return len(c.loader.faults) == before
}

// Directories that no mail may be in, with and without what is below them.
var (
	systemTrees = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"}
	systemTops  = []string{"/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var", "/var/lib", "/var/log", "/var/mail", "/var/run", "/var/spool", "/var/tmp"}
)

func systemDirectory(dir string) bool {
	return slices.Contains(systemTops, dir) || slices.ContainsFunc(systemTrees, func(t string) bool { return below(dir, t) })
}

// below tells whether a clean path is a directory or in it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
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
	at := []string{"users", u.Name, name}
	c.found(CodeDuplicate, c.valuePos(at...), at, fmt.Sprintf("is that of %s too (%s): %s", quote(other.Name), other.Origin, value), "")
}

// checkMail checks where the mail of virtual users is.
func (c *completer) checkMail() {
	m := c.host.Mail
	if systemDirectory(m.Root) {
		c.found(CodeUnsafe, c.valuePos("mail", "root"), []string{"mail", "root"}, "is a directory of the system: "+m.Root, "choose one for mail alone, such as /var/vmail")
	}
	if slices.Contains(ownAccounts, m.User) {
		c.found(CodeUnsafe, c.valuePos("mail", "user"), []string{"mail", "user"}, fmt.Sprintf("is %q: the mail must belong to an account of its own", m.User), `leave it out for "vmail"`)
	}
	if i := slices.IndexFunc(c.host.Users, func(u User) bool { return u.System != nil && u.Name == m.User }); i >= 0 && c.hasVirtual() {
		u := c.host.Users[i]
		c.found(CodeUnsafe, u.Origin, []string{"users", u.Name}, "is the account that owns the mail of the virtual users: who logs in to it could read all of it",
			"set mail: user: to another account")
	}
	for _, u := range c.host.Users {
		if u.System != nil && u.System.Home != "" && below(m.Root, u.System.Home) {
			c.found(CodeUnsafe, c.valuePos("mail", "root"), []string{"mail", "root"},
				fmt.Sprintf("is in the home directory of %s (%s), who could put other directories in its place", quote(u.Name), u.Origin), "choose one for mail alone, such as /var/vmail")
			break
		}
	}
}

func (c *completer) hasVirtual() bool {
	return slices.ContainsFunc(c.host.Users, func(u User) bool { return u.Virtual != nil })
}

// checkMaildirs finds Maildirs that are the same, or one in the other.
func (c *completer) checkMaildirs() {
	type maildir struct {
		dir  string
		user User
	}
	var list []maildir
	for _, u := range c.host.Users {
		if dir := u.Maildir; path.IsAbs(dir) {
			list = append(list, maildir{dir, u})
		} else if u.System != nil && u.System.Home != "" {
			list = append(list, maildir{path.Join(u.System.Home, dir), u})
		}
	}
	// By whole names: /a/b comes before /a/b/c, with nothing else between.
	slices.SortStableFunc(list, func(a, b maildir) int {
		return strings.Compare(strings.ReplaceAll(a.dir, "/", "\x00"), strings.ReplaceAll(b.dir, "/", "\x00"))
	})
	var outer maildir
	for _, m := range list {
		if outer.dir == "" || !below(m.dir, outer.dir) {
			outer = m
			continue
		}
		at := []string{"users", m.user.Name}
		message := fmt.Sprintf("has the Maildir %s, as %s has (%s)", m.dir, quote(outer.user.Name), outer.user.Origin)
		if m.dir != outer.dir {
			message = fmt.Sprintf("has the Maildir %s, which is inside that of %s (%s)", m.dir, quote(outer.user.Name), outer.user.Origin)
		}
		c.found(CodeDuplicate, m.user.Origin, at, message, "give each user a Maildir of their own")
	}
}
