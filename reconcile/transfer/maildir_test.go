package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// makeMaildirs makes a tree of Maildirs with a message in each, whose body says where
// it is.
func makeMaildirs(t *testing.T, boxes ...string) string {
	t.Helper()
	top := t.TempDir()
	for _, box := range boxes {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(top, box, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(top, box, "cur", "1.a:2,FS"), []byte("Subject: x\n\nin "+box+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

// TestLayouts brings in a tree of each kind. No mailbox is left out, also where two have
// the same name.
func TestLayouts(t *testing.T) {
	for name, want := range map[string]map[string]string{
		"Courier, Dovecot":                   {".": "INBOX", ".Work": "Work", ".Work.2026": "Work.2026", ".Entw&APw-rfe": "Entwürfe"},
		"Dovecot with UTF-8":                 {".": "INBOX", ".Größe.R&D": "Größe.R&D"},
		"Dovecot, LAYOUT=fs":                 {".": "INBOX", "Sent": "Sent", "A/B": "A.B"},
		"mbsync, Verbatim":                   {"INBOX": "INBOX", "INBOX/Sub": "Sub", "A/B": "A.B", "A/B/v1.0": "A.B.v1_0", "Entw&APw-rfe": "Entwürfe"},
		"mbsync, Maildir++":                  {"INBOX": "INBOX", "INBOX/.Sub.Deep": "Sub.Deep", "A": "A", "A/.B": "A.B", "A/.B.C": "A.B.C"},
		"mbsync, Legacy":                     {"INBOX": "INBOX", "INBOX/.Sub": "Sub", "A": "A", "A/.B": "A.B", "A/.B/.C": "A.B.C", "A/.B/.v1.0": "A.B.v1_0"},
		"two of one name":                    {".": "INBOX", ".A.B": "A.B", "A/B": "A.B-2", ".INBOX": "INBOX-2"},
		"one called as ours":                 {".": "INBOX", "mailstead": "mailstead", "mailstead/kept": "mailstead.kept"},
		"macOS":                              {".": "INBOX", ".Gro\u0308\u00dfe": "Gr\u00f6\u00dfe", ".Gro\u0308\u00dfe.e\u0301": "Gr\u00f6\u00dfe.\u00e9"},
		"names in two normal forms":          {".": "INBOX", ".\u00e9": "\u00e9-2", ".e\u0301": "\u00e9"},
		"names that differ by their letters": {".": "INBOX", ".work": "work", ".Work": "Work", ".WORK": "WORK"},
	} {
		t.Run(name, func(t *testing.T) {
			here := dialogue.Mailstead(t, dialogue.Setup{})
			top := makeMaildirs(t, slices.Collect(maps.Keys(want))...)
			dir := filepath.Join(t.TempDir(), "journal")
			run(t, (&transfer.Maildir{Dir: top}).Open, here, dir, transfer.Options{})
			wanted, got := map[string]string{}, map[string]string{}
			for at, box := range want {
				wanted[box] = "in " + at
			}
			for box, messages := range mail(t, here) {
				for _, m := range messages {
					if i := strings.Index(m, "in "); i >= 0 && strings.Contains(m, "[\\Flagged \\Seen]") {
						got[box] += strings.TrimSuffix(m[i:], `\r\n"`)
					}
				}
			}
			if diff := cmp.Diff(wanted, got); diff != "" {
				t.Error(diff)
			}
			for _, r := range run(t, (&transfer.Maildir{Dir: top}).Open, here, dir, transfer.Options{}) {
				if r.Brought != 0 {
					t.Errorf("brought again: %+v", r)
				}
			}
		})
	}
}

// TestBackup brings what a backup has of a Maildir that was served here: it may lack directories
// that were empty, and messages that were expunged do not come back.
func TestBackup(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	top := makeMaildirs(t, ".", ".Read", ".Unread", "Tree/mailstead", "mailstead/kept", "mailstead/kept/1.Gone", "mailstead/deleted/.Old")
	for _, empty := range []string{".Read/new", ".Read/tmp", ".Unread/tmp", "tmp"} {
		if err := os.Remove(filepath.Join(top, empty)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(top, ".Unread", "cur", "1.a:2,FS"), filepath.Join(top, ".Unread", "new", "1.a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(top, ".Unread", "cur")); err != nil {
		t.Fatal(err)
	}
	run(t, (&transfer.Maildir{Dir: top}).Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
	got := map[string]int{}
	for box, messages := range mail(t, here) {
		if len(messages) > 0 {
			got[box] = len(messages)
		}
	}
	if diff := cmp.Diff(map[string]int{"INBOX": 1, "Read": 1, "Unread": 1, "Tree.mailstead": 1}, got); diff != "" {
		t.Error(diff)
	}
}

// TestLinks names the mailboxes that are links, or whose messages are behind one.
func TestLinks(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	top, other := makeMaildirs(t, ".", ".Half"), makeMaildirs(t, ".Elsewhere")
	half := filepath.Join(top, ".Half", "cur")
	if err := errors.Join(os.RemoveAll(half), os.Remove(filepath.Join(top, ".Half", "new")), os.Symlink(filepath.Join(other, ".Elsewhere", "cur"), half),
		os.Symlink(filepath.Join(other, ".Elsewhere"), filepath.Join(top, ".Linked")),
		os.Symlink("cur/1.a:2,FS", filepath.Join(top, "no-directory")), os.Symlink("nowhere", filepath.Join(top, ".nowhere"))); err != nil {
		t.Fatal(err)
	}
	faults := map[string]string{}
	for _, r := range try(t, (&transfer.Maildir{Dir: top}).Open, here) {
		faults[r.Mailbox] = r.Error
	}
	if len(faults) != 3 || faults["INBOX"] != "" || !strings.Contains(faults["Half"], "not a directory") || !strings.Contains(faults["Linked"], "it is a link") {
		t.Errorf("%q", faults)
	}
}

// moving has messages get other names while they are read.
type moving struct {
	*transfer.Maildir
	mu   sync.Mutex
	move func()
}

func (m *moving) moves() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.move()
}

func (m *moving) Open(context.Context) (transfer.Source, error) { return m, nil }

func (m *moving) Fetch(ctx context.Context, box transfer.Mailbox, messages []transfer.Entry, take func(transfer.Entry, io.Reader) error) error {
	m.moves()
	return m.Maildir.Fetch(ctx, box, messages, func(e transfer.Entry, r io.Reader) error {
		m.moves()
		return take(e, r)
	})
}

// TestMarkedMeanwhile has all messages marked as read between the look at them and the
// reading, and once more in the middle of it: none is left.
func TestMarkedMeanwhile(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	top := makeMaildirs(t, ".")
	const messages = 2000
	for i := range messages - 1 {
		write(t, filepath.Join(top, "new", fmt.Sprint(i+2, ".a")), text(i))
	}
	moved, ends := 0, ":2,S"
	src := &moving{Maildir: &transfer.Maildir{Dir: top}}
	src.move = func() {
		if moved == 0 || moved == 700 {
			list, err := filepath.Glob(filepath.Join(top, "[cn]*", "*.a*"))
			if err != nil || len(list) != messages {
				t.Error(len(list), err)
			}
			for _, was := range list {
				base, _, _ := strings.Cut(filepath.Base(was), ":")
				if err := os.Rename(was, filepath.Join(top, "cur", base+ends)); err != nil {
					t.Error(err)
				}
			}
			ends = ":2,RS"
		}
		moved++
	}
	if r := try(t, src.Open, here)[0]; r.Brought != messages || r.Error != "" || len(r.Left) > 0 {
		t.Errorf("%+v", r)
	}
	if got := len(mail(t, here)["INBOX"]); got != messages {
		t.Errorf("%d messages", got)
	}
}

// TestManyMarked reads messages that all have got other names without a look at all of the
// directory for each.
func TestManyMarked(t *testing.T) {
	top := makeMaildirs(t, ".")
	const messages = 1000
	for i := range messages - 1 {
		write(t, filepath.Join(top, "cur", fmt.Sprint(i+2, ".a:2,FS")), text(i))
	}
	src := &transfer.Maildir{Dir: top}
	boxes, err := src.Mailboxes(t.Context())
	if err != nil || len(boxes) != 1 {
		t.Fatal(boxes, err)
	}
	var all []transfer.Entry
	if err := src.List(t.Context(), boxes[0], func(e transfer.Entry) { all = append(all, e) }); err != nil || len(all) != messages {
		t.Fatal(len(all), err)
	}
	was, is := "FS", "S"
	made := testing.AllocsPerRun(1, func() {
		for i := range messages {
			at := filepath.Join(top, "cur", fmt.Sprint(i+1, ".a:2,"))
			if err := os.Rename(at+was, at+is); err != nil {
				t.Fatal(err)
			}
		}
		was, is = is, was
		read := 0
		if err := src.Fetch(t.Context(), boxes[0], all, func(transfer.Entry, io.Reader) error { read++; return nil }); err != nil || read != messages {
			t.Errorf("%d read: %v", read, err)
		}
	})
	if made > 100*messages {
		t.Errorf("%.0f allocations for %d messages", made, messages)
	}
}
