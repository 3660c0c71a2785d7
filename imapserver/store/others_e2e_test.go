package store_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/maildir"
	"mailstead/imapserver/store"
)

// inLab runs a program of the lab's Debian, with dir as /mnt. The mount ends
// with the program.
func inLab(t *testing.T, dir string, command ...string) {
	t.Helper()
	root := filepath.Join(dialogue.LabDir(t), "root")
	script := `mount --bind "$1" "$2/mnt"; mount -t proc proc "$2/proc"; mount --rbind /dev "$2/dev"; root=$2; shift 2; exec chroot "$root" env -i HOME=/mnt TERM=xterm COLUMNS=80 LINES=24 PATH=/usr/bin:/bin "$@"`
	args := append([]string{"--mount", "sh", "-ec", script, "sh", dir, root}, command...)
	if out, err := exec.Command("unshare", args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command[0], err, out)
	}
}

// uids gives the messages of INBOX by their subjects.
func uids(t *testing.T, v *store.View) map[string]imap.UID {
	t.Helper()
	all := make(map[string]imap.UID)
	for n := store.SeqNum(1); int(n) <= v.Len(); n++ {
		data, err := v.Read(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		subject, _, _ := strings.Cut(string(data), "\r\n")
		all[subject] = v.UIDAt(n)
	}
	return all
}

// TestRealMbsync syncs an open mailbox with another one: mbsync puts its UIDs
// into every name, and nothing has happened for clients.
func TestRealMbsync(t *testing.T) {
	dialogue.LabDir(t)
	home := t.TempDir()
	dir, far := filepath.Join(home, "Maildir"), filepath.Join(home, "far", "INBOX")
	if err := os.Mkdir(filepath.Join(home, "far"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, far} {
		if err := maildir.MakeTree(d, false); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		name := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1.host,S=14:2,S", 1700000000+i, i))
		if err := os.WriteFile(name, fmt.Appendf(nil, "Subject: %d\n\nx\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rc := "MaildirStore near\nPath /mnt/near/\nInbox /mnt/Maildir\nSubFolders Maildir++\n\nMaildirStore far\nPath /mnt/far/\nInbox /mnt/far/INBOX\nSubFolders Verbatim\n\n" +
		"Channel c\nFar :far:\nNear :near:\nCreate Both\nExpunge None\nSyncState /mnt/state/\n"
	rc = strings.Replace(rc, "Path /mnt/near/\n", "", 1)
	if err := os.WriteFile(filepath.Join(home, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(home, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, err := store.Open(t.Context(), store.Options{Maildir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	v, err := a.Select(t.Context(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	before, validity := uids(t, v), v.UIDValidity()
	inLab(t, home, "mbsync", "-c", "/mnt/rc", "c")
	updates, err := v.Poll(t.Context(), true, true)
	if err != nil || len(updates) > 0 {
		t.Errorf("told of %+v, %v", updates, err)
	}
	if diff := cmp.Diff(before, uids(t, v)); diff != "" {
		t.Error(diff)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "cur", "*,U=*")); err != nil || len(names) != len(before) {
		t.Errorf("mbsync has numbered %d messages, %v", len(names), err)
	}
	if again, err := a.Status(t.Context(), "INBOX", false); err != nil || again.UIDValidity != validity {
		t.Errorf("%+v, %v; uidvalidity was %d", again, err, validity)
	}
}

// TestRealMutt has mutt flag and delete messages of an open mailbox.
func TestRealMutt(t *testing.T) {
	dialogue.LabDir(t)
	home := t.TempDir()
	dir := filepath.Join(home, "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		name := filepath.Join(dir, "new", fmt.Sprintf("%d.M%dP1.host", 1700000000+i, i))
		if err := os.WriteFile(name, fmt.Appendf(nil, "Subject: %d\nFrom: a@example.test\nDate: Fri, 1 Mar 2024 00:00:0%d +0000\n\nx\n", i, i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rc := "set quit=yes\nset folder=/mnt/Maildir\nset confirmappend=no\nset delete=yes\nset sleep_time=0\nset wait_key=no\nset mbox_type=Maildir\nset mark_old=no\nset sort=date\n"
	if err := os.WriteFile(filepath.Join(home, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := store.Open(t.Context(), store.Options{Maildir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	v, err := a.Select(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	before, validity := uids(t, v), v.UIDValidity()
	inLab(t, home, "timeout", "20", "script", "-qec",
		`mutt -F /mnt/rc -n -f /mnt/Maildir -e 'push "<first-entry><flag-message><first-entry><next-undeleted><delete-message><sync-mailbox><quit>"'`, "/dev/null")
	for range 2 {
		if _, err := v.Poll(t.Context(), true, true); err != nil {
			t.Fatal(err)
		}
	}
	after := uids(t, v)
	if len(after) != 4 || v.UIDValidity() != validity {
		t.Errorf("%d messages are left, uidvalidity %d, was %d", len(after), v.UIDValidity(), validity)
	}
	for subject, uid := range after {
		if before[subject] != uid {
			t.Errorf("%s has the uid %d, had %d", subject, uid, before[subject])
		}
	}
	flagged := 0
	for n := store.SeqNum(1); int(n) <= v.Len(); n++ {
		for _, f := range v.At(n).Flags {
			if f == imap.FlagFlagged {
				flagged++
			}
		}
	}
	if flagged != 1 {
		t.Errorf("%d messages are flagged", flagged)
	}
}
