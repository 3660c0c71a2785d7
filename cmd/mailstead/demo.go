package main

import (
	"embed"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"mailstead/imapserver/maildir"
)

// The user that up adds to every host. The hash is of demoPassword and of no
// use to anyone else: up serves the loopback only.
const (
	demoUser     = "demo"
	demoPassword = "demo"
	demoHash     = "$argon2id$v=19$m=8192,t=1,p=1$55mDxMbo0LiyquEJrpkfPQ$syglRNR9FazqZ+DVWmyi51+r9HwGfLy2tdL25cHU49A"
)

// demoMessages are messages to look at, in the order of their arrival.
//
//go:embed demo/*.eml
var demoMessages embed.FS

// deliverDemo puts the demo messages into a Maildir, as a delivery agent does:
// written to tmp, then renamed into new. Each arrives when its Date says.
func deliverDemo(dir string) error {
	entries, err := demoMessages.ReadDir("demo")
	if err != nil {
		return err
	}
	namer := maildir.NewNamer()
	for _, entry := range entries {
		text, err := demoMessages.ReadFile("demo/" + entry.Name())
		if err != nil {
			return err
		}
		if err := deliver(dir, namer.Next(), text); err != nil {
			return fmt.Errorf("deliver %s: %w", entry.Name(), err)
		}
	}
	return nil
}

func deliver(dir string, name maildir.Unique, text []byte) error {
	tmp := filepath.Join(dir, "tmp", name.Tmp())
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	if m, err := mail.ReadMessage(strings.NewReader(string(text))); err == nil {
		if date, err := m.Header.Date(); err == nil {
			if err := os.Chtimes(tmp, date, date); err != nil {
				return err
			}
		}
	}
	info, err := os.Stat(tmp)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: %w", tmp, fs.ErrInvalid)
	}
	return os.Rename(tmp, filepath.Join(dir, "new", name.Base(uint64(stat.Dev), stat.Ino, info.Size())))
}
