package schema

import "slices"

// Logins says how users prove who they are.
type Logins struct {
	Origin  Pos
	Upgrade string   // what hashes of an older form become: "argon2id", "scram-sha-256" or "none"
	Weak    []string // schemes, by Dovecot's names
	Masters []Master `json:"-"` // by name
	Tokens  *Tokens
}

// Master is an admin who may come in as any user.
type Master struct {
	Name string
	Hash Secret
}

// Tokens is an issuer of tokens, and how they name a user.
type Tokens struct {
	Issuer, Audience string
	Keys             string // path of a JWK set
	Claim, Scope     string
	Methods          []string
}

// ClientCertificates says whose certificates clients may log in by.
type ClientCertificates struct {
	CA string // path
	By string // "email" or "cn"
}

// logins completes how users prove who they are.
func (c *completer) logins() {
	s := c.spot.at("logins")
	l := &Logins{Origin: s.pos()}
	if !s.exists() || !c.part(l, "logins") {
		return
	}
	for _, m := range s.at("masters").fields() {
		hash, _ := m.at("hash").str()
		if wrong, hint := checkHash(hash, nil); wrong != "" {
			m.at("hash").faultOfValue(CodeUnsafe, wrong, hint)
		}
		l.Masters = append(l.Masters, Master{Name: m.name(), Hash: Secret(withoutScheme(hash))})
	}
	if t := l.Tokens; t != nil && s.at("tokens", "audience").exists() && t.Audience == "" {
		s.at("tokens", "audience").faultOfValue(CodeValue, "is empty, and then tokens for anybody else would be good here", "")
	}
	if t := l.Tokens; t != nil && len(t.Methods) == 0 {
		t.Methods = []string{"RS256", "ES256", "EdDSA"}
	}
	slices.Sort(l.Weak)
	c.host.Logins = l
}

// weak gives the weak schemes that the host names.
func (h *Host) weak() []string {
	if h.Logins == nil {
		return nil
	}
	return h.Logins.Weak
}
