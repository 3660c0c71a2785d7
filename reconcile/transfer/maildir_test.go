package transfer_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
