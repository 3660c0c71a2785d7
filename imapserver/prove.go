package imapserver

import (
	"errors"

	"mailstead/imapserver/auth"
)

// admit has auth go over to who may come in, and how they prove who they are. It is for
// good once auth is told that it is settled.
func (s *Settings) admit(a *auth.Auth) error {
	return a.Admit(s.Config, s.Masters, s.Users)
}

// readmit has auth go back to s, since others were refused for that reason, which it
// gives.
func (s *Settings) readmit(a *auth.Auth, reason error) error {
	if err := s.admit(a); err != nil {
		return errors.Join(reason, err)
	}
	a.Settled()
	return reason
}
