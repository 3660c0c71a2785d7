package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/maildir"
)

// TestOwnFilesDamaged flips every byte of the small files that are ours, and cuts
// them at every length: the account opens, and no message has another UID, with
// the index as without it.
func TestOwnFilesDamaged(t *testing.T) {
	t.Parallel()
	whole := crashTaken(t, "courier-A", ".R&D")
	a, err := Open(context.Background(), Options{Maildir: whole, unwatched: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Create(context.Background(), "Posted", imap.MailboxAttrSent); err != nil {
		t.Fatal(err)
	}
	appendMessage(t, a, "R&D", mail1, "Work")
	appendMessage(t, a, "INBOX", mail1)
	want := observe(t, a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		validityFile, filepath.Join(".R&D", courierUIDNext), filepath.Join(maildir.OwnDir, maildir.SpecialUseFile),
	} {
		good, err := os.ReadFile(filepath.Join(whole, file))
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			for what, data := range map[string][]byte{"flipped": bad, "cut": good[:i]} {
				for _, indexed := range []bool{true, false} {
					if err := ownDamaged(t, whole, file, data, indexed, want); err != nil {
						t.Errorf("%s, byte %d %s, index %v: %v", file, i, what, indexed, err)
					}
				}
			}
		}
	}
}

// ownDamaged opens a copy of an account in which a file is another one.
func ownDamaged(t *testing.T, whole, file string, data []byte, indexed bool, want crashState) error {
	t.Helper()
	dir := filepath.Join(fastDir(t), "Maildir")
	defer os.RemoveAll(dir)
	copyTree(t, dir, whole)
	put(t, filepath.Join(dir, file), string(data))
	if !indexed {
		if err := os.Remove(filepath.Join(dir, maildir.OwnDir, indexFile)); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true})
	if err != nil {
		return err
	}
	defer a.Close()
	got := observe(t, a)
	for name, w := range want.boxes {
		g := got.boxes[name]
		if indexed {
			if diff := cmp.Diff(w.messages, g.messages, cmp.AllowUnexported(crashMessage{})); diff != "" {
				return fmt.Errorf("%s: %s", name, diff)
			}
			continue
		}
		if len(g.messages) != len(w.messages) {
			return fmt.Errorf("%s has %d messages, had %d", name, len(g.messages), len(w.messages))
		}
		for uid, m := range g.messages {
			if old, known := w.messages[uid]; g.validity == w.validity && known && old.body != m.body {
				return fmt.Errorf("%s: uid %d is another message's", name, uid)
			}
		}
	}
	return nil
}
