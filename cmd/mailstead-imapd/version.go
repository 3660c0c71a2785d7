package main

import (
	"fmt"
	"runtime"

	"mailstead/imapserver"
)

func version(p *program, args []string) error {
	if err := parse(p.flags("version"), args); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.out, "mailstead-imapd %s, %s %s/%s\n", imapserver.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
