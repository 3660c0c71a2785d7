package render

import "mailstead/schema"

// CertCheck is what mailstead-cert-check.service and its timer are made of. They
// bring in what no deploy hook did: certbot runs none when it issues a lineage
// for the first time (before 5.3) or mends one after a crash, its hook may be
// killed, and files that something else keeps have no hook. They renew what
// Mailstead makes itself, too.
type CertCheck struct {
	Systemd int
	Paths   schema.Paths
}

// Service writes the service, which the timer starts and a failed hook, too: it
// is the unit that shows as failed.
func (c CertCheck) Service() ([]byte, error) {
	u := newUnit()
	u.path("bin", c.Paths.Bin)
	u.path("state", c.Paths.State)
	u.section("Unit")
	u.set("Description", "Mailstead: bring certificates into force")
	u.set("After", "network.target nss-user-lookup.target "+ApplyUnit+" "+ServiceUnit)
	u.words("RequiresMountsFor", "", c.Paths.State)

	u.section("Service")
	u.set("Type", "oneshot")
	u.exec("ExecStart", Program(c.Paths, "mailstead"), "deploy-hook", "--all", "--state", c.Paths.State)
	u.set("TimeoutStartSec", "5min")
	u.set("UMask", "0077")
	writeSandbox(u, c.Systemd, checker)
	return u.bytes()
}

// Timer writes the timer. A host that was off looks when it is back, and many
// hosts do not look at the same time.
func (c CertCheck) Timer() ([]byte, error) {
	u := newUnit()
	u.section("Unit")
	u.set("Description", "Mailstead: look for renewed certificates")

	u.section("Timer")
	u.set("OnCalendar", "hourly")
	u.set("RandomizedDelaySec", "30min")
	u.set("Persistent", "yes")

	u.section("Install")
	u.set("WantedBy", "timers.target")
	return u.bytes()
}
