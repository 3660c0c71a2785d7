//go:build unsynced

package store

import (
	"math/rand/v2"
	"os"
	"regexp"
	"testing"

	"mailstead/imapserver/maildir"
)

// TestUnsynced leaves out each sync of the source in turn, as if it had been
// forgotten, and holds that the rig finds that; without MAILSTEAD_CRASH, some of
// them. A regular expression there chooses sites.
func TestUnsynced(t *testing.T) {
	sites := make(map[string]string)
	for _, s := range findSyncSites(t) {
		sites[s.name] = s.place
	}
	which := os.Getenv("MAILSTEAD_CRASH")
	only, err := regexp.Compile(which)
	if err != nil || which == "1" {
		only = regexp.MustCompile("")
	}
	starts := &crashStarts{t: t}
	rnd := rand.New(rand.NewPCG(5, 6))
	caught, total := 0, 0
	for _, row := range syncTable {
		if row.unneeded != "" || !only.MatchString(row.site) || which == "" && rnd.IntN(5) > 0 {
			continue
		}
		total++
		if found := row.without(t, starts, sites[row.site]); found != "" {
			caught++
			t.Logf("%s: %.300s", row.site, found)
			continue
		}
		t.Errorf("without %s at %s, nothing is wrong", row.site, sites[row.site])
	}
	t.Logf("caught %d of %d", caught, total)
}

// without runs what is to find a sync missing, and gives what it found first.
func (r syncRow) without(t *testing.T, starts *crashStarts, place string) (found string) {
	t.Helper()
	for _, run := range r.runs {
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
			return faults[0]
		}
	}
	return ""
}
