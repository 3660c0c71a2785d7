package config

import (
	"errors"
	"regexp"
)

// Logins says how users prove who they are.
type Logins struct {
	Keep    string   `json:"keep"`              // path of the directory in which auth keeps what it has to remember
	Upgrade string   `json:"upgrade,omitempty"` // what a hash of another form becomes at a login: Argon2id or Verifier; "": nothing
	Weak    []string `json:"weak,omitempty"`    // weak schemes that are accepted all the same, such as "MD5-CRYPT"
}

// The values of Logins.Upgrade.
const (
	Argon2id = "argon2id"
	Verifier = "scram-sha-256"
)

var schemeName = regexp.MustCompile(`^[A-Z0-9-]{1,20}$`)

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
		if !schemeName.MatchString(name) {
			f.add("weak: %q is not the name of a scheme", name)
		}
	}
	return errors.Join(f...)
}
