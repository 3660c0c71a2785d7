package transfer_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// TestDryRun says what the run does then, and does none of it: what is here in no note, what is
// empty, whatever size the source says, and where messages went before.
func TestDryRun(t *testing.T) {
	here, dir := dialogue.Mailstead(t, dialogue.Setup{}), filepath.Join(t.TempDir(), "journal")
	h := &held{validity: "1", texts: append(texts(5), "")}
	h.change = func(_ string, e *transfer.Entry) {
		if e.ID == "1-0" {
			e.Size = 0
		}
	}
	once := func(dir, into string, dry bool) transfer.Report {
		t.Helper()
		j, err := openJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		to := target(t, here, "")
		defer to.Close()
		o := transfer.Options{Into: into, DryRun: dry}
		reports, err := (&transfer.Transfer{Open: h.Open, Target: to, Journal: j, Options: o, Progress: silent{}, Pause: time.Millisecond}).Run(t.Context())
		if err != nil || len(reports) != 1 || reports[0].Error != "" {
			t.Fatalf("%+v, %v", reports, err)
		}
		return reports[0]
	}
	both := func(dir string, brought, before, found int) {
		t.Helper()
		for _, dry := range []bool{true, false} {
			r := once(dir, "Old", dry)
			if r.Brought != brought || r.Before != before || r.Here != found || len(r.Left) != 1 || r.Left[0] != (transfer.Refused{ID: "1-5", Reason: "it is empty"}) {
				t.Errorf("%v: %+v", dry, r)
			}
			if files, err := os.ReadDir(dir); dry && before == found && (err != nil || len(files) > 0) {
				t.Errorf("it has written %v, %v", files, err)
			}
		}
	}
	both(dir, 5, 0, 0)
	both(dir, 0, 5, 0)
	both(filepath.Join(t.TempDir(), "journal"), 0, 5, 5)
	h.texts = append(h.texts, text(6))
	both(dir, 1, 5, 0)
	if got := slices.Compact(mail(t, here)["Old"]); len(got) != 6 {
		t.Errorf("%q", got)
	}
}
