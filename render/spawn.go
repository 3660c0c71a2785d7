package render

import "mailstead/schema"

// Spawn is what mailstead-spawn.service is made of: it starts workers under the
// uids of mail, and so has all of them in its sandbox.
type Spawn struct {
	Systemd   int
	Paths     schema.Paths
	Account   string   // that has all mail; "" is root, which workers leave for their uid
	AuthUID   int      // who may ask
	MailRoots []string // directories below which the workers write
}

// Render writes the unit.
func (s Spawn) Render() ([]byte, error) {
	u := newUnit()
	checkPaths(u, s.Paths)
	for _, p := range s.MailRoots {
		u.path("mail", p)
	}
	u.section("Unit")
	u.set("Description", "Mailstead: workers")
	u.set("After", "nss-user-lookup.target "+ApplyUnit)
	if len(s.MailRoots) > 0 {
		u.words("RequiresMountsFor", "", s.MailRoots...)
	}
	persistent(u)

	u.section("Service")
	u.exec("ExecStart", Program(s.Paths, "mailstead-imapd"), "spawn", "--auth-uid", itoa(s.AuthUID))
	u.set("Sockets", SpawnSocketUnit)
	if s.Account != "" {
		u.name("User", accountName, s.Account)
		u.set("User", s.Account)
	}
	supervised(u, s.Systemd)
	if len(s.MailRoots) > 0 {
		u.words("ReadWritePaths", "-", s.MailRoots...)
	}
	u.set("UMask", "0077")
	limits(u)
	r := spawnRoot
	if s.Account != "" {
		r = spawnOwn
	}
	runsOnly(u, s.Systemd, Program(s.Paths, "mailstead-imapd"))
	writeSandbox(u, s.Systemd, r, append([]string{s.Paths.Bin, s.Paths.Run}, s.MailRoots...)...)

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.bytes()
}
