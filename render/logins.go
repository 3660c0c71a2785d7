package render

import (
	"path"
	"slices"
	"strings"

	"mailstead/imapserver/config"
	"mailstead/schema"
)

// AuthDir is where auth keeps what it has to remember.
func AuthDir(p schema.Paths) string { return path.Join(p.State, "auth") }

// RecordDir is where auth records which messages were removed, and by whom.
func RecordDir(p schema.Paths) string { return path.Join(AuthDir(p), "removals") }

func renderLogins(l *schema.Logins, p schema.Paths) *config.Logins {
	if l == nil {
		return nil
	}
	c := &config.Logins{Keep: AuthDir(p), Weak: l.Weak}
	if l.Upgrade != "none" {
		c.Upgrade = l.Upgrade
	}
	if t := l.Tokens; t != nil {
		c.Issuer = &config.Issuer{Name: t.Issuer, Audience: t.Audience, Keys: t.Keys, Claim: t.Claim, Scope: t.Scope, Methods: t.Methods}
	}
	return c
}

// renderMasters gives the rows that follow those of the users.
func renderMasters(l *schema.Logins) []config.User {
	if l == nil {
		return nil
	}
	var out []config.User
	for _, m := range l.Masters {
		out = append(out, config.User{Name: m.Name, Hash: string(m.Hash), Master: true})
	}
	slices.SortFunc(out, func(a, b config.User) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func renderClients(c *schema.ClientCertificates) *config.Clients {
	if c == nil {
		return nil
	}
	return &config.Clients{CA: c.CA, By: c.By}
}
