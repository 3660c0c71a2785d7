package imapserver

import (
	"context"
	"errors"
	"fmt"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/control"
)

// authorizer is a server whose auth is in its own process.
type authorizer interface {
	authority() *auth.Auth
	inForce() *Settings
}

func (i *Inline) authority() *auth.Auth { return i.front.auth }
func (p *Parted) authority() *auth.Auth { return p.auth }
func (i *Inline) inForce() *Settings    { return i.front.settings.Load() }
func (p *Parted) inForce() *Settings    { return p.settings.Load() }

// appPassword does what is asked about app passwords, and adds the outcome to the
// answer.
func (r *running) appPassword(q control.Request, s *control.Status) error {
	server, ok := r.server.(authorizer)
	if !ok || q.AppPassword == nil {
		return errors.New("there are no app passwords here")
	}
	a, p := server.authority(), q.AppPassword
	var err error
	switch p.Do {
	case control.AddAppPassword:
		s.Password, err = a.AddAppPassword(q.User, p.Name, p.Listeners)
	case control.RevokeAppPassword:
		err = a.RevokeAppPassword(q.User, p.Name)
	case control.ListAppPasswords:
	default:
		err = fmt.Errorf("unknown verb %q", p.Do)
	}
	for _, app := range a.AppPasswords(q.User) {
		s.AppPasswords = append(s.AppPasswords, control.AppPassword(app))
	}
	return err
}

// aboutAppPasswords answers with the status and that.
func (r *running) aboutAppPasswords(ctx context.Context, q control.Request) control.Status {
	s, err := r.server.Status(ctx)
	if err = errors.Join(r.appPassword(q, &s), err); err != nil {
		s.Error = err.Error()
	}
	return s
}
