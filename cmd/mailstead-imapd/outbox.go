package main

import (
	"context"
	"errors"
	"net"
	"os"

	"mailstead/imapserver/outbox"
)

// sendOutbox is what systemd starts for each connection to the outbox, which is
// its standard input.
func sendOutbox(p *program, args []string) error {
	f := p.flags("outbox")
	command := f.String("sendmail", "/usr/sbin/sendmail", "hand messages to the program `PATH`")
	if err := parse(f, args); err != nil {
		return err
	}
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		return errors.New("outbox: standard input is no socket: this is for systemd to start")
	}
	defer conn.Close()
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("outbox: standard input is no local socket")
	}
	return outbox.Serve(context.Background(), local, *command)
}
