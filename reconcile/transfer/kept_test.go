package transfer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/maildir"
	"mailstead/reconcile/transfer"
)

// TestKept brings back what was expunged since a moment, to where it was.
func TestKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), maildir.KeptDir)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	until := now.Add(time.Hour)
	notes := map[string][]byte{}
	for n, m := range []struct {
		ago             time.Duration
		mailbox, suffix string
	}{
		{time.Minute, "Box", ":2,FST"}, {3 * time.Hour, "Box", ":2,"}, {time.Minute, "", ":2,S"}, {time.Minute, "INBOX", ""},
	} {
		name := maildir.KeptName(now.Add(-m.ago), until, fmt.Sprint(n, ".unique"), m.suffix)
		path := filepath.Join(dir, "cur", name)
		if err := os.WriteFile(path, []byte(text(n)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		if m.mailbox == "" {
			continue // its note was lost
		}
		line, err := maildir.KeptNote{Name: name, Mailbox: m.mailbox, Date: when.Unix() + 60, Keywords: "Later"}.Line()
		if err != nil {
			t.Fatal(err)
		}
		file := maildir.KeptNotesFile(until)
		notes[file] = append(notes[file], line...)
	}
	for file, lines := range notes {
		if err := os.WriteFile(filepath.Join(dir, file), append([]byte("{\"name\": tor\n"), lines...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cur", "somebody's"), []byte(text(9)), 0o600); err != nil {
		t.Fatal(err)
	}
	here := dialogue.Mailstead(t, dialogue.Setup{})
	run(t, (&transfer.Kept{Dir: dir, Since: now.Add(-2 * time.Hour)}).Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
	line := func(date, flags string, n int) []string {
		return []string{fmt.Sprintf("%s [%s] %q", date, flags, text(n))}
	}
	want := map[string][]string{
		"Box":       line("2019-03-31 02:00:59", "Later \\Flagged \\Seen", 0),
		"Recovered": line("2019-03-31 01:59:59", "\\Seen", 2),
		"INBOX":     line("2019-03-31 02:00:59", "Later", 3),
	}
	if diff := cmp.Diff(want, mail(t, here)); diff != "" {
		t.Error(diff)
	}
}

// TestKeptMailboxes makes mailboxes anew that were deleted, under their own names, and
// brings what was brought once no second time, wherever it went.
func TestKeptMailboxes(t *testing.T) {
	kept := filepath.Join(t.TempDir(), maildir.KeptDir)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(kept, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for n, m := range []struct {
		ago        time.Duration
		mailbox    string
		subscribed bool
	}{
		{2 * time.Minute, "50% off", true}, {time.Minute, "Old", false}, {3 * time.Hour, "Older", true}, {time.Minute, "", false},
	} {
		dir := filepath.Join(kept, maildir.KeptName(now.Add(-m.ago), now.Add(time.Hour), fmt.Sprint(n, ".unique"), ""))
		if err := maildir.MakeTree(dir, true); err != nil {
			t.Fatal(err)
		}
		var notes []byte
		for i, name := range []string{"cur/9.first:2,FT", "cur/1.second:2,S", "new/5.late"} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text(10*n+i)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
		for _, note := range []maildir.KeptNote{
			{Mailbox: m.mailbox, Subscribed: m.subscribed},
			{Name: "9.first", UID: 7, Date: when.Unix() + 60, Keywords: "Later"},
			{Name: "1.second", UID: 8, Date: when.Unix()},
		} {
			line, err := note.Line()
			if err != nil {
				t.Fatal(err)
			}
			notes = append(notes, line...)
		}
		if m.mailbox == "" {
			notes = nil // lost
		}
		if err := os.WriteFile(filepath.Join(dir, maildir.KeptMailboxFile), notes, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here := dialogue.Mailstead(t, dialogue.Setup{})
	journal := filepath.Join(t.TempDir(), "journal")
	open := (&transfer.Kept{Dir: kept, Since: now.Add(-2 * time.Hour)}).Open
	run(t, open, here, journal, transfer.Options{Include: []string{"Old"}, Into: "Aside"})
	run(t, open, here, journal, transfer.Options{})
	first := func(date, flags string, n int) string { return fmt.Sprintf("%s [%s] %q", date, flags, text(n)) }
	box := func(n int) []string {
		return slices.Sorted(slices.Values([]string{
			first("2019-03-31 01:59:59", "", n+2),
			first("2019-03-31 02:00:59", "Later \\Flagged", n),
			first("2019-03-31 01:59:59", "\\Seen", n+1),
		}))
	}
	want := map[string][]string{
		"INBOX":     {},
		"50% off":   box(0),
		"Aside.Old": box(10),
		"Recovered": slices.Sorted(slices.Values([]string{
			first("2019-03-31 01:59:59", "\\Seen", 31), first("2019-03-31 01:59:59", "", 32), first("2019-03-31 01:59:59", "\\Flagged", 30),
		})),
	}
	if diff := cmp.Diff(want, mail(t, here)); diff != "" {
		t.Error(diff)
	}
	c := client(t, here)
	defer c.Close()
	subscribed, err := c.List("", "*", &imap.ListOptions{SelectSubscribed: true}).Collect()
	if err != nil || len(subscribed) != 2 || subscribed[0].Mailbox != "50% off" || subscribed[1].Mailbox != "Recovered" {
		t.Errorf("subscribed: %+v, %v", subscribed, err)
	}
	if _, err := c.Select("Aside.Old", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	// In the order that they had.
	dates, err := c.Fetch(imap.SeqSetNum(1, 2), &imap.FetchOptions{Flags: true}).Collect()
	if err != nil || len(dates) != 2 || !slices.Contains(dates[0].Flags, "Later") || !slices.Contains(dates[1].Flags, imap.FlagSeen) {
		t.Errorf("%+v, %v", dates, err)
	}
}
