package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

func ctl(p *program, args []string) error {
	if len(args) == 0 || args[0] != control.VerbStatus && args[0] != control.VerbReload {
		return errors.New("ctl: status or reload?")
	}
	f := p.flags("ctl " + args[0])
	path := f.String("config", defaultConfig, "find the control socket by the configuration at `PATH`")
	socket := f.String("control", "", "the control socket, `PATH`")
	if err := parse(f, args[1:]); err != nil {
		return err
	}
	if *socket == "" {
		var err error
		if *socket, err = controlSocket(*path); err != nil {
			return err
		}
	}
	s, err := control.Ask(context.Background(), *socket, control.Request{Verb: args[0]})
	if err != nil {
		return err
	}
	if s.Error != "" {
		return fmt.Errorf("%s refused: %s", args[0], s.Error)
	}
	if args[0] == control.VerbReload {
		fmt.Fprintf(p.out, "reloaded: generation %s\n", s.Generation)
		return nil
	}
	e := json.NewEncoder(p.out)
	e.SetIndent("", "\t")
	return e.Encode(s)
}

// controlSocket reads a configuration for its control socket alone.
func controlSocket(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	c, err := config.Parse(data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return c.Control, nil
}
