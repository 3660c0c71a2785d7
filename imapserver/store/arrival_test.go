package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func arrival(t *testing.T, v *View, n SeqNum) Arrival {
	t.Helper()
	a, err := v.Arrival(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestArrival: a message keeps its identifier in every copy, through a change of
// flags, a restart and a new index, and the date at which it came here through
// all but the last.
func TestArrival(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	ctx := context.Background()
	create(t, a, "Box")
	date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	start := time.Now().Truncate(time.Second)
	for range 2 {
		if _, _, err := tryAppend(a, "INBOX", mail1, date); err != nil {
			t.Fatal(err)
		}
	}
	v := selectBox(t, a, "INBOX", false)
	first, second := arrival(t, v, 1), arrival(t, v, 2)
	if first.Saved.Before(start) || first.EmailID == second.EmailID {
		t.Fatalf("%v and %v", first, second)
	}
	err := a.index.update(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "UPDATE message SET saved = 1000", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	first.Saved = time.Unix(1000, 0)
	if err := v.Store(ctx, []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagSeen, "work"}); err != nil {
		t.Fatal(err)
	}
	to := Target{Account: a, Mailbox: "Box", Rights: AllRights}
	if _, err := v.Copy(ctx, []SeqNum{1}, to); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Move(ctx, []SeqNum{2}, to); err != nil {
		t.Fatal(err)
	}
	if got := arrival(t, v, 1); got != first {
		t.Errorf("after a change of flags: %v, before %v", got, first)
	}
	if _, err := v.Arrival(ctx, 2); !errors.Is(err, ErrExpunged) {
		t.Errorf("of a message that is gone: %v", err)
	}
	id := v.MailboxID()
	v.Close()
	a = reopen(t, a)
	v = selectBox(t, a, "INBOX", false)
	if got := arrival(t, v, 1); got != first || v.MailboxID() != id || id == "" {
		t.Errorf("after a restart: %v in %s, before %v in %s", got, v.MailboxID(), first, id)
	}
	w := selectBox(t, a, "Box", false)
	for n, want := range []string{first.EmailID, second.EmailID} {
		if got := arrival(t, w, SeqNum(n+1)); got.EmailID != want || got.Saved.Before(start) {
			t.Errorf("copy %d: %v, want %s", n, got, want)
		}
	}
	to.Account = a
	if _, err := w.Copy(ctx, []SeqNum{1}, to); err != nil { // of a copy
		t.Fatal(err)
	}
	poll(t, w)
	if got := arrival(t, w, 3); got.EmailID != first.EmailID {
		t.Errorf("copy of a copy: %v, want %s", got, first.EmailID)
	}
	v.Close()
	w.Close()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "mailstead", indexFile)); err != nil {
		t.Fatal(err)
	}
	a = openAccount(t, dir)
	if got := arrival(t, selectBox(t, a, "INBOX", false), 1); got.EmailID != first.EmailID {
		t.Errorf("with a new index: %v, before %v", got, first)
	}
}
