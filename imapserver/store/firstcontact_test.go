package store

import (
	"os"
	"path/filepath"
	"testing"

	"mailstead/imapserver/maildir"
)

// TestRestoredCourierMailbox: a mailbox whose UIDs were Courier's goes, by
// DELETE and from outside, and comes back as it was before we gave UIDs out.
func TestRestoredCourierMailbox(t *testing.T) {
	for name, remove := range map[string]func(t *testing.T, a *Account, box string) *Account{
		"deleted": func(t *testing.T, a *Account, _ string) *Account {
			if err := a.Delete(t.Context(), "R&D"); err != nil {
				t.Fatal(err)
			}
			return a
		},
		"removed while closed": func(t *testing.T, a *Account, box string) *Account {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(box); err != nil {
				t.Fatal(err)
			}
			return openAccount(t, filepath.Dir(box))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir")
			box, backup := filepath.Join(dir, ".R&D"), filepath.Join(t.TempDir(), "backup")
			copyTree(t, backup, box)
			a := openAccount(t, dir)
			v := selectBox(t, a, "R&D", false)
			validity := v.UIDValidity()
			v.Close()
			given := appendMessage(t, a, "R&D", mail1)
			a = remove(t, a, box)
			copyTree(t, box, backup)
			v = selectBox(t, a, "R&D", false)
			if v.UIDValidity() != validity {
				t.Errorf("uidvalidity %d, was %d", v.UIDValidity(), validity)
			}
			v.Close()
			if uid := appendMessage(t, a, "R&D", mail1); uid <= given {
				t.Errorf("uid %d, and %d was given before", uid, given)
			}
		})
	}
}

// TestNoFilesOfOthers has a directory or a link in place of another server's file: the mailbox begins anew.
func TestNoFilesOfOthers(t *testing.T) {
	for _, name := range []string{maildir.UIDDBFile, maildir.DovecotUIDListFile, maildir.MbsyncUIDFile, maildir.MbsyncStateFile} {
		for how, plant := range map[string]func(path string) error{
			"directory": func(path string) error { return os.Mkdir(path, 0o700) },
			"link":      func(path string) error { return os.Symlink("/dev/null", path) },
		} {
			dir := newMaildir(t)
			if name == maildir.MbsyncStateFile {
				put(t, filepath.Join(dir, maildir.MbsyncUIDFile), "123\n7\n")
			}
			if err := plant(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, "cur", "1.a,U=5:2,"), mail1)
			v, err := openUnwatched(t, dir).Select(t.Context(), "INBOX", false)
			if err != nil {
				t.Errorf("%s, a %s: %v", name, how, err)
				continue
			}
			defer v.Close()
			if v.Len() != 1 || v.UIDValidity() == 123 {
				t.Errorf("%s, a %s: UIDVALIDITY %d, %q", name, how, v.UIDValidity(), lines(v))
			}
		}
	}
}

// TestLastUIDValidity has a UIDVALIDITY after which there is none: others' would be below it, and given again.
func TestLastUIDValidity(t *testing.T) {
	dir := newMaildir(t)
	put(t, filepath.Join(dir, maildir.MbsyncUIDFile), "4294967295\n7\n")
	a := openUnwatched(t, dir)
	first := selectBox(t, a, "INBOX", false).UIDValidity()
	create(t, a, "Box")
	if box := selectBox(t, a, "Box", false).UIDValidity(); box <= first {
		t.Errorf("UIDVALIDITY %d after %d", box, first)
	}
}
