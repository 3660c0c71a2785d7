package imapserver

import "mailstead/imapserver/auth"

// admit has auth go over to who may come in, and how they prove who they are.
func (s *Settings) admit(a *auth.Auth) error {
	if err := a.Prove(s.Config, s.Masters); err != nil {
		return err
	}
	return a.Update(s.Users, s.Config.Directories...)
}
