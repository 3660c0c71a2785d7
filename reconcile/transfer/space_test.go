package transfer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// TestFullDisk fills the file system of the mail half-way. What has been brought is
// there, and with more room the rest comes, nothing twice.
func TestFullDisk(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("set MAILSTEAD_E2E=1 as root")
	}
	here := dialogue.Mailstead(t, dialogue.Setup{})
	if err := unix.Mount("tmpfs", here.Maildir, "tmpfs", 0, "size=4m,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(here.Maildir, unix.MNT_DETACH) })
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := errors.Join(os.Mkdir(filepath.Join(here.Maildir, sub), 0o700), os.Chown(filepath.Join(here.Maildir, sub), here.UID, here.GID)); err != nil {
			t.Fatal(err)
		}
	}
	src := &held{validity: "a"}
	for i := range 300 {
		src.texts = append(src.texts, text(i)+strings.Repeat("twenty thousand octet\r\n", 900))
	}
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&transfer.Transfer{Open: src.Open, Target: target(t, here, ""), Journal: j, Progress: silent{}, Pause: time.Millisecond}).Run(t.Context())
	j.Close()
	if err == nil || !strings.Contains(err.Error(), "space") {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := unix.Mount("", here.Maildir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	before := len(mail(t, here)["INBOX"])
	for _, r := range run(t, src.Open, here, dir, transfer.Options{}) {
		if r.Brought+before != 300 {
			t.Errorf("%d were there, and then %+v", before, r)
		}
	}
	got := map[string]bool{}
	for _, m := range mail(t, here)["INBOX"] {
		got[m] = true
	}
	if len(got) != 300 || before == 0 || before == 300 {
		t.Errorf("%d different messages, %d of them before there was room", len(got), before)
	}
}
