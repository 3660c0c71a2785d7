package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// keptMailboxes gives the directories of the mailboxes that are kept, and all notes.
func keptMailboxes(t *testing.T, a *Account) (dirs []string, notes []maildir.KeptNote) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(a.own, maildir.KeptDir, "*-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range all {
		f, err := os.Open(filepath.Join(dir, maildir.KeptMailboxFile))
		if err == nil {
			err = maildir.ReadKeptNotes(f, func(n maildir.KeptNote) { notes = append(notes, n) })
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all, notes
}

// TestKeptMailbox keeps a mailbox that is deleted whole, with what its files do not
// say, and lets it be made anew.
func TestKeptMailbox(t *testing.T) {
	ctx := context.Background()
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	name := "Old.Gr\u00f6\u00dfe"
	create(t, a, name)
	appendMessage(t, a, name, mail1, imap.FlagSeen, "Work")
	appendMessage(t, a, name, mail1, imap.FlagDeleted)
	if err := errors.Join(a.Subscribe(ctx, name, true), a.SetQuota(Limits{Messages: 10})); err != nil {
		t.Fatal(err)
	}
	v := selectBox(t, a, name, false)
	validity := v.UIDValidity()
	deliver(t, filepath.Join(dir, "."+name), "1700000000.late.host", mail1)
	a.SetKeep(time.Hour)
	if err := a.Delete(ctx, name); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Poll(ctx, true, false); !errors.Is(err, ErrNotFound) {
		t.Errorf("a session sees %v", err)
	}
	dirs, notes := keptMailboxes(t, a)
	if len(dirs) != 1 || len(files(t, dirs[0], "cur")) != 2 || len(files(t, dirs[0], "new")) != 1 {
		t.Fatalf("kept: %v", dirs)
	}
	at, until, ok := maildir.ParseKeptName(filepath.Base(dirs[0]))
	if !ok || time.Since(at) > time.Minute || until.Sub(at) != time.Hour {
		t.Errorf("%s: from %v until %v", dirs[0], at, until)
	}
	if len(notes) != 3 || notes[0].Mailbox != name || !notes[0].Subscribed || notes[1].Keywords != "Work" || notes[1].Date == 0 || notes[1].UID != 1 {
		t.Errorf("%+v", notes)
	}
	if _, used, err := a.Quota(); err != nil || used.Messages != 0 {
		t.Errorf("it counts for a quota: %+v, %v", used, err)
	}
	if now, err := maildir.CountAll(dir, a.ops); err != nil || now.Messages != 0 {
		t.Errorf("it is counted: %+v, %v", now, err)
	}
	create(t, a, name)
	if v := selectBox(t, a, name, false); v.Len() != 0 || v.UIDValidity() <= validity {
		t.Errorf("%d messages, UIDVALIDITY %d after %d", v.Len(), v.UIDValidity(), validity)
	}
	a = reopen(t, a)
	if dirs, _ := keptMailboxes(t, a); len(dirs) != 1 {
		t.Error("it is gone after a restart")
	}
}

// TestKeptMailboxUnseen keeps one that nobody has looked into since the start, and
// none that is empty.
func TestKeptMailboxUnseen(t *testing.T) {
	ctx := context.Background()
	a := openUnwatched(t, newMaildir(t))
	create(t, a, "Old", "Empty")
	appendMessage(t, a, "Old", mail1, "Work")
	a = reopen(t, a)
	a.SetKeep(time.Hour)
	if err := errors.Join(a.Delete(ctx, "Old"), a.Delete(ctx, "Empty")); err != nil {
		t.Fatal(err)
	}
	dirs, notes := keptMailboxes(t, a)
	if len(dirs) != 1 || len(notes) != 2 || notes[0].Mailbox != "Old" || notes[0].Subscribed || notes[1].Keywords != "Work" {
		t.Errorf("%v: %+v", dirs, notes)
	}
	// A name that is none of a mailbox's any more has nothing open.
	if mb := a.boxes[".Old"]; mb != nil {
		t.Error("it is still among the mailboxes")
	}
}

// TestKeptMailboxEnds removes what has been kept for long enough, and nothing else.
func TestKeptMailboxEnds(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	a.SetKeep(time.Hour)
	create(t, a, "Old")
	appendMessage(t, a, "Old", mail1)
	if err := a.Delete(context.Background(), "Old"); err != nil {
		t.Fatal(err)
	}
	dirs, _ := keptMailboxes(t, a)
	past := time.Now().Add(-50 * time.Hour)
	ended := filepath.Join(a.own, maildir.KeptDir, maildir.KeptName(past, past.Add(time.Hour), "1.a.host", ""))
	copyTree(t, ended, dirs[0])
	for _, life := range []time.Duration{time.Second, 0} {
		sweep(a, life)
		if now, _ := keptMailboxes(t, a); len(now) != 1 || now[0] != dirs[0] {
			t.Errorf("kept for %v: %v, not %v", life, now, dirs)
		}
	}
}

// TestCrashDeleted cuts the power while a mailbox is deleted that is kept: each of
// its messages is in one place, and what is kept says of which mailbox it is.
func TestCrashDeleted(t *testing.T) {
	t.Parallel()
	faults, disks := crashDeleted(t)
	for _, f := range faults {
		t.Error(f)
	}
	t.Logf("%d disks", disks)
}

// TestCrashDeletedUnsynced cuts the power once it is acknowledged that a mailbox is deleted
// into which somebody has delivered who syncs nothing: what is kept has that too.
func TestCrashDeletedUnsynced(t *testing.T) {
	t.Parallel()
	for _, f := range crashDeletedUnsynced(t) {
		t.Error(f)
	}
}

func crashDeletedUnsynced(t *testing.T) (faults []string) {
	c := recordCrash(t, crashStart{template: crashTemplate(t)}, named("delete-kept-unsynced")...)
	acked := 0
	for _, cut := range c.cuts {
		if cut.acked == 0 {
			continue
		}
		acked++
		for _, m := range crashModels {
			for seed := range m.seeds {
				kept := 0
				for _, f := range c.disk(cut, m, rand.New(rand.NewPCG(uint64(cut.index), uint64(seed)))) {
					if strings.HasPrefix(f.path, maildir.OwnDir+"/"+maildir.KeptDir) && string(f.data) == "Subject: unsynced\n\nbody\n" {
						kept++
					}
				}
				if kept != 2 {
					faults = append(faults, fmt.Sprintf("%v; %s, seed %d: %d of 2 messages are kept", cut, m.name, seed, kept))
				}
			}
		}
	}
	if acked == 0 {
		t.Fatal("the power was never cut after the acknowledgement")
	}
	return faults
}

func crashDeleted(t *testing.T) (faults []string, disks int) {
	c := recordCrash(t, crashStart{template: crashTemplate(t)}, named("delete-kept")...)
	for _, cut := range c.cuts {
		for _, m := range crashModels {
			for seed := range m.seeds {
				disks++
				disk := c.disk(cut, m, rand.New(rand.NewPCG(uint64(cut.index), uint64(seed))))
				if err := checkDeleted(disk, cut.acked > 0); err != nil {
					faults = append(faults, fmt.Sprintf("%v; %s, seed %d: %v", cut, m.name, seed, err))
				}
			}
		}
	}
	return faults, disks
}

// checkDeleted looks at what a disk holds of the mailbox Old.
func checkDeleted(disk []crashFile, acked bool) error {
	there, kept, noted := 0, 0, false
	for _, f := range disk {
		own := strings.HasPrefix(f.path, maildir.OwnDir+"/"+maildir.KeptDir)
		switch {
		case f.dir:
		case own && filepath.Base(f.path) == maildir.KeptMailboxFile:
			var head, message maildir.KeptNote
			maildir.ReadKeptNotes(strings.NewReader(string(f.data)), func(n maildir.KeptNote) { head, message = message, n })
			noted = head.Mailbox == "Old" && message.Keywords == "Kept"
		case filepath.Base(filepath.Dir(f.path)) == "cur" && string(f.data) == "Subject: in Old\n\n" && own:
			kept++
		case filepath.Base(filepath.Dir(f.path)) == "cur" && string(f.data) == "Subject: in Old\n\n":
			there++
		}
	}
	switch {
	case there+kept != 1:
		return fmt.Errorf("the message is there %d times and kept %d times", there, kept)
	case acked && there > 0:
		return errors.New("the mailbox is back")
	case kept > 0 && !noted:
		return errors.New("nothing says of which mailbox it is")
	}
	return nil
}
