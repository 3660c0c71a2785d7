package render

import (
	"mailstead/imapserver/config"
	"mailstead/schema"
)

// firstGroup is the least gid that a directory may give: those below belong to the
// system.
const firstGroup = 100

// Known is what holds for users whom only a directory knows.
type Known struct {
	Directories []schema.Directory
	Owner       Identity // whose mail it is where users have no uids of their own
	Root        string   // of that mail
	Folders     []schema.Folder
	Quota       *schema.Quota
	Discard     bool // what is expunged goes into the trash
}

// render writes what the daemon's configuration says of directories.
func (k Known) render(c *config.Config) {
	for _, d := range k.Directories {
		c.Directories = append(c.Directories, config.Directory{
			Name: d.Name, LDAP: renderLDAP(d.LDAP), Authdaemon: renderAuthdaemon(d.Authdaemon), Saslauthd: renderSaslauthd(d.Saslauthd),
			May: k.may(d, c.Hostname),
		})
	}
	if len(k.Directories) == 0 {
		return
	}
	for _, f := range k.Folders {
		c.Folders = append(c.Folders, config.Folder{Name: f.Name, Use: f.Use, Subscribed: f.Subscribed})
	}
}

// may is what a directory may say of a user.
func (k Known) may(d schema.Directory, host string) config.May {
	m := config.May{Host: host, Quota: renderQuota(k.Quota), Discard: k.Discard}
	if len(d.Homes) > 0 {
		m.Roots, m.MinUID, m.MaxUID, m.MinGID = d.Homes, d.FirstUID, d.LastUID, firstGroup
		return m
	}
	owner := config.Identity(k.Owner)
	m.Roots, m.Owner = []string{k.Root}, &owner
	return m
}

func renderQuota(q *schema.Quota) *config.Quota {
	if q == nil {
		return nil
	}
	return &config.Quota{Storage: q.Storage, Messages: q.Messages, Set: q.Change}
}

func renderLDAP(l *schema.LDAP) *config.LDAP {
	if l == nil {
		return nil
	}
	return &config.LDAP{
		Servers: l.Servers, STARTTLS: l.STARTTLS, CA: l.CA,
		User: l.User, Account: l.Account, PasswordFile: l.PasswordFile, Base: l.Base, Filter: l.Filter,
		Attributes: config.Attributes(l.Attributes), Bounds: config.Bounds{Connections: l.Connections, Timeout: l.Timeout},
	}
}

func renderAuthdaemon(a *schema.Authdaemon) *config.Authdaemon {
	if a == nil {
		return nil
	}
	return &config.Authdaemon{Socket: a.Socket, Service: "imap", Bounds: config.Bounds{Connections: a.Connections, Timeout: a.Timeout}}
}

func renderSaslauthd(s *schema.Saslauthd) *config.Saslauthd {
	if s == nil {
		return nil
	}
	return &config.Saslauthd{Socket: s.Socket, Service: s.Service, Realm: s.Realm, Bounds: config.Bounds{Connections: s.Connections, Timeout: s.Timeout}}
}
