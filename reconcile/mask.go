package reconcile

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Hidden stands in the place of a secret.
const Hidden = "(secret)"

const keyedPrefix = "hmac-sha256:"

// keyed gives the digest of a secret under a key of the host: equal secrets have
// equal digests there, and nobody elsewhere can try passwords against them.
func keyed[T string | []byte](key []byte, secret T) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(secret))
	return keyedPrefix + hex.EncodeToString(m.Sum(nil))
}

func isKeyed(v string) bool {
	return len(v) == len(keyedPrefix)+2*sha256.Size && strings.HasPrefix(v, keyedPrefix)
}

// MarshalJSON never shows a secret: it stands there as the digest that Masked or
// the inventory made of it, and as "(secret)" otherwise.
func (a Attr) MarshalJSON() ([]byte, error) {
	if a.Secret && !isKeyed(a.Value) && !isDigest(a.Value) {
		a.Value = Hidden
	}
	type plain Attr
	return json.Marshal(plain(a))
}

// Masked gives the plan with every secret replaced by its digest under the key,
// for saving and sending; one that is such a digest already stays.
func (p *Plan) Masked(key []byte) *Plan {
	out := *p
	out.Changes = make([]Change, len(p.Changes))
	for i, c := range p.Changes {
		c.Have, c.Want = c.Have.masked(key), c.Want.masked(key)
		c.Saw, c.Wants = c.Have.digest(key), c.Want.digest(key)
		out.Changes[i] = c
	}
	out.Record = make([]Resource, len(p.Record))
	for i := range p.Record {
		out.Record[i] = *p.Record[i].masked(key)
	}
	return &out
}

func (r *Resource) masked(key []byte) *Resource {
	if r == nil {
		return nil
	}
	out := *r
	out.Attrs = make([]Attr, len(r.Attrs))
	for i, a := range r.Attrs {
		switch {
		case a.Secret && isKeyed(a.Value): // masked already
		case a.Secret:
			a.Value = keyed(key, a.Value)
		case !utf8.ValidString(a.Value): // JSON would alter it
			a.Value = digestOf(a.Value)
		}
		out.Attrs[i] = a
	}
	return &out
}
