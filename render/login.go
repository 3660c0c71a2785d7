package render

import (
	"mailstead/imapserver/config"
	"mailstead/schema"
)

// Login is what the service of one listener is made of: it talks to strangers,
// and so has nothing to lose. Each listener has a service of its own, so that one
// can come, move and go without the others.
type Login struct {
	Systemd  int
	Paths    schema.Paths
	Account  string // the system account that all logins run as
	Listener string
	Proxy    bool // it stands in front of other servers, in place of serving this host's mail
}

// Render writes the unit.
func (l Login) Render() ([]byte, error) {
	u := newUnit()
	checkPaths(u, l.Paths)
	u.name("User", accountName, l.Account)
	u.name("Sockets", listenerName, l.Listener)
	u.section("Unit")
	u.set("Description", "Mailstead IMAP listener "+l.Listener)
	// Without auth it waits, and keeps the sessions that there are.
	u.set("Wants", AuthSocketUnit)
	u.set("After", "network.target "+AuthSocketUnit+" "+ApplyUnit)
	u.set("Before", CheckUnit) // which has ended at shutdown before there is nobody to serve what it asks for
	persistent(u)

	u.section("Service")
	command := []string{Program(l.Paths, "mailstead-imapd"), "login", "--listener", l.Listener, "--auth", AuthSocket(l.Paths)}
	if l.Proxy {
		command = append(command, "--proxy")
	}
	u.exec("ExecStart", command...)
	u.set("Sockets", SocketUnit(l.Listener))
	u.set("User", l.Account)
	supervised(u, l.Systemd)
	u.set("RestartPreventExitStatus", config.NoSocket) // the socket starts it, once there is one
	u.set("UMask", "0077")
	limits(u)
	runsOnly(u, l.Systemd, Program(l.Paths, "mailstead-imapd"))
	writeSandbox(u, l.Systemd, loginRole, l.Paths.Bin, l.Paths.Run)

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.bytes()
}
