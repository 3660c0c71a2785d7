package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"mailstead/imapserver/maildir"
)

// TestHandbackAsOwner: root hands back what belongs to somebody else, and
// nothing there becomes root's.
func TestHandbackAsOwner(t *testing.T) {
	e2e(t, "courier")
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	home, err := os.MkdirTemp("", "handback")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	dir := filepath.Join(home, "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cur", "1.a:2,S"), []byte("Subject: hello\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chown", "-R", "nobody:nogroup", home).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(bin, "mailstead"), "handback", dir).CombinedOutput()
	if want := dir + " is Courier's: 1 mailbox, 1 message.\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(dir, maildir.UIDDBFile)); err != nil {
		t.Error(err)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil && st.Sys().(*syscall.Stat_t).Uid != nobody {
			t.Errorf("%s belongs to the uid %d", path, st.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
