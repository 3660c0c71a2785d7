package main

import (
	"context"
	"errors"
	"runtime"

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
	runtime.GOMAXPROCS(1) // it does nothing but pass on: other threads would only be woken and find nothing
	return imapserver.RunSpawn(context.Background(), *uid, imapserver.Options{Log: imapserver.NewLog(p.err)})
}
