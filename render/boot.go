package render

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"mailstead/schema"
)

// Boot is what mailstead-apply.service is made of: at boot, it applies the
// installed description before the daemon starts. It changes nothing where
// nothing was changed, and what it cannot apply keeps no daemon from starting.
type Boot struct {
	Systemd   int
	Paths     schema.Paths
	MailRoots []string // directories that hold mail
}

// Render writes the unit.
func (b Boot) Render() ([]byte, error) {
	u := newUnit()
	u.path("bin", b.Paths.Bin)
	u.path("state", b.Paths.State)
	for _, p := range b.MailRoots {
		u.path("mail", p)
	}
	u.section("Unit")
	u.set("Description", "Mailstead: apply "+Description)
	u.set("ConditionPathIsDirectory", Description)
	// Mail that is not mounted keeps nothing else from being applied: no Requires.
	u.set("After", strings.Join(append([]string{"local-fs.target", "remote-fs.target", "nss-user-lookup.target"}, mountUnits(b.MailRoots)...), " "))
	u.set("Before", ServiceUnit+" "+SpawnUnit)
	u.words("RequiresMountsFor", "", b.Paths.State)
	if b.Systemd >= 256 && len(b.MailRoots) > 0 {
		u.words("WantsMountsFor", "", b.MailRoots...)
	}

	u.section("Service")
	u.set("Type", "oneshot")
	u.exec("ExecStart", Program(b.Paths, "mailstead"), "apply", "--boot", Description)
	// What it cannot apply in part (exit 6) it has reported; the rest is in force.
	u.set("TimeoutStartSec", "5min")
	u.set("UMask", "0077") // whatever is made has its mode set as it is made
	writeSandbox(u, b.Systemd, applier)

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.bytes()
}

// mountUnits names the units of what may be mounted at directories or above them: one
// that is not in fstab, or has nofail there, is in no target that could be waited for.
func mountUnits(dirs []string) (units []string) {
	for _, dir := range dirs {
		for ; dir != "/" && dir != "."; dir = path.Dir(dir) {
			units = append(units, escapePath(dir)+".mount")
		}
	}
	slices.Sort(units)
	return slices.Compact(units)
}

// escapePath is systemd-escape --path.
func escapePath(p string) string {
	var b strings.Builder
	for i, c := range []byte(strings.Trim(p, "/")) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == ':', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
