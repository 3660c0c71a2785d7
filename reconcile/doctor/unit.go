package doctor

import (
	"fmt"
	"slices"
	"strings"

	"mailstead/reconcile/kind"
)

// Units says which units have failed, and which timers wait for nothing. origin
// gives the place of the description that asks for a unit.
func Units(all map[string]kind.Health, origin func(unit string) string) []Finding {
	var found []Finding
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		u := all[name]
		switch timer := strings.HasSuffix(name, ".timer"); {
		case u.Active == "failed":
			seen := "it has failed: " + u.Result
			if u.Status != 0 {
				seen += fmt.Sprintf(", status %d", u.Status)
			}
			found = append(found, New(UnitFailed, name, seen).At(origin(name)).
				Do(fmt.Sprintf("Its journal says why: journalctl -u %s. Then start it again: systemctl start %s.", name, name)))
		case timer && (u.Active != "active" || !u.Waits && u.Sub != "running"):
			f := New(TimerDead, name, "it does not wait for any time").At(origin(name))
			f.Mends = []string{kind.UnitRef(name).String()}
			found = append(found, f)
		}
	}
	return found
}
