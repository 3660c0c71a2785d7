package sasl

// External is EXTERNAL (RFC 4422 Appendix A): who the client is has been found
// outside, by the certificate of its TLS connection. Names is set before the first
// response.
type External struct {
	Names []string // of the user, as the certificate has them

	credentials Credentials
	asked, over bool
}

// Next is Mechanism's: the only response is whom the client wants to be, empty where
// it leaves that to the server.
func (e *External) Next(response []byte) ([]byte, bool, error) {
	if e.over {
		return nil, false, ErrEnded
	}
	if response == nil && !e.asked {
		e.asked = true
		return []byte{}, false, nil
	}
	e.over = true
	wanted := string(response)
	if wanted != "" {
		if err := Check(Credentials{User: wanted, Password: "-"}); err != nil {
			return nil, false, err
		}
	}
	for _, name := range e.Names {
		if wanted == name || wanted == "" && len(e.Names) == 1 {
			e.credentials.User = name
			return nil, true, nil
		}
	}
	if len(e.Names) == 0 {
		return nil, false, ErrCertificate
	}
	e.credentials.User = wanted // for the log alone: there was an error
	return nil, false, ErrAuthzid
}

// Credentials is Mechanism's; it has no password.
func (e *External) Credentials() Credentials { return e.credentials }
