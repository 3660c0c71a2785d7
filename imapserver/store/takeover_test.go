package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailstead/imapserver/maildir"
)

func content(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestTakeOverDovecot: rights and subscriptions are there in Courier's form from
// the start.
func TestTakeOverDovecot(t *testing.T) {
	dir := filepath.Join(untar(t, "dovecot-A.tar.gz"), "Maildir")
	a := openAccount(t, dir)
	want := "owner aceilrstwx\ngroup=staff lrs\nuser=bob ilrstw\n-user=carol sw\nadministrators aceilrstwx\n"
	if got := content(t, dir, ".Projects.Alpha", maildir.ACLFile); got != want {
		t.Errorf("rights are %q", got)
	}
	want = "INBOX\nINBOX.Sent\nINBOX.Trash\nINBOX.Projects.Alpha\nINBOX.Projects.Alpha.Sub\nINBOX.Entw&APw-rfe 2024\nINBOX.&ZeVnLIqe-\n"
	if got := content(t, dir, maildir.SubscriptionsFile); got != want {
		t.Errorf("subscriptions are %q", got)
	}
	// Later, Dovecot's files mean nothing.
	if err := os.Remove(filepath.Join(dir, ".Projects.Alpha", maildir.ACLFile)); err != nil {
		t.Fatal(err)
	}
	reopen(t, a)
	if _, err := os.Stat(filepath.Join(dir, ".Projects.Alpha", maildir.ACLFile)); err == nil {
		t.Error("rights are taken over twice")
	}
}

// TestTakeOverSubscriptions: of Courier's and Dovecot's, the newer ones count.
func TestTakeOverSubscriptions(t *testing.T) {
	for name, age := range map[string]time.Duration{"Courier": time.Hour, "Dovecot": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			dir := newMaildir(t)
			writeFile(t, "INBOX.Courier\n", dir, maildir.SubscriptionsFile)
			writeFile(t, "Dovecot\n", dir, maildir.DovecotSubscriptionsFile)
			then := time.Now().Add(-age)
			if err := os.Chtimes(filepath.Join(dir, maildir.DovecotSubscriptionsFile), then, then); err != nil {
				t.Fatal(err)
			}
			subs, err := openAccount(t, dir).subscriptions()
			if got := subs.Names(); err != nil || !slices.Equal(got, []string{name}) {
				t.Errorf("subscribed to %q, %v", got, err)
			}
		})
	}
}
