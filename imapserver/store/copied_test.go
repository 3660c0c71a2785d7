package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// TestIndexFromBackup puts back the index of a backup: no UID and no UIDVALIDITY that was given out since is
// another message's or mailbox's, what was known stays, and clients are told everything. So it is with a whole
// Maildir that is put back, and all that it costs one that has moved is once a gap.
func TestIndexFromBackup(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	if file, err := identify(a.index.path); err != nil || file.born == (unix.StatxTimestamp{}) {
		t.Skipf("this file system does not say when a file was made: %v", err)
	}
	appendMessage(t, a, "INBOX", mail1, "$Label")
	a = reopen(t, a)
	if uid := appendMessage(t, a, "INBOX", mail1); uid != 2 {
		t.Errorf("UID %d of an index that is where it was", uid)
	}
	own, backup, old := filepath.Join(dir, "mailstead"), filepath.Join(t.TempDir(), "own"), filepath.Join(t.TempDir(), "Maildir")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	copyTree(t, backup, own)
	copyTree(t, old, dir)

	a = openUnwatched(t, dir)
	a.validity.last += 50 // mailboxes that were made in one second
	create(t, a, "Short-lived")
	short := selectBox(t, a, "Short-lived", false).UIDValidity()
	appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted)
	appendMessage(t, a, "INBOX", "Subject: B\r\n\r\n")
	v := selectBox(t, a, "INBOX", false)
	if err := v.Expunge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	poll(t, v)
	validity, highest := v.UIDValidity(), v.HighestModSeq()
	v.Close()
	if err := a.Delete(context.Background(), "Short-lived"); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	copyTree(t, own, backup)

	for _, dir := range []string{dir, old} {
		a = openUnwatched(t, dir)
		st, err := a.Status(context.Background(), "INBOX", false)
		if err != nil || st.UIDNext < copyStep || st.HighestModSeq <= highest {
			t.Errorf("STATUS %+v, %v; HIGHESTMODSEQ was %d", st, err, highest)
		}
		v = selectBox(t, a, "INBOX", false)
		if got := lines(v)[:2]; v.UIDValidity() != validity || !slices.Equal(got, []string{"1 $Label", "2"}) {
			t.Errorf("UIDVALIDITY %d, was %d; %q", v.UIDValidity(), validity, got)
		}
		if dir != old && v.At(3).UID < copyStep {
			t.Errorf("a message that has come since has UID %d", v.At(3).UID)
		}
		if since := v.Since(highest); since != 0 {
			t.Errorf("a client is told what has changed since %d", since)
		}
		if uid := appendMessage(t, a, "INBOX", mail1); uid < copyStep {
			t.Errorf("UID %d", uid)
		}
		v.Close()
		a = reopen(t, a)
		v = selectBox(t, a, "INBOX", false)
		create(t, a, "New")
		if got := selectBox(t, a, "New", false).UIDValidity(); got <= short && dir != old {
			t.Errorf("UIDVALIDITY %d, and one that is gone had %d", got, short)
		}
		next := v.UIDNext()
		v.Close()
		a = reopen(t, a)
		if v = selectBox(t, a, "INBOX", false); v.UIDNext() > next+1 {
			t.Errorf("UIDNEXT %d, was %d: raised twice", v.UIDNext(), next)
		}
	}
	if got := files(t, dir, "cur"); len(got) != 4 {
		t.Errorf("%d messages", len(got))
	}
}

// TestIndexFromBackupTwice gives no UID twice, though the same backup is put back twice.
func TestIndexFromBackupTwice(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	if file, err := identify(a.index.path); err != nil || file.born == (unix.StatxTimestamp{}) {
		t.Skipf("this file system does not say when a file was made: %v", err)
	}
	appendMessage(t, a, "INBOX", mail1)
	own, backup := filepath.Join(dir, "mailstead"), filepath.Join(t.TempDir(), "own")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	copyTree(t, backup, own)
	var uids []imap.UID
	for range 2 {
		if err := os.RemoveAll(own); err != nil {
			t.Fatal(err)
		}
		copyTree(t, own, backup)
		time.Sleep(100 * time.Millisecond) // it is more than that, but where it is a test
		a = openUnwatched(t, dir)
		uids = append(uids, appendMessage(t, a, "INBOX", mail1))
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if uids[1] < uids[0]+20 {
		t.Errorf("UIDs %d", uids)
	}
}

// TestNoRoomBesideLists: a mailbox that is taken over while there is no room for its rows
// goes on where it would have, with the UIDVALIDITY that it had, however often it is tried.
func TestNoRoomBesideLists(t *testing.T) {
	const n = 6000
	for _, own := range []string{"", "1700000000 9001\n"} { // a mark of an index that is lost
		dir := newMaildir(t)
		var list strings.Builder
		fmt.Fprintf(&list, "3 V1700000000 N%d G0123456789abcdef0123456789abcdef\n", n+1)
		for i := range n {
			base := fmt.Sprintf("%d.M%dP1_1.host", 1700000000+i, i)
			put(t, filepath.Join(dir, "cur", base+":2,"), mail1)
			fmt.Fprintf(&list, "%d :%s\n", i+1, base)
		}
		put(t, filepath.Join(dir, "dovecot-uidlist"), list.String())
		if own != "" {
			put(t, filepath.Join(dir, courierUIDNext), own)
		}
		full := true
		watchSQLite(t, &sqliteWatch{root: filepath.Join(dir, maildir.OwnDir), before: func(op sqliteOp) error {
			if full && op.call == "write" && op.offset+int64(len(op.data)) > 300<<10 {
				return unix.ENOSPC
			}
			return nil
		}})
		a := openUnwatched(t, dir)
		for range 5 {
			if _, err := a.Select(t.Context(), "INBOX", true); !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
			if mark, err := os.ReadFile(filepath.Join(dir, courierUIDNext)); ignoreNotExist(err) != nil || string(mark) != own {
				t.Fatalf("%q, %v", mark, err)
			}
		}
		full = false
		v := selectBox(t, a, "INBOX", false)
		if v.UIDValidity() != 1700000000 || v.At(n).UID != n {
			t.Errorf("UIDVALIDITY %d, last UID %d", v.UIDValidity(), v.At(n).UID)
		}
		v.Close()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestValidityAheadIsKept: UIDVALIDITYs above the clock are not forgotten once the index that
// is lost has been made anew.
func TestValidityAheadIsKept(t *testing.T) {
	const ahead = 2_100_000_000
	dir := newMaildir(t)
	put(t, filepath.Join(dir, "dovecot-uidlist"), "3 V1700000000 N8 G0123456789abcdef0123456789abcdef\n")
	put(t, filepath.Join(dir, validityFile), fmt.Sprintf("%d\n", ahead))
	a := openUnwatched(t, dir)
	selectBox(t, a, "INBOX", true).Close()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = openUnwatched(t, dir)
	if err := a.Create(t.Context(), "New"); err != nil {
		t.Fatal(err)
	}
	if v := selectBox(t, a, "New", true); v.UIDValidity() <= ahead {
		t.Errorf("UIDVALIDITY %d", v.UIDValidity())
	}
}

// TestMarksFromBackup raises what is noted of mailboxes that are gone.
func TestMarksFromBackup(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	var mark imap.UID
	err := a.index.update(func(conn *sqlite.Conn) error {
		return errors.Join(sqlitex.Execute(conn, "INSERT INTO taken VALUES (1700000000, 1009)", nil), raiseMailboxes(conn))
	})
	if err == nil {
		err = a.index.view(func(conn *sqlite.Conn) (err error) { mark, err = takenMark(conn, 1700000000); return err })
	}
	if err != nil || mark < copyStep {
		t.Errorf("%d, %v", mark, err)
	}
}

// TestIndexLostBesideLists goes on far above the mark that is beside the lists of another
// server, where no index says whether it is a backup's.
func TestIndexLostBesideLists(t *testing.T) {
	dir := newMaildir(t)
	put(t, filepath.Join(dir, "cur", "1700000001.one:2,S"), mail1)
	put(t, filepath.Join(dir, "dovecot-uidlist"), "3 V1700000000 N8 G0123456789abcdef0123456789abcdef\n7 :1700000001.one\n")
	a := openUnwatched(t, dir)
	if uid := appendMessage(t, a, "INBOX", mail1); uid != 8 {
		t.Errorf("UID %d after Dovecot", uid)
	}
	if err := errors.Join(a.Close(), os.RemoveAll(filepath.Join(dir, maildir.OwnDir))); err != nil {
		t.Fatal(err)
	}
	a = openUnwatched(t, dir)
	v := selectBox(t, a, "INBOX", false)
	if v.UIDValidity() != 1700000000 || v.At(1).UID != 7 {
		t.Errorf("UIDVALIDITY %d, UID %d", v.UIDValidity(), v.At(1).UID)
	}
	if uid := appendMessage(t, a, "INBOX", mail1); uid < copyStep {
		t.Errorf("UID %d", uid)
	}
	v.Close()
	if err := errors.Join(a.Close(), os.RemoveAll(filepath.Join(dir, maildir.OwnDir))); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, courierUIDNext), "1700000000 4293000000\n") // behind which there is no room
	if v := selectBox(t, openUnwatched(t, dir), "INBOX", false); v.UIDValidity() == 1700000000 {
		t.Errorf("it goes on with %d", v.UIDNext())
	}
}
