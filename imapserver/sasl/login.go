package sasl

// login is LOGIN, which no RFC has: the server asks for the name, then for the
// password. Deviation: old Outlook and printers know no other mechanism.
type login struct {
	credentials Credentials
	step        int
}

// The steps of LOGIN.
const (
	loginStart = iota
	loginUser
	loginPassword
	loginOver
)

func (l *login) Next(response []byte) ([]byte, bool, error) {
	switch l.step {
	case loginStart:
		if response == nil {
			l.step = loginUser
			return []byte("Username:"), false, nil
		}
		fallthrough // an initial response is the name
	case loginUser:
		l.credentials.User = string(response)
		l.step = loginPassword
		return []byte("Password:"), false, nil
	case loginPassword:
		l.credentials.Password = string(response)
		l.step = loginOver
		if err := Check(l.credentials); err != nil {
			l.credentials = Credentials{}
			return nil, false, err
		}
		return nil, true, nil
	}
	return nil, false, ErrEnded
}

func (l *login) Credentials() Credentials { return l.credentials }
