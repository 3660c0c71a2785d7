package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestTakeOverUnshared: with Dovecot a mailbox about which nothing is said is its owner's,
// and has nothing of those above it, as with Courier.
func TestTakeOverUnshared(t *testing.T) {
	for _, shared := range []string{".", ".Team"} {
		dir := newMaildir(t)
		for _, name := range []string{".Team", ".Team.Own", ".Private"} {
			if err := maildir.MakeTree(filepath.Join(dir, name), true); err != nil {
				t.Fatal(err)
			}
		}
		writeFile(t, "owner lrwstipekxa\nuser=bob lr\n", dir, shared, maildir.DovecotACLFile)
		a := openAccount(t, dir)
		for _, name := range []string{".", ".Team", ".Team.Own", ".Private"} {
			if r := a.aclOf(name).Rights("bob", false); (r != 0) != (name == shared) {
				t.Errorf("%s is shared: of %s bob has %q", shared, name, r)
			}
			if r := a.aclOf(name).Rights("alice", true); !r.Has(maildir.AllRights &^ maildir.RightPost) {
				t.Errorf("%s is shared: of %s its owner has %q", shared, name, r)
			}
		}
	}
}

// TestTakeOverTooManyRights: those that cannot be taken over leave the mailbox to its owner,
// whatever there is above it.
func TestTakeOverTooManyRights(t *testing.T) {
	dir := newMaildir(t)
	if err := maildir.MakeTree(filepath.Join(dir, ".Team"), true); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "user=bob lr\n", dir, maildir.DovecotACLFile)
	var many strings.Builder
	for n := range maildir.MaxACL / 60 {
		fmt.Fprintf(&many, "user=%050d d\n", n) // which are three rights
	}
	writeFile(t, "user=carol lr\n"+many.String(), dir, ".Team", maildir.DovecotACLFile)
	a := openAccount(t, dir)
	for _, who := range []string{"bob", "carol"} {
		if r := a.aclOf(".Team").Rights(who, false); r != 0 {
			t.Errorf("%s has %q", who, r)
		}
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
