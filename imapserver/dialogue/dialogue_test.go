package dialogue_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/wire"
)

// scripts reads testdata/*.imap.
func scripts(t *testing.T) []*dialogue.Script {
	t.Helper()
	files, err := filepath.Glob("testdata/*.imap")
	if err != nil {
		t.Fatal(err)
	}
	var list []*dialogue.Script
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := dialogue.Parse(strings.TrimSuffix(filepath.Base(file), ".imap"), string(text))
		if err != nil {
			t.Error(err)
			continue
		}
		list = append(list, s)
	}
	if len(list) < 60 {
		t.Errorf("%d scripts, want 60 or more", len(list))
	}
	return list
}

// TestMailstead runs every script against our own server.
func TestMailstead(t *testing.T) {
	for _, s := range scripts(t) {
		if s.Only != "" && s.Only != "mailstead" {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			dialogue.Run(t, s, dialogue.Mailstead(t, s.Setup))
		})
	}
}

// TestDovecot runs the scripts against a real Dovecot 2.3: the program that
// MAILSTEAD_PEER_DOVECOT names, or the one in the path with MAILSTEAD_E2E=1.
func TestDovecot(t *testing.T) {
	list := scripts(t)
	d := dialogue.StartDovecot(t, dovecot(t), list)
	t.Run("scripts", func(t *testing.T) {
		for _, s := range list {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				if s.Only != "" && s.Only != "dovecot" {
					t.Skip("for " + s.Only + " alone")
				}
				if c := d.Lacks(s); c != "" {
					t.Skip("Dovecot does not have " + c)
				}
				a, err := d.Account(s)
				if err != nil {
					t.Fatal(err)
				}
				dialogue.Run(t, s, a)
			})
		}
	})
}

func dovecot(t *testing.T) string {
	t.Helper()
	path := os.Getenv("MAILSTEAD_PEER_DOVECOT")
	if path == "" {
		if os.Getenv("MAILSTEAD_E2E") != "1" {
			t.Skip("set MAILSTEAD_PEER_DOVECOT=/usr/sbin/dovecot (as root) to run the scripts against it")
		}
		var err error
		if path, err = exec.LookPath("dovecot"); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestCovered holds that every capability has a script that says so, and that
// every command is sent by one.
func TestCovered(t *testing.T) {
	var covered []imap.Cap
	var sent []string
	for _, s := range scripts(t) {
		if s.Only == "dovecot" {
			continue
		}
		for _, c := range s.Covers {
			covered = append(covered, imap.Cap(c))
			if !slices.ContainsFunc(wire.Capabilities, func(r wire.CapabilityRow) bool { return r.Name == imap.Cap(c) }) {
				t.Errorf("%s covers %s, which is no capability of ours", s.Name, c)
			}
		}
		sent = append(sent, s.Commands()...)
	}
	for _, row := range wire.Capabilities {
		if !slices.Contains(covered, row.Name) {
			t.Errorf("no script says that it covers %s", row.Name)
		}
	}
	for _, row := range wire.Commands {
		if !slices.Contains(sent, row.Name) {
			t.Errorf("no script sends %s", row.Name)
		}
	}
}
