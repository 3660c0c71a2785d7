package store

import (
	"context"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// What has lost \Deleted meanwhile stays, and so does what is not named; a full
// quota is in nobody's way.
func TestDiscard(t *testing.T) {
	ctx := context.Background()
	dir := newMaildir(t)
	a := openAccount(t, dir)
	if err := a.Create(ctx, "Bin", imap.MailboxAttrTrash); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted, imap.FlagSeen, "Work")
	}
	if err := a.SetQuota(Limits{Messages: 1}); err != nil {
		t.Fatal(err)
	}
	v := selectBox(t, a, "INBOX", false)
	other := selectBox(t, a, "INBOX", false)
	if err := other.Store(ctx, []SeqNum{2}, StoreRemove, []imap.Flag{imap.FlagDeleted}); err != nil {
		t.Fatal(err)
	}
	if err := v.Discard(ctx, imap.UIDSetNum(1, 2, 3)); err != nil {
		t.Fatal(err)
	}
	poll(t, v)
	if v.Len() != 2 || v.UIDAt(1) != 2 || v.UIDAt(2) != 4 {
		t.Errorf("%d messages are left", v.Len())
	}
	bin := selectBox(t, a, "Bin", false)
	if bin.Len() != 2 {
		t.Fatalf("%d messages are in the trash", bin.Len())
	}
	for n := range SeqNum(2) {
		if flags := bin.At(n + 1).Flags; len(flags) != 2 || !slices.Contains(flags, imap.FlagSeen) || !slices.Contains(flags, "Work") {
			t.Errorf("flags are %v", flags)
		}
	}
	// In the trash they go for good.
	if err := bin.Store(ctx, []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
		t.Fatal(err)
	}
	if err := bin.Discard(ctx, nil); err != nil {
		t.Fatal(err)
	}
	counted, err := maildir.CountAll(a.dir, a.ops)
	_, used, qerr := a.Quota()
	if err != nil || qerr != nil || used != counted || used.Messages != 2 {
		t.Errorf("usage %+v, counted %+v: %v, %v", used, counted, err, qerr)
	}
	if _, err := maildir.ListDir(dir + "/.Trash"); err == nil {
		t.Error("another trash was made")
	}
}
