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
	proxy := f.Bool("proxy", false, "stand in front of other servers")
	if err := parse(f, args); err != nil {
		return err
	}
	run := imapserver.RunLogin
	if *proxy {
		run = imapserver.RunProxy
	}
	return run(context.Background(), *listener, *auth, imapserver.Options{Log: imapserver.NewLog(p.err)})
}
