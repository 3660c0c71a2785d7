package render

import (
	"strconv"

	"mailstead/schema"
)

func itoa(n int) string { return strconv.Itoa(n) }

// The sockets between the roles are systemd's, so that a role that is started
// anew is found where the last one was, by processes that see no more of the file
// system than that. Each may be reached by one account only.

// AuthChannel writes the unit of the socket at which logins find auth.
func AuthChannel(p schema.Paths, login string) ([]byte, error) {
	return channel("logins to auth", ServiceUnit, AuthSocket(p), login)
}

// SpawnChannel writes the unit of the socket at which auth finds spawn.
func SpawnChannel(p schema.Paths, auth string) ([]byte, error) {
	return channel("auth to spawn", SpawnUnit, SpawnSocket(p), auth)
}

func channel(what, service, path, account string) ([]byte, error) {
	u := newUnit()
	u.path("ListenSequentialPacket", path)
	u.name("SocketUser", accountName, account)
	u.section("Unit")
	u.set("Description", "Mailstead: "+what)

	u.section("Socket")
	u.line("ListenSequentialPacket", path)
	u.set("Service", service)
	u.set("SocketUser", account)
	u.set("SocketMode", "0600")
	u.set("RemoveOnStop", "yes")

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

// PAMChannel writes the unit of the socket at which auth finds mailstead-pam, one
// process for each connection.
func PAMChannel(p schema.Paths, auth string) ([]byte, error) {
	u := newUnit()
	u.path("ListenStream", PAMSocket(p))
	u.name("SocketUser", accountName, auth)
	u.section("Unit")
	u.set("Description", "Mailstead: auth to PAM")

	u.section("Socket")
	u.line("ListenStream", PAMSocket(p))
	u.set("SocketUser", auth)
	u.set("SocketMode", "0600")
	u.set("Accept", "yes")
	u.set("MaxConnections", 64)
	u.set("RemoveOnStop", "yes")

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

// ConnectChannel writes the unit of the socket at which an import, which root has begun,
// finds who connects to its server.
func ConnectChannel(p schema.Paths) ([]byte, error) {
	u := newUnit()
	u.path("run", p.Run)
	u.section("Unit")
	u.set("Description", "Mailstead: imports to the network")

	u.section("Socket")
	u.line("ListenSequentialPacket", ConnectSocket(p))
	u.set("SocketMode", "0600")
	u.set("Accept", "yes")
	u.set("RemoveOnStop", "yes")

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

// Connector is what the unit of who has the network for one import is made of. What it
// has is a connection that it gives away: neither mail nor a password, and no account.
type Connector struct {
	Systemd int
	Paths   schema.Paths
}

// Render writes the unit.
func (c Connector) Render() ([]byte, error) {
	u := newUnit()
	u.path("bin", c.Paths.Bin)
	u.section("Unit")
	u.set("Description", "Mailstead: connect to a server for an import")
	u.set("CollectMode", "inactive-or-failed")

	u.section("Service")
	u.exec("ExecStart", Program(c.Paths, "mailstead"), "import-connect")
	u.set("StandardInput", "socket")
	u.set("StandardOutput", "journal")
	u.set("StandardError", "journal")
	u.set("DynamicUser", "yes")
	u.set("UMask", "0077")
	u.set("LimitCORE", 0)
	u.set("TasksMax", 64)
	u.set("MemoryMax", "128M")
	runsOnly(u, c.Systemd, Program(c.Paths, "mailstead"))
	writeSandbox(u, c.Systemd, connector, c.Paths.Bin)
	return u.bytes()
}

// PAMHelper writes the unit of one mailstead-pam. PAM's modules are programs of
// others, which may hang, fork and crash: what they do is theirs alone, and ends
// with the connection.
type PAMHelper struct {
	Systemd int
	Paths   schema.Paths
	Network bool     // modules may ask servers
	Servers []string // addresses and nets of those whom they may ask; empty: any
}

// Render writes the unit.
func (h PAMHelper) Render() ([]byte, error) {
	u := newUnit()
	u.path("bin", h.Paths.Bin)
	u.section("Unit")
	u.set("Description", "Mailstead: ask PAM")
	u.set("CollectMode", "inactive-or-failed")

	u.section("Service")
	u.exec("ExecStart", Program(h.Paths, "mailstead-pam"), "--service", PAMName)
	u.set("StandardInput", "socket")
	u.set("StandardOutput", "socket")
	u.set("StandardError", "journal")
	u.set("KillSignal", "SIGKILL") // what a module has left behind may not listen to another
	u.set("LimitCORE", 0)
	u.set("TasksMax", 64)
	u.set("UMask", "0077")
	r := pamRole
	if h.Network {
		r = pamOnline
	}
	writeSandbox(u, h.Systemd, r, h.Paths.Bin)
	if h.Network && len(h.Servers) > 0 {
		onlyTo(u, h.Servers)
	}
	return u.bytes()
}
