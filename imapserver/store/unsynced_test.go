//go:build unsynced

package store

import (
	"os"
	"regexp"
	"testing"

	"mailstead/imapserver/maildir"
)

// TestUnsynced leaves out each sync of the source in turn, as if it had been
// forgotten, and holds that a rig finds that: it prints the sync, the run that failed,
// and what was wrong then. A regular expression in MAILSTEAD_CRASH chooses some.
func TestUnsynced(t *testing.T) {
	sites := make(map[string]string)
	for _, s := range findSyncSites(t) {
		sites[s.name] = s.place
	}
	only, err := regexp.Compile(os.Getenv("MAILSTEAD_CRASH"))
	if err != nil {
		t.Fatal(err)
	}
	starts := &crashStarts{t: t}
	caught, total := 0, 0
	for _, row := range syncTable {
		if !only.MatchString(row.site) {
			continue
		}
		total++
		if run, found := row.without(t, starts, sites[row.site]); found != "" {
			caught++
			t.Logf("%s, at %s\n\t%v: %.300s", row.site, sites[row.site], run, found)
			continue
		}
		t.Errorf("without %s at %s, nothing is wrong", row.site, sites[row.site])
	}
	t.Logf("caught %d of %d", caught, total)
}

// without runs what is to find a sync missing, and gives the run that has, with what
// it found first.
func (r syncRow) without(t *testing.T, starts *crashStarts, place string) (run crashRunOf, found string) {
	t.Helper()
	for _, run = range r.runs {
		starts.get(run.start) // with all syncs
		maildir.LeaveOut("")
		maildir.LeaveOut(place)
		var faults []string
		if run.start == "own" {
			faults = crashOwn[run.commands](t)
		} else {
			faults = starts.run(run, &crashCount{first: true})
		}
		if maildir.LeaveOut("") == 0 {
			t.Errorf("%s: the run %v makes no sync at %s", r.site, run, place)
		}
		if len(faults) > 0 {
			return run, faults[0]
		}
	}
	return run, ""
}
