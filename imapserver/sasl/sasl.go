// Package sasl is the server's side of the SASL mechanisms (RFC 4422) as pure
// state machines: responses of the client in, challenges out, at the end the
// credentials that auth shall check. It decides nothing, does no I/O and
// knows no IMAP. The login package drives it, after base64; it imports nothing
// of the project.
package sasl

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// The bounds of what a client may present. They are far above what a person
// or a token needs, and far below what would slow a password hash down.
const (
	MaxUser     = 255 // octets
	MaxPassword = 1024
)

// What is wrong with a response. The text may be shown to the client: it
// repeats nothing that the client has sent.
var (
	ErrSyntax      = errors.New("response is not in the form of the mechanism")
	ErrAuthzid     = errors.New("acting for another user is not supported")
	ErrTooLong     = errors.New("user name or password too long")
	ErrEmpty       = errors.New("empty user name or password")
	ErrText        = errors.New("user name or password is not UTF-8 text")
	ErrCertificate = errors.New("no certificate that names a user was presented")
	ErrEnded       = errors.New("response after the end of the exchange")
)

// Credentials is the outcome of an exchange.
type Credentials struct {
	User, Password string
	For            string // whom the user asks to act for; "": nobody else
}

// Mechanism is one exchange. Next takes the client's response, nil where the
// client has sent no initial response, and gives the next challenge until
// done. After done or an error the exchange is over.
type Mechanism interface {
	Next(response []byte) (challenge []byte, done bool, err error)
	Credentials() Credentials // after done
}

// mechanism is a row of the table.
type mechanism struct {
	name string
	make func() Mechanism
}

var mechanisms = []mechanism{
	{"PLAIN", func() Mechanism { return &plain{} }},
	{"LOGIN", func() Mechanism { return &login{} }},
}

// Names gives the mechanisms in order of preference.
func Names() []string {
	names := make([]string, len(mechanisms))
	for i, m := range mechanisms {
		names[i] = m.name
	}
	return names
}

// New begins an exchange of the mechanism with that name, in capitals. It is
// false where there is none.
func New(name string) (Mechanism, bool) {
	i := slices.IndexFunc(mechanisms, func(m mechanism) bool { return m.name == name })
	if i < 0 {
		return nil, false
	}
	return mechanisms[i].make(), true
}

// Check holds credentials, however they have been presented, to the rules that
// no backend has to look at again: bounded, not empty, text without NUL.
func Check(c Credentials) error {
	if c.User == "" || c.Password == "" {
		return ErrEmpty
	}
	if len(c.User) > MaxUser || len(c.Password) > MaxPassword {
		return ErrTooLong
	}
	for _, s := range []string{c.User, c.Password} {
		if !utf8.ValidString(s) || slices.Contains([]byte(s), 0) {
			return ErrText
		}
	}
	return nil
}

// String keeps the password out of logs.
func (c Credentials) String() string { return fmt.Sprintf("{%q (secret)}", c.User) }

// GoString keeps it out of %#v.
func (c Credentials) GoString() string { return c.String() }
