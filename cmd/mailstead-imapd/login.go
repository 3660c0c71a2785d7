package main

import (
	"context"

	"mailstead/imapserver"
)

// login is the login process of one listener, as its unit starts it.
func login(p *program, args []string) error {
	f := p.flags("login")
	listener := f.String("listener", "", "the listener, `NAME`")
	auth := f.String("auth", "", "the socket at which auth is found, `PATH`")
	if err := parse(f, args); err != nil {
		return err
	}
	return imapserver.RunLogin(context.Background(), *listener, *auth, imapserver.Options{Log: imapserver.NewLog(p.err)})
}
