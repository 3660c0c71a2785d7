package sasl

import (
	"bytes"
	"strings"
)

// Bearer is OAUTHBEARER (RFC 7628) and, with Old, XOAUTH2, which is what clients had
// before: the client presents a token of an issuer. The first two fields are set
// before the first response.
type Bearer struct {
	Old bool
	// Verify gives the name of the user whose token it is. user is whom the client
	// says that it is, or "".
	Verify func(user, token string) (name string, err error)
	// Fault is what a client is told of a token that is not good, as JSON.
	Fault string

	credentials Credentials
	asked, over bool
	fault       error // which the client has been told of
}

const kvsep = "\x01"

// Next is Mechanism's. After a token that is not good the client is told so by a
// challenge, and says that it has understood (RFC 7628 §3.2.3).
func (b *Bearer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case b.over:
		return nil, false, ErrEnded
	case b.fault != nil:
		b.over = true
		return nil, false, b.fault
	case response == nil && !b.asked:
		b.asked = true
		return []byte{}, false, nil
	}
	user, token, ok := b.parse(response)
	if !ok {
		b.over = true
		return nil, false, ErrSyntax
	}
	b.credentials = Credentials{User: user, Password: token}
	if user != "" {
		if err := Check(Credentials{User: user, Password: "-"}); err != nil {
			b.over = true
			return nil, false, err
		}
	}
	name, err := b.Verify(user, token)
	if err != nil {
		b.fault = err
		return []byte(b.Fault), false, nil
	}
	b.over = true
	b.credentials.User = name
	return nil, true, nil
}

// parse takes the user, who may be missing, and the token out of a response.
func (b *Bearer) parse(response []byte) (user, token string, ok bool) {
	head, rest, ok := bytes.Cut(response, []byte(kvsep))
	rest, whole := bytes.CutSuffix(rest, []byte(kvsep+kvsep))
	if !ok || !whole {
		return "", "", false
	}
	if b.Old {
		user, ok = strings.CutPrefix(string(head), "user=")
	} else {
		user, ok = authzid(string(head))
	}
	if !ok {
		return "", "", false
	}
	for field := range strings.SplitSeq(string(rest), kvsep) {
		key, value, found := strings.Cut(field, "=")
		switch {
		case !found || key == "":
			return "", "", false
		case key == "auth" && token != "":
			return "", "", false
		case key == "auth":
			scheme, t, _ := strings.Cut(value, " ")
			if token = strings.TrimSpace(t); !strings.EqualFold(scheme, "Bearer") || token == "" {
				return "", "", false
			}
		}
	}
	return user, token, token != ""
}

// authzid takes the user out of a gs2-header; none of the channel bindings goes with
// a token.
func authzid(header string) (user string, ok bool) {
	parts := strings.Split(header, ",")
	if len(parts) != 3 || parts[0] != "n" && parts[0] != "y" || parts[2] != "" {
		return "", false
	}
	if parts[1] == "" {
		return "", true
	}
	user, err := name(strings.CutPrefix(parts[1], "a="))
	return user, err == nil
}

// Credentials is Mechanism's; the password is the token.
func (b *Bearer) Credentials() Credentials { return b.credentials }
