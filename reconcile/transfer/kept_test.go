package transfer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

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
