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
		if len(u.Added) > 0 {
			found = append(found, New(UnitOverridden, name, "it has "+strings.Join(u.Added, ", ")).At(origin(name)))
		}
		switch timer := strings.HasSuffix(name, ".timer"); {
		case u.Active == "activating" && (u.Again > 0 || u.Sub == "auto-restart"):
			found = append(found, New(UnitFailed, name, fmt.Sprintf("it ends as soon as it is started, %d times by now", u.Again+1)).At(origin(name)).
				Do(fmt.Sprintf("Its journal says why: journalctl -u %s. systemd goes on trying.", name)))
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
