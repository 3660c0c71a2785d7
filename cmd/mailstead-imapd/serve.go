package main

import (
	"context"

	"mailstead/imapserver"
)

// defaultConfig is where mailstead apply puts the configuration.
const defaultConfig = "/var/lib/mailstead/config.json"

func serve(p *program, args []string) error {
	f := p.flags("serve")
	path := f.String("config", defaultConfig, "the configuration, `PATH`")
	if err := parse(f, args); err != nil {
		return err
	}
	return imapserver.Run(context.Background(), *path, imapserver.Options{Log: imapserver.NewLog(p.err)})
}
