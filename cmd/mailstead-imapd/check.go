package main

import (
	"encoding/json"
	"fmt"
	"os"

	"mailstead/imapserver"
	"mailstead/imapserver/config"
)

// check is a start that serves nobody.
func check(p *program, args []string) error {
	f := p.flags("check")
	path := f.String("config", defaultConfig, "the configuration, `PATH`")
	staged := f.Bool("staged", false, "take what is not in place yet from standard input, as mailstead apply gives it")
	if err := parse(f, args); err != nil {
		return err
	}
	o := imapserver.Options{Log: imapserver.NewLog(p.err)}
	if !*staged {
		return imapserver.Check(*path, o)
	}
	var st config.Staged
	if err := json.NewDecoder(os.Stdin).Decode(&st); err != nil {
		return fmt.Errorf("read what is staged: %w", err)
	}
	return imapserver.CheckStaged(st, o)
}
