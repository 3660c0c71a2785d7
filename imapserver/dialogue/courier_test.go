package dialogue_test

import (
	"os"
	"path/filepath"
	"testing"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/maildir"
)

// TestStartCourier holds that the lab's Courier serves its users.
func TestStartCourier(t *testing.T) {
	dialogue.LabDir(t)
	home := t.TempDir()
	dir := filepath.Join(home, "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	dialogue.StartCourier(t, dialogue.CourierUser{
		Name: "demo", Password: "secret", Home: home, UID: os.Getuid(), GID: os.Getgid(),
	})
}
