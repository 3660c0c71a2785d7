package auth

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// The mechanisms that need a verifier.
const (
	scramPlain = "SCRAM-SHA-256"
	scramPlus  = "SCRAM-SHA-256-PLUS"
)

// scram begins an exchange of SCRAM.
func (a *Auth) scram(c *handoff.Credentials) *sasl.SCRAM {
	t := a.table.Load()
	return &sasl.SCRAM{
		Plus:     c.Mechanism == scramPlus,
		Offered:  c.TLS && !a.proving().noPlus[c.Listener],
		Bindings: c.Exchange.Bindings,
		Nonce:    rand.Text(),
		Lookup: func(name string) sasl.Verifier {
			if v := t.users[t.called(name)].verifier(); v != nil {
				return *v
			}
			return a.nobody(t, strings.ToLower(name)) // as somebody's, whatever the capitals
		},
	}
}

// nobody gives the verifier of a user whom there is not: the same every time, also
// after a restart, or asking twice would tell that there is none (RFC 5802 §5.1
// has the salt shown to whoever asks). It looks as most of the others do.
func (a *Auth) nobody(t *table, name string) sasl.Verifier {
	secret := a.proving().keep.secret()
	digest := func(what string) []byte {
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(what + "\x00" + name))
		return m.Sum(nil)
	}
	usual := t.like.Load().usual
	v := sasl.Verifier{Iterations: usual.iterations}
	for what := "salt"; len(v.Salt) < usual.salt; what += "+" {
		v.Salt = append(v.Salt, digest(what)...)
	}
	v.Salt = v.Salt[:usual.salt]
	copy(v.StoredKey[:], digest("stored"))
	copy(v.ServerKey[:], digest("server"))
	return v
}

// shape is what a verifier shows to whoever asks.
type shape struct{ iterations, salt int }

func (s shape) compare(o shape) int {
	return cmp.Or(cmp.Compare(s.iterations, o.iterations), cmp.Compare(s.salt, o.salt))
}

func shapeOf(v *sasl.Verifier) shape { return shape{v.Iterations, len(v.Salt)} }
