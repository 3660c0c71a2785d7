package main

import (
	"context"

	"mailstead/imapserver"
)

// worker is the mail side of one uid, as spawn starts it: with the directories below
// which the mail is.
func worker(p *program, roots []string) error {
	return imapserver.RunWorker(context.Background(), roots, imapserver.Options{Log: imapserver.NewLog(p.err)})
}
