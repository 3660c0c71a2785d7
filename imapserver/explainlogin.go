package imapserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/control"
)

// cameWords are what has come of a step, as the control socket has it.
var cameWords = map[auth.Came]string{
	auth.OK: control.StepOK, auth.Passed: control.StepPassed, auth.Ends: control.StepEnds, auth.Untold: control.StepUntold,
}

// explainLogin answers with the status and with how a login goes. That somebody has
// asked is in the log, the password is not.
func (r *running) explainLogin(ctx context.Context, q control.Request) control.Status {
	s, err := r.server.Status(ctx)
	if err == nil {
		s.Login, err = r.explain(ctx, q)
	}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

func (r *running) explain(ctx context.Context, q control.Request) (*control.LoginExplained, error) {
	server, ok := r.server.(authorizer)
	if !ok || q.Login == nil {
		return nil, errors.New("which login is to be explained?")
	}
	question := auth.Question{User: q.User, Listener: q.Login.Listener, Password: q.Login.Password, TLS: true}
	if q.Login.Address != "" {
		var err error
		if question.Remote, err = netip.ParseAddr(q.Login.Address); err != nil {
			return nil, fmt.Errorf("address %q: not an IP address", q.Login.Address)
		}
	}
	a := server.authority()
	r.log.Info("login explained", "user", q.User, "listener", question.Listener, "with_password", question.Password != "")
	steps, row, known := a.Explain(ctx, question)
	x := &control.LoginExplained{Mechanisms: a.Mechanisms(question.Listener)}
	for _, step := range steps {
		x.Steps = append(x.Steps, control.LoginStep{Step: step.Name, Of: step.Of, Came: cameWords[step.Came], Seen: step.Seen, Down: step.Down})
	}
	if known {
		_, session := a.User(row.Name)
		x.User = &control.LoginUser{Name: row.Name, UID: row.UID, GID: row.GID, Home: row.Home, Maildir: row.Maildir,
			Directory: row.Directory, Elsewhere: row.Elsewhere, Session: session && row.Elsewhere == ""}
	}
	return x, nil
}
