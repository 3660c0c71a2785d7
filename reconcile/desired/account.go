package desired

import (
	"fmt"
	"slices"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// service is who runs the daemon. On a host that is one process for each role,
// under accounts of its own: auth may read keys and hashes, logins nothing, and
// spawn is root where mail has several owners, or else the one that it has. In a
// rootless host it is one process under the program's own uid.
type service struct {
	account string // of auth
	login   string // the account of logins
	spawn   string // the account of spawn; "" is root
	web     string // the account of the page; "" without one
	webAs   render.Identity
	runAs   render.Identity // of auth, or of everything
	loginAs render.Identity
	inline  bool            // one process for everything
	group   string          // may read keys and users; "" where the owner alone must
	needs   []reconcile.Ref // accounts that have to be made first
}

// owner is a system account that Mailstead makes if it is missing.
type owner struct {
	account, group string
	render.Identity
	home  string
	needs []reconcile.Ref
}

func (b *builder) hasSystem() bool  { return hasSystem(b.host) }
func (b *builder) hasVirtual() bool { return hasVirtual(b.host) }

func hasSystem(h *schema.Host) bool {
	return slices.ContainsFunc(h.Users, func(u schema.User) bool { return u.System != nil })
}

// hasOwnIDs says whether users have uids of their own.
func hasOwnIDs(h *schema.Host) bool {
	return hasSystem(h) || slices.ContainsFunc(h.Directories, func(d schema.Directory) bool { return len(d.Homes) > 0 })
}

// hasVirtual says whether users, known or not, have mail that is mail.user's.
func hasVirtual(h *schema.Host) bool {
	return slices.ContainsFunc(h.Users, func(u schema.User) bool { return u.Virtual != nil }) ||
		slices.ContainsFunc(h.Directories, func(d schema.Directory) bool { return len(d.Homes) == 0 })
}

// ownAccounts names the accounts that the host needs for Mailstead itself, in
// the order in which they are made.
func ownAccounts(h *schema.Host) []string {
	names := []string{render.ServiceUser, render.LoginUser}
	if h.Web != nil {
		names = append(names, render.WebUser)
	}
	if hasVirtual(h) {
		names = append(names, h.Mail.User)
	}
	return names
}

// accounts decides who runs the daemon and who owns the mail of virtual users.
func (b *builder) accounts() {
	if b.rootless {
		self := render.Identity{UID: b.facts.UID, GID: b.facts.GID}
		b.mail = owner{Identity: self}
		b.service = service{runAs: self, inline: true}
		return
	}
	if b.hasVirtual() && (b.host.Mail.User == render.ServiceUser || b.host.Mail.User == render.LoginUser || b.host.Mail.User == render.WebUser) {
		b.fault(schema.CodeUnsafe, b.host.Origin, fmt.Sprintf("the account %s is the daemon's own, which must not reach mail", b.host.Mail.User), "name another one with mail: user:")
		return
	}
	b.owners = b.findOwners()
	auth, login := b.owners[0], b.owners[1]
	b.mail = b.owners[len(b.owners)-1]
	b.service = service{
		account: auth.account, group: auth.group, runAs: auth.Identity,
		login: login.account, loginAs: login.Identity,
		needs: append(slices.Clone(auth.needs), login.needs...),
	}
	if b.host.Web != nil {
		page := b.owners[2]
		b.service.web, b.service.webAs = page.account, page.Identity
		b.service.needs = append(b.service.needs, page.needs...)
	}
	if b.hasVirtual() && !hasOwnIDs(b.host) {
		b.service.spawn = b.mail.account
	}
}

// findOwners gives the uid of each account, or the one that it is to get.
func (b *builder) findOwners() []owner {
	free := b.facts.FreeIDs
	var owners []owner
	for _, name := range ownAccounts(b.host) {
		o := owner{account: name, group: name, needs: []reconcile.Ref{{Kind: "service-user", Name: name}}}
		have, ok := b.facts.Accounts[name]
		switch {
		case ok && (have.UID < firstGroup || have.GID < firstGroup):
			b.fault(schema.CodeUnsafe, b.host.Origin, fmt.Sprintf("the account %s has the uid %d and the gid %d on this host, and those below %d belong to the system", name, have.UID, have.GID, firstGroup),
				"give the account a uid and a group of its own, or name another one with mail: user:")
		case ok:
			o.Identity, o.home = render.Identity{UID: have.UID, GID: have.GID}, have.Home
			if have.Group != "" {
				o.group = have.Group
			}
		case len(free) == 0:
			b.fault(schema.CodeLimit, b.host.Origin, fmt.Sprintf("there is no free uid below 1000 for the account %s", name),
				"make the account by hand: adduser --system --group "+name)
		default:
			o.Identity = render.Identity{UID: free[0], GID: free[0]}
			free = free[1:]
			if o.home = "/nonexistent"; name == b.host.Mail.User && b.hasVirtual() {
				o.home = b.host.Mail.Root
			}
		}
		owners = append(owners, o)
	}
	return owners
}

func (b *builder) addAccounts() error {
	for _, o := range b.owners {
		b.add(kind.ServiceUser(o.account, o.UID, o.home, b.origin()))
	}
	return nil
}
