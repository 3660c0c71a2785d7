package main

import (
	"context"

	"mailstead/imapserver"
)

// front is login and auth, as the supervisor starts them.
func front(p *program, args []string) error {
	if err := parse(p.flags("front"), args); err != nil {
		return err
	}
	return imapserver.RunFront(context.Background(), imapserver.Options{Log: imapserver.NewLog(p.err)})
}
