package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/maildir"
)

// TestOwnersWay: root does not become who owns what somebody else leads it to.
func TestOwnersWay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes somebody else")
	}
	const alice, bob = 65533, 65532
	top := t.TempDir()
	mkdir := func(uid int, name string) string {
		path := filepath.Join(top, name)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Lchown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(uid int, to, name string) string {
		path := filepath.Join(top, name)
		if err := errors.Join(os.Symlink(to, path), os.Lchown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mkdir(bob, "bob")
	mkdir(alice, "alice")
	maildir := mkdir(bob, "bob/Maildir")
	roots := link(0, top, "home")
	for dir, wrong := range map[string]string{
		maildir:                               "",
		filepath.Join(roots, "bob/Maildir"):   "",
		link(bob, maildir, "bob/Mail"):        "",
		link(alice, maildir, "alice/Maildir"): "alice/Maildir is on the way",
		filepath.Join(link(alice, filepath.Join(top, "bob"), "alice/x"), "Maildir"): "alice/x is on the way",
		filepath.Join(mkdir(bob, "alice/bobs")):                                     "alice is on the way",
	} {
		err := ownWay(dir, bob)
		if (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", dir, err, wrong)
		}
	}
	w := ownersWork{dir: filepath.Join(top, "alice/Maildir"), do: func(string) error { return errors.New("done by root") }}
	if err := w.run(t.Context(), &console{out: io.Discard, err: io.Discard}, "flatten"); err == nil || !strings.Contains(err.Error(), "is on the way") {
		t.Errorf("it went on: %v", err)
	}
}

// TestAwayFromTerminal: who works as somebody else is of a session of their own, and says
// what there is to say through pipes.
func TestAwayFromTerminal(t *testing.T) {
	_, slave, err := openTerminal()
	if err != nil {
		t.Skip(err)
	}
	defer slave.Close()
	var said bytes.Buffer
	cmd := asUser(t.Context(), uint32(os.Geteuid()), uint32(os.Getegid()), slave, &said, "import-work")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `cut -d " " -f 1,6 /proc/$$/stat >&2; test -t 1 && echo "a terminal" >&2`}
	cmd.Run()
	if f := strings.Fields(said.String()); len(f) != 2 || f[0] != f[1] {
		t.Errorf("process and session, and no more: %q", said.String())
	}
}

// TestLookAsOwner: root has the owner look at a Maildir.
func TestLookAsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes somebody else")
	}
	dir, err := os.MkdirTemp("", "look") // in which that owner gets, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(maildir.MakeTree(filepath.Join(dir, "Maildir"), false), exec.Command("chown", "-R", "65533:65533", dir).Run()); err != nil {
		t.Fatal(err)
	}
	found, err := lookAtMails(t.Context(), []string{filepath.Join(dir, "Maildir")}, false)
	if m := found[filepath.Join(dir, "Maildir")]; err != nil || m == nil || m.Fault != "" || len(m.Folders) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}
