package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Unit is one of ours with what somebody has added to it.
type Unit struct {
	Name   string
	Origin string
	Text   string   // of the unit's own file
	Added  []string // paths of drop-ins, in systemd's order
}

// strengths are the values of settings that confine, the weaker first; a value that
// is not here cannot be compared.
var strengths = [][]string{
	{"", "no", "false", "off", "0", "default", "all", "auto", "inherit", "infinity"},
	{"read-only", "tmpfs", "noaccess", "shared", "ptraceable"},
	{"yes", "true", "on", "1", "pid", "invisible", "private", "closed", "full"},
	{"strict"},
}

func strength(value string) int {
	return slices.IndexFunc(strengths, func(values []string) bool { return slices.Contains(values, strings.ToLower(value)) })
}

// lets are the settings that confine by naming what is let in: each word more is
// one thing more that the unit may, and an empty value takes all of them back, but
// for those in filters, of which nothing is left then.
var lets = []string{"CapabilityBoundingSet", "AmbientCapabilities", "ReadWritePaths", "ExecPaths", "BindPaths", "BindReadOnlyPaths", "DeviceAllow",
	"IPAddressAllow", "SupplementaryGroups", "SystemCallFilter", "RestrictAddressFamilies", "RestrictNamespaces"}

var filters = []string{"SystemCallFilter", "RestrictAddressFamilies", "RestrictNamespaces"}

// keeps are those that name what is kept out: an empty value lets all of it in.
var keeps = []string{"InaccessiblePaths", "ReadOnlyPaths", "NoExecPaths", "IPAddressDeny"}

// who are those that say under whose rights the unit runs.
var who = []string{"User", "Group", "DynamicUser", "RootDirectory", "RootImage"}

// weakens tells whether a setting takes something back of what keeps the unit from
// the rest of the host. was is what the unit has of it, nil if it has none; emptied tells
// that an empty value has come before; confines says which settings are for that.
func weakens(key, value string, was []string, emptied bool, confines func(key string) bool) bool {
	words := strings.Fields(value)
	switch {
	case slices.Contains(who, key):
		return !slices.Contains(was, value)
	case slices.Contains(keeps, key):
		return value == "" && was != nil
	case slices.Contains(lets, key) && (value == "" || slices.Contains(filters, key) && strength(value) == 0):
		return slices.Contains(filters, key) && was != nil
	case slices.Contains(lets, key) && strength(value) > 0:
		return false // "RestrictNamespaces=yes"
	case slices.Contains(lets, key) && (strings.HasPrefix(value, "~") || value == "none"):
		return emptied && value != "none" || key == "RestrictNamespaces" // all but those, and not some less
	case slices.Contains(lets, key):
		have := strings.Fields(strings.Join(was, " "))
		return slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(have, w) })
	case !confines(key) || was == nil:
		return false
	}
	now, before := strength(value), strength(was[len(was)-1])
	return now < before || now < 0 && value != was[len(was)-1]
}

// DropIns says what somebody has added to units (systemctl edit), and which of it
// takes back what the unit promises. A drop-in for all services is told once.
func DropIns(units []Unit, confines func(key string) bool) []Finding {
	var found []Finding
	more := map[string]int{} // by what is seen
	for _, u := range units {
		own := map[string][]string{} // by section and name
		for _, s := range parseSettings(u.Text) {
			own[s.section+"/"+s.name] = append(own[s.section+"/"+s.name], s.value)
		}
		for _, path := range u.Added {
			for _, f := range u.dropIn(path, own, confines) {
				key := string(f.Code) + f.Seen
				if more[key]++; more[key] == 1 {
					found = append(found, f)
				}
			}
		}
	}
	for i, f := range found {
		if n := more[string(f.Code)+f.Seen]; n > 1 {
			found[i].Subject += fmt.Sprintf(" and %d more", n-1)
		}
	}
	return found
}

// dropIn tells of one.
func (u Unit) dropIn(path string, own map[string][]string, confines func(key string) bool) (found []Finding) {
	settings, err := readSettings(path)
	if err != nil {
		return []Finding{New(UnitOverridden, u.Name, fmt.Sprintf("it has %s, which cannot be read: %v", path, err)).At(u.Origin)}
	}
	var changed, undone []string
	emptied := map[string]bool{}
	for _, s := range settings {
		was := own[s.section+"/"+s.name]
		text := s.name + "=" + s.value
		switch {
		case weakens(s.name, s.value, was, emptied[s.name], confines):
			undone = append(undone, text+had(was))
		case len(was) != 1 || was[0] != s.value:
			changed = append(changed, text+had(was))
		}
		emptied[s.name] = emptied[s.name] || s.value == ""
	}
	if len(undone) > 0 {
		f := New(UnitWeakened, u.Name, path+" has "+few(undone))
		found = append(found, f.At(u.Origin).Do(fmt.Sprintf("Take it out of %s, then systemctl daemon-reload and systemctl try-restart %s; if something does not work without it, say so: the unit should not need it.", path, u.Name)))
	}
	if len(changed) > 0 || len(undone) == 0 {
		found = append(found, New(UnitOverridden, u.Name, path+" has "+few(changed)).At(u.Origin).
			Do("Read it, if something of the unit does not work: systemctl cat "+u.Name+"."))
	}
	return found
}

// had says what the unit has of a setting.
func had(was []string) string {
	switch len(was) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(" (the unit: %q)", was[0])
	}
	return fmt.Sprintf(" (the unit: %q and %d more)", was[0], len(was)-1)
}

// few names some of many.
func few(all []string) string {
	const most = 8
	switch {
	case len(all) == 0:
		return "nothing that changes the unit"
	case len(all) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}
