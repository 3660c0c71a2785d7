package config

import (
	"errors"
	"slices"
)

// Logins says how users prove who they are.
type Logins struct {
	Keep    string   `json:"keep"`              // path of the directory in which auth keeps what it has to remember
	Upgrade string   `json:"upgrade,omitempty"` // what a hash of another form becomes at a login: Argon2id or Verifier; "": nothing
	Weak    []string `json:"weak,omitempty"`    // weak schemes that are accepted all the same, such as "MD5-CRYPT"
	Issuer  *Issuer  `json:"issuer,omitempty"`  // of tokens; nil: none are accepted
}

// Issuer is who makes the tokens (JWT, RFC 7519) by which users may log in.
type Issuer struct {
	Name     string   `json:"name"`     // as tokens have it in "iss": a URL
	Audience string   `json:"audience"` // one of "aud"
	Keys     string   `json:"keys"`     // path of its JWK set, which may be replaced at any time
	Claim    string   `json:"claim"`    // the claim that is the name of the user
	Scope    string   `json:"scope,omitempty"`
	Methods  []string `json:"methods"` // of signatures: of IssuerMethods
}

// IssuerMethods are the signatures that a token may have (RFC 7518 §3.1, RFC 8037):
// none that is made with a key which whoever checks it has.
var IssuerMethods = []string{"RS256", "ES256", "EdDSA"}

// Clients says whose certificates clients may log in by.
type Clients struct {
	CA  string `json:"ca"`            // path of a PEM file with the certificates of the authorities
	By  string `json:"by"`            // what is the name of the user: ByEmail or ByName
	PEM []byte `json:"pem,omitempty"` // what the daemon has read from CA; not in the file
}

// The values of Clients.By.
const (
	ByEmail = "email" // the rfc822Name of the subject's alternative names
	ByName  = "cn"    // the common name of the subject
)

// The values of Logins.Upgrade.
const (
	Argon2id = "argon2id"
	Verifier = "scram-sha-256"
)

var schemeName = Pattern(`^[A-Z0-9-]{1,20}$`)

func (l *Logins) check() error {
	if l == nil {
		return nil
	}
	var f faults
	f.at("keep", checkPath(l.Keep))
	if l.Upgrade != "" && l.Upgrade != Argon2id && l.Upgrade != Verifier {
		f.add("upgrade: %q: either %q or %q", l.Upgrade, Argon2id, Verifier)
	}
	for _, name := range l.Weak {
		if !schemeName().MatchString(name) {
			f.add("weak: %q is not the name of a scheme", name)
		}
	}
	if i := l.Issuer; i != nil {
		f.at("issuer", i.check())
	}
	return errors.Join(f...)
}

func (i *Issuer) check() error {
	var f faults
	for field, value := range map[string]string{"name": i.Name, "audience": i.Audience, "claim": i.Claim} {
		if f.at(field, checkText(value)); value == "" || len(value) > maxNote {
			f.add("%s: missing or longer than %d bytes", field, maxNote)
		}
	}
	f.at("scope", checkText(i.Scope))
	f.at("keys", checkPath(i.Keys))
	if len(i.Methods) == 0 {
		f.add("methods: none")
	}
	for _, m := range i.Methods {
		if !slices.Contains(IssuerMethods, m) {
			f.add("methods: %q is not one of %q", m, IssuerMethods)
		}
	}
	return errors.Join(f...)
}

func (c *Clients) check() error {
	if c == nil {
		return nil
	}
	var f faults
	f.at("ca", checkPath(c.CA))
	if c.By != ByEmail && c.By != ByName {
		f.add("by: %q: either %q or %q", c.By, ByEmail, ByName)
	}
	return errors.Join(f...)
}
