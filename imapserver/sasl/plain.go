package sasl

import "bytes"

// plain is PLAIN (RFC 4616): one response, authzid NUL authcid NUL passwd.
type plain struct {
	credentials Credentials
	asked, over bool
}

func (p *plain) Next(response []byte) ([]byte, bool, error) {
	if p.over {
		return nil, false, ErrEnded
	}
	if response == nil && !p.asked {
		p.asked = true
		return []byte{}, false, nil
	}
	p.over = true
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return nil, false, ErrSyntax
	}
	authzid, c := string(parts[0]), Credentials{User: string(parts[1]), Password: string(parts[2])}
	if err := Check(c); err != nil {
		return nil, false, err
	}
	// RFC 4616 §2 lets a user act for another. Who may auth knows; a server that
	// checks one name and then takes the other gives every mailbox away.
	if authzid != "" && authzid != c.User {
		if err := Check(Credentials{User: authzid, Password: "-"}); err != nil {
			return nil, false, err
		}
		c.For = authzid
	}
	p.credentials = c
	return nil, true, nil
}

func (p *plain) Credentials() Credentials { return p.credentials }
