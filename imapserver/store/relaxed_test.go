package store

import (
	"fmt"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestRelaxed cuts the power where less is promised: what was appended or copied
// is there all the same, and no UID is given twice.
func TestRelaxed(t *testing.T) {
	t.Parallel()
	template := crashTemplate(t)
	count := crashCount{}
	all := []string{"append", "append-keyword", "store", "store-both", "expunge", "copy", "move", "copy-anew", "move-anew"}
	for i, first := range all {
		if testing.Short() && i%3 > 0 {
			continue
		}
		for _, second := range append([]string{""}, all[:7]...) {
			names := []string{first, second}
			if second == "" {
				names = names[:1]
			} else if testing.Short() || first != "append" && second != "append" {
				continue
			}
			for _, f := range recordCrash(t, crashStart{template: template, ours: true, relaxed: true}, named(names...)...).check(t, len(names)-1, &count) {
				t.Error(f)
			}
		}
	}
	t.Logf("%d states, %d different disks", count.states, count.disks)
}

// compareRelaxed holds a recovered state to what is promised of messages and UIDs
// alone. given is which message each UID of a mailbox has ever been given to.
func compareRelaxed(got, before, after crashState, given map[string]map[imap.UID]string) error {
	for name, b := range before.boxes {
		g, there := got.boxes[name]
		if !there {
			return fmt.Errorf("mailbox %s is lost", name)
		}
		if g.validity != b.validity || g.next < b.next || g.modseq < b.modseq {
			return fmt.Errorf("mailbox %s: uidvalidity %d, uidnext %d, highestmodseq %d; were %d, %d, %d",
				name, g.validity, g.next, g.modseq, b.validity, b.next, b.modseq)
		}
		for uid := range b.messages {
			_, there := g.messages[uid]
			if _, stays := after.boxes[name].messages[uid]; stays && !there {
				return fmt.Errorf("mailbox %s: message %d is lost", name, uid)
			}
		}
		for uid, m := range g.messages {
			if was, old := given[name][uid]; !old && uid < b.next || old && was != m.body {
				return fmt.Errorf("mailbox %s: uid %d is %q, was %q", name, uid, m.body, was)
			}
		}
	}
	return lostMessages(got, before, after)
}
