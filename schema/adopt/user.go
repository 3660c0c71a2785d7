package adopt

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"mailstead/schema"
)

// users finds who can log in.
func (r *reading) users() error {
	data, err := r.fileWithin(passwdFile, maxUsers)
	if err != nil {
		return err
	}
	passwd := readPasswd(passwdFile, data)
	modules := r.auth["authmodulelist"]
	for _, module := range strings.Fields(modules.Value) {
		switch module {
		case "authpam", "authshadow", "authpwd":
			r.systemUsers(passwd)
		case "authuserdb":
			if err := r.userdb(passwd); err != nil {
				return err
			}
		default:
			r.host.note(modules.Origin, true, "%s: who is in there cannot be told without asking it; write these users by hand, or have authdaemond asked at each login: directories: courier: authdaemon: {} (docs/logins.md)", printable(module))
		}
	}
	slices.SortStableFunc(r.host.Users, func(a, b *User) int { return strings.Compare(a.Name, b.Name) })
	// The first module that knows a name answers for it.
	r.host.Users = slices.CompactFunc(r.host.Users, func(a, b *User) bool { return a.Name == b.Name })
	return nil
}

// maildirPath is where mail is in a home directory. Each of Courier's scripts gives
// its daemon the value of the file that it reads last, which is its own.
func (r *reading) maildirPath() string {
	value := func(s Setting) string { return path.Clean(cmp.Or(strings.TrimPrefix(s.Value, "./"), "Maildir")) }
	own, ssl := r.maildir, r.imap["MAILDIRPATH"]
	switch plain := r.units["courier-imap.service"]; {
	case !r.units["courier-imap-ssl.service"] || r.imap["SSLPORT"].Origin.File == "":
		return value(own)
	case plain && value(own) != value(ssl):
		r.host.note(own.Origin, true, "%s: the port 143 had this Maildir, and 993 the one of %s: all clients get the latter; if mail is in the former, change users.NAME.maildir",
			own.assignment(), ssl.comment())
	}
	return value(ssl)
}

// The uids of people (login.defs(5) on Debian).
const (
	firstUser = 1000
	nobody    = 65534
)

// systemUsers are the people among the accounts of the host. Those without a
// Maildir, whom Courier lets in no further, are found out when it is looked at.
func (r *reading) systemUsers(passwd []account) {
	dir := r.maildirPath()
	disabled := r.disabled(nil)
	for _, a := range passwd {
		u := &User{Name: a.name, UID: a.uid, GID: a.gid, Home: a.home, Maildir: path.Join(a.home, dir), Origin: a.origin, Left: disabled, Shut: disabled != ""}
		if path.IsAbs(dir) {
			u.Maildir = dir
		}
		if dir != "Maildir" {
			u.Setting = dir
		}
		r.person(u)
	}
}

// person adds an account of the host. One that is no person's is left out, and named
// only where it has a Maildir: daemons have none.
func (r *reading) person(u *User) {
	if u.UID < firstUser || u.UID == nobody {
		if _, err := fs.Stat(r.fsys, strings.TrimPrefix(path.Join(u.Maildir, "cur"), "/")); err != nil {
			return
		}
		if u.Left == "" {
			u.Left = fmt.Sprintf("its uid is %d: only accounts from %d up log in, but for %d; if it is a person's, give it such a uid with usermod -u, which takes the files in its home along, otherwise have its mail delivered to a person", u.UID, firstUser, nobody)
		}
	}
	r.host.Users = append(r.host.Users, u)
}

// disabled tells why an account may not use IMAP.
func (r *reading) disabled(own map[string]string) string {
	s := r.auth["DEFAULTOPTIONS"]
	value, set := own["disableimap"]
	if !set {
		value = options(s.Value)["disableimap"]
	}
	switch {
	case value == "" || value == "0":
		return ""
	case set:
		return "its option disableimap=" + printable(value)
	}
	return s.comment()
}

// userdb reads the virtual users of authuserdb.
func (r *reading) userdb(passwd []account) error {
	var all []account
	for _, name := range r.regular(userdbFile) {
		data, err := r.fileWithin(name, maxUsers)
		if err != nil {
			return err
		}
		some, err := readUserdb(name, data)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		r.host.note(r.auth["authmodulelist"].Origin, false, "authuserdb: there are no users in %s", userdbFile)
		return nil
	}
	r.virtual(all, passwd)
	return nil
}

// virtual adds virtual users. All their mail must have one owner and lie below one
// directory: what most of them have counts, the others are left out.
func (r *reading) virtual(all []account, passwd []account) {
	dir := r.maildirPath()
	for i := range all {
		a := &all[i]
		if a.maildir == "" {
			a.maildir = dir
		}
		if !path.IsAbs(a.maildir) {
			a.maildir = path.Join(a.home, a.maildir)
		}
		a.maildir = path.Clean(a.maildir)
		if !path.IsAbs(a.maildir) && a.left == "" {
			a.left = fmt.Sprintf("where its mail is has not been told: %s is below nothing", printable(cut(a.maildir)))
		}
	}
	uid := most(all, func(a account) int { return a.uid })
	root := mailRoot(all)
	owner := ownerName(passwd, uid)
	if owner == "" {
		r.host.note(all[0].origin, true, "uid %d, which owns the mail of the virtual users, has no name in %s: make an account with this uid, and name it in mail: user", uid, passwdFile)
	} else if owner != "vmail" {
		r.host.Fields = append(r.host.Fields, Field{"mail: user", quote(owner), fmt.Sprintf("%s uid=%d", all[0].origin, uid)})
	}
	if root != "/var/vmail" {
		r.host.Fields = append(r.host.Fields, Field{"mail: root", quote(root), all[0].origin.String() + " " + printable("home="+cut(all[0].home))})
	}
	for _, a := range all {
		u := &User{Name: a.name, Hash: a.hash, UID: a.uid, GID: a.gid, Home: a.home, Maildir: a.maildir, Origin: a.origin, Left: a.left, Shut: a.shut}
		if why := r.disabled(a.options); why != "" {
			u.Left, u.Shut = why, true
		}
		below, inRoot := strings.CutPrefix(a.maildir, root+"/")
		if below != a.name+"/Maildir" {
			u.Setting = below
		}
		switch {
		case u.Left != "":
		case a.hash == "" && a.challenge:
			u.Left = "its password is there for CRAM alone, by which nobody can be asked for it: set another one with mailstead hash-password"
		case a.hash == "":
			u.Left, u.Shut = "it has no password", true
		case a.uid != uid:
			u.Left = fmt.Sprintf("its mail is of uid %d, that of the others of %d: all virtual users' mail has one owner", a.uid, uid)
		case !inRoot:
			u.Left = fmt.Sprintf("its mail is in %s, that of most virtual users below %s: move it there, and say so in the old server's list of users", printable(cut(a.maildir)), printable(cut(root)))
		}
		for _, o := range []string{"group", "sharedgroup", "mailhost", "disableshared"} {
			if row, _ := find(accounts, o); a.options[o] != "" {
				r.host.note(a.origin, true, "%s: %s", printable(o+"="+cut(a.options[o])), row.why)
			}
		}
		var ok bool
		if u.Quota, ok = quotaFields(a.quota); !ok {
			r.host.note(a.origin, true, "%s is no quota: the user has that of the host", printable("quota="+cut(a.quota)))
		}
		u.Quota = cmp.Or(a.limit, u.Quota)
		r.host.Users = append(r.host.Users, u)
	}
	r.weak()
}

// mailRoot gives the directory that holds the mail of the most virtual users: of
// several the deepest, since the description makes it theirs alone, but none that is
// named after a domain, beside which others may come. Where a Maildir has a directory
// of its own, that is in it. One such as /srv is never mail's alone.
func mailRoot(all []account) string {
	count := map[string]int{}
	for _, a := range all {
		dir := path.Dir(a.maildir)
		if path.Base(a.maildir) == "Maildir" {
			dir = path.Dir(dir)
		}
		for ; len(dir) > 1; dir = path.Dir(dir) { // neither "/" nor "."
			count[dir]++
		}
	}
	if len(count) == 0 {
		return "/"
	}
	deep := func(dir string) int { return min(strings.Count(dir, "/"), 2) }
	best := slices.MaxFunc(slices.Sorted(maps.Keys(count)), func(a, b string) int {
		return cmp.Or(deep(a)-deep(b), count[a]-count[b], len(a)-len(b))
	})
	if up := path.Dir(best); strings.Contains(path.Base(best), ".") && deep(up) == 2 {
		return up
	}
	return best
}

// weak has the description accept the hashes of the users that it would refuse, so
// that nobody is left out for what the old server has made.
func (r *reading) weak() {
	count, first := map[string]int{}, map[string]Origin{}
	for _, u := range r.host.Users {
		if name := schema.WeakScheme(u.Hash); name != "" && u.Left == "" {
			if count[name]++; count[name] == 1 {
				first[name] = u.Origin
			}
		}
	}
	if len(count) == 0 {
		return
	}
	var told []string
	names := slices.Sorted(maps.Keys(count))
	for _, name := range names {
		told = append(told, fmt.Sprintf("%d with %s, from %s on", count[name], name, first[name]))
	}
	r.host.Fields = append(r.host.Fields, Field{"logins: weak", "[" + quoted(names) + "]", strings.Join(told, "; ") + ": it becomes argon2id when its user logs in"})
}

// quotaFields gives a quota of Courier's (maildirquota(7)) as fields of ours, which
// read the same in CUE and in JSON.
func quotaFields(text string) (string, bool) {
	var fields []string
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		n, err := strconv.ParseInt(part[:len(part)-1], 10, 64)
		switch unit := part[len(part)-1]; {
		case err != nil || n < 0 || n > maxQuota:
			return "", false
		case n == 0: // no limit
		case unit == 'S':
			fields = append(fields, `"storage": `+quote(amount(n)))
		case unit == 'C':
			fields = append(fields, fmt.Sprintf(`"messages": %d`, n))
		default:
			return "", false
		}
	}
	return strings.Join(fields, ", "), true
}

// maxQuota is the greatest of both sorts that is taken over as it is.
const maxQuota = 999_999_999_999

// amount writes octets so that none is lost.
func amount(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GB", 1e9}, {"MB", 1e6}} {
		if n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return strings.TrimSuffix(fmt.Sprintf("%d.%03d", n/1000, n%1000), ".000") + "kB"
}

// most gives the value that most of the accounts have; of equals, the first's.
func most[T comparable](all []account, of func(account) T) (best T) {
	count := map[T]int{}
	for _, a := range all {
		count[of(a)]++
	}
	for i, a := range all {
		if v := of(a); i == 0 || count[v] > count[best] {
			best = v
		}
	}
	return best
}

func ownerName(passwd []account, uid int) string {
	for _, a := range passwd {
		if a.uid == uid {
			return a.name
		}
	}
	return ""
}
