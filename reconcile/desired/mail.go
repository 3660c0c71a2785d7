package desired

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// The ids of people (Debian Policy §9.2.2). Uids below belong to the system, and
// so do the gids below firstGroup, as the daemon's spawn holds it too; 65534 is
// nobody's, and 65535 no id at all.
const (
	firstPerson = 1000
	firstGroup  = 100
	nobody      = 65534
)

// user is somebody of the description with what the host knows of them.
type user struct {
	want  schema.User
	login render.User
}

// users finds the account and the Maildir of everybody.
func (b *builder) users() {
	if b.hasSystem() {
		b.needPAM()
	}
	for _, u := range b.host.Users {
		p := user{want: u, login: render.User{Name: u.Name, Off: u.Capabilities.Off, Quota: u.Quota, Elsewhere: u.Elsewhere, Discard: u.Expunge == schema.ToTrash}}
		complete := b.systemUser
		if u.Virtual != nil {
			complete = b.virtualUser
		}
		if complete(&p) {
			b.people = append(b.people, p)
		}
	}
	b.needRoot()
	b.checkMaildirs()
}

// needRoot refuses directories whose users have uids of their own where nobody can
// become them.
func (b *builder) needRoot() {
	for _, d := range b.host.Directories {
		if b.rootless && len(d.Homes) > 0 {
			b.fault(schema.CodeValue, d.Origin, "the directory "+d.Name+" has users with uids of their own, which need root", "leave homes out: their mail is then below mail.root")
		}
	}
}

// needPAM refuses system users where nobody could ask PAM about them.
func (b *builder) needPAM() {
	i := slices.IndexFunc(b.host.Users, func(u schema.User) bool { return u.System != nil })
	first := b.host.Users[i]
	switch {
	case b.rootless:
		b.userFault(schema.CodeValue, first, "is an account of the host, and those log in through PAM, which needs root",
			"give every user here a password hash: mailstead hash-password")
	case !b.facts.PAMHelper:
		b.userFault(schema.CodeMissing, first, "logs in through PAM, and "+render.Program(b.paths, "mailstead-pam")+" is not there, was built without PAM, or may be changed by others than root",
			"build it and put it beside the other programs (it needs cgo and libpam0g-dev): go build -tags pam ./cmd/mailstead-pam")
	case len(b.facts.PAMAskers) > 0 && !b.host.PAM.Said():
		b.userFault(schema.CodeMissing, first, "logs in through PAM, whose rules on this host have what asks servers over the network: "+strings.Join(b.facts.PAMAskers, ", ")+"; mailstead-pam reaches none unless the description says so",
			"write pam: servers: [\"192.0.2.7\"], with their addresses, or pam: network: true for any; false, if no login for mail needs that")
	}
}

// virtualUser completes a user whose mail belongs to the owner of all mail.
func (b *builder) virtualUser(p *user) bool {
	u := p.want
	p.login.Hash = u.Virtual.PasswordHash
	p.login.Identity = b.mail.Identity
	p.login.Maildir = u.Maildir
	rel, below := strings.CutPrefix(path.Clean(u.Maildir), b.host.Mail.Root+"/")
	if !below || rel == "" {
		b.userFault(schema.CodeUnsafe, u, fmt.Sprintf("has mail in %s, which is not below %s", u.Maildir, b.host.Mail.Root), "")
		return false
	}
	// What lies between the root and the Maildir is made by the owner of the mail.
	p.login.Home = b.host.Mail.Root
	if first, _, deeper := strings.Cut(rel, "/"); deeper {
		p.login.Home = path.Join(b.host.Mail.Root, first)
	}
	return true
}

// systemUser completes a user with the account of the host.
func (b *builder) systemUser(p *user) bool {
	u := p.want
	if b.rootless {
		return false
	}
	have, ok := b.facts.Accounts[u.Name]
	if !ok {
		b.userFault(schema.CodeReference, u, "no such account on this host", "adduser "+u.Name+"; or give the user a password hash, which makes a virtual user; or take the user out, and the mail stays")
		return false
	}
	home := u.System.Home
	if home == "" {
		home = path.Clean(have.Home)
	}
	before := len(b.faults)
	switch {
	case u.System.UID != 0 && u.System.UID != have.UID:
		b.userFault(schema.CodeConflict, u, fmt.Sprintf("the account has the uid %d on this host, and the description says %d", have.UID, u.System.UID), "leave uid out to take the account's")
	case have.UID < firstPerson || have.UID == nobody || have.UID == nobody+1:
		b.userFault(schema.CodeUnsafe, u, fmt.Sprintf("the account has the uid %d on this host, which is no person's", have.UID), "only accounts with a uid from 1000 up log in for mail")
	case have.GID < firstGroup:
		b.userFault(schema.CodeUnsafe, u, fmt.Sprintf("the main group of the account has the gid %d on this host, which is the system's", have.GID), "give the account a group of its own: usermod -g")
	}
	if !path.IsAbs(home) || home == "/" {
		b.userFault(schema.CodeUnsafe, u, fmt.Sprintf("the account has the home directory %q on this host", have.Home), "give it one of its own: usermod -d")
	}
	p.login.Identity = render.Identity{UID: have.UID, GID: have.GID}
	p.login.Home = home
	if p.login.Maildir = u.Maildir; !path.IsAbs(u.Maildir) {
		p.login.Maildir = path.Join(home, u.Maildir)
	}
	return len(b.faults) == before
}

// checkMaildirs finds Maildirs that are the same, or one in the other, which
// the description alone does not show: homes come from the host.
func (b *builder) checkMaildirs() {
	list := slices.Clone(b.people)
	// By whole names: /a/b comes before /a/b/c, with nothing else between.
	key := func(u user) string { return strings.ReplaceAll(u.login.Maildir, "/", "\x00") }
	slices.SortStableFunc(list, func(x, y user) int { return strings.Compare(key(x), key(y)) })
	for i := 1; i < len(list); i++ {
		outer, u := list[i-1], list[i]
		which := "which is inside that of"
		switch dir := u.login.Maildir; {
		case dir == outer.login.Maildir:
			which = "as has"
		case !strings.HasPrefix(dir, outer.login.Maildir+"/"):
			continue
		}
		b.userFault(schema.CodeDuplicate, u.want, fmt.Sprintf("has the Maildir %s on this host, %s %s (%s)", u.login.Maildir, which, outer.want.Name, outer.want.Origin),
			"give each user a Maildir of their own")
		list[i] = outer
	}
}

// addMail adds everybody's Maildir and folders.
func (b *builder) addMail() error {
	for _, u := range b.people {
		if u.want.Elsewhere != "" {
			continue
		}
		spec := kind.MaildirSpec{
			User: u.want.Name, Path: u.login.Maildir, Home: u.login.Home, UID: u.login.UID, GID: u.login.GID,
		}
		var needs []reconcile.Ref
		if u.want.Virtual != nil {
			needs = append(needs, kind.MailDirectoryRef(b.host.Mail.Root))
			needs = append(needs, b.mail.needs...)
		}
		b.add(kind.Maildir(spec, u.want.Origin.String()), needs...)
		for _, f := range u.want.Folders {
			b.add(kind.Folder(spec, kind.FolderSpec{Name: f.Name, Use: f.Use, Subscribed: f.Subscribed}, f.Origin.String()))
		}
	}
	return nil
}

// mailRoots are the directories that the daemon's workers write to: those that
// hold homes and Maildirs, not each of them, so that one user more is a reload
// and no restart.
func (b *builder) mailRoots() []string {
	var roots []string
	for _, u := range b.people {
		roots = append(roots, u.root(b.host.Mail.Root))
	}
	for _, d := range b.host.Directories {
		if roots = append(roots, d.Homes...); len(d.Homes) == 0 {
			roots = append(roots, b.host.Mail.Root)
		}
	}
	return highest(roots)
}

// highest gives the directories that are not below another one, sorted.
func highest(roots []string) (out []string) {
	slices.Sort(roots)
	for _, r := range slices.Compact(roots) {
		if !slices.ContainsFunc(out, func(o string) bool { return strings.HasPrefix(r, o+"/") }) {
			out = append(out, r)
		}
	}
	return out
}

func (u user) root(virtual string) string {
	dir, home := u.login.Maildir, u.login.Home
	switch {
	case u.want.Virtual != nil:
		return virtual
	case strings.HasPrefix(dir, home+"/"):
		dir = home
	case path.Base(path.Dir(dir)) == u.want.Name:
		dir = path.Dir(dir)
	}
	if parent := path.Dir(dir); parent != "/" {
		return parent
	}
	return dir
}
