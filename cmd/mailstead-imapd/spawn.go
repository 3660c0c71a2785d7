package main

import (
	"context"
	"errors"

	"mailstead/imapserver"
)

// spawn starts workers for auth, as its unit starts it.
func spawn(p *program, args []string) error {
	f := p.flags("spawn")
	uid := f.Int("auth-uid", -1, "who auth is: nobody else may ask, `UID`")
	if err := parse(f, args); err != nil {
		return err
	}
	if *uid < 0 {
		return errors.New("spawn: --auth-uid is missing")
	}
	return imapserver.RunSpawn(context.Background(), *uid, imapserver.Options{Log: imapserver.NewLog(p.err)})
}
