package render

import "mailstead/schema"

// Periodic is a command of ours that a timer runs: what its two units are made of.
type Periodic struct {
	Systemd  int
	Paths    schema.Paths
	What     string   // completes "Mailstead: ..."
	Command  []string // without the program
	Calendar string   // systemd.time(7)
	Writes   string   // the directory that it writes to; "": none
	Network  bool     // it asks other servers, and becomes the users whose mail it is
}

// Service writes the service.
func (p Periodic) Service() ([]byte, error) {
	u := newUnit()
	checkPaths(u, p.Paths)
	u.section("Unit")
	u.line("Description", "Mailstead: "+p.What)
	u.set("After", "network.target nss-user-lookup.target "+ApplyUnit+" "+ServiceUnit)
	u.words("RequiresMountsFor", "", p.Paths.State)

	u.section("Service")
	u.set("Type", "oneshot")
	u.exec("ExecStart", append([]string{Program(p.Paths, "mailstead")}, p.Command...)...)
	u.set("UMask", "0077")
	if p.Writes != "" {
		u.words("ReadWritePaths", "-", p.Writes)
	}
	r := tender
	if p.Network {
		r = fetcher
	} else {
		runsOnly(u, p.Systemd, Program(p.Paths, "mailstead"))
	}
	writeSandbox(u, p.Systemd, r, p.Paths.Bin, p.Paths.State, p.Paths.Run)
	return u.bytes()
}

// Timer writes the timer.
func (p Periodic) Timer() ([]byte, error) {
	u := newUnit()
	u.section("Unit")
	u.line("Description", "Mailstead: "+p.What)

	u.section("Timer")
	u.set("OnCalendar", p.Calendar)
	u.set("RandomizedDelaySec", "30min")
	u.set("Persistent", "yes")

	u.section("Install")
	u.set("WantedBy", "timers.target")
	return u.bytes()
}
