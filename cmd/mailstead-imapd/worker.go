package main

import (
	"context"

	"mailstead/imapserver"
)

// worker is the mail side of one uid, as the supervisor starts it.
func worker(p *program, args []string) error {
	if err := parse(p.flags("worker"), args); err != nil {
		return err
	}
	return imapserver.RunWorker(context.Background(), imapserver.Options{Log: imapserver.NewLog(p.err)})
}
