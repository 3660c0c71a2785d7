package render

import (
	"fmt"

	"mailstead/schema"
)

// Metrics is what the units of the metrics are made of. Who serves them may ask auth
// for numbers, and has as little to lose as a login, whose account it has.
type Metrics struct {
	Systemd int
	Paths   schema.Paths
	Account string // that logins run as
	Place   *schema.Metrics
}

// Socket writes the unit of where they are served.
func (m Metrics) Socket() ([]byte, error) {
	u := newUnit()
	u.section("Unit")
	u.set("Description", "Mailstead metrics")

	u.section("Socket")
	if m.Place.Socket != "" {
		u.path("ListenStream", m.Place.Socket)
		u.line("ListenStream", m.Place.Socket)
		u.set("SocketMode", "0666") // as everyone may connect to a port
		u.set("RemoveOnStop", "yes")
	} else if err := bind(u, schema.Listener{Address: m.Place.Address, Port: m.Place.Port}); err != nil {
		return nil, fmt.Errorf("render %s: %w", MetricsSocketUnit, err)
	}
	u.set("Service", MetricsUnit)

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

// Service writes the unit of who serves them.
func (m Metrics) Service() ([]byte, error) {
	u := newUnit()
	checkPaths(u, m.Paths)
	u.name("User", accountName, m.Account)
	u.section("Unit")
	u.set("Description", "Mailstead metrics")
	u.set("After", "network.target "+AuthSocketUnit+" "+ApplyUnit)
	persistent(u)

	u.section("Service")
	u.exec("ExecStart", Program(m.Paths, "mailstead"), "metrics", AuthSocket(m.Paths))
	u.set("Sockets", MetricsSocketUnit)
	u.set("User", m.Account)
	runsOnly(u, m.Systemd, Program(m.Paths, "mailstead"))
	u.set("Type", "notify")
	u.set("NotifyAccess", "main")
	u.set("Restart", "on-failure")
	u.set("RestartSec", "1s")
	u.set("UMask", "0077")
	u.set("LimitNOFILE", 1024)
	u.set("LimitCORE", 0)
	u.set("TasksMax", 64)
	u.set("MemoryMax", "128M")
	writeSandbox(u, m.Systemd, loginRole, m.Paths.Bin, m.Paths.Run)

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.bytes()
}
