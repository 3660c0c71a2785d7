package render

import "mailstead/schema"

// Boot is what mailstead-apply.service is made of: at boot, it applies the
// installed description before the daemon starts. It changes nothing where
// nothing was changed, and what it cannot apply keeps no daemon from starting.
type Boot struct {
	Systemd int
	Paths   schema.Paths
}

// Render writes the unit.
func (b Boot) Render() ([]byte, error) {
	u := newUnit()
	u.path("bin", b.Paths.Bin)
	u.path("state", b.Paths.State)
	u.section("Unit")
	u.set("Description", "Mailstead: apply "+Description)
	u.set("ConditionPathIsDirectory", Description)
	u.set("After", "local-fs.target nss-user-lookup.target")
	u.set("Before", ServiceUnit+" "+SpawnUnit)
	u.words("RequiresMountsFor", "", b.Paths.State)

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
