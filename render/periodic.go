package render

import (
	"slices"

	"mailstead/schema"
)

// Periodic is a command of ours that a timer runs: what its two units are made of.
type Periodic struct {
	Systemd  int
	Paths    schema.Paths
	What     string   // completes "Mailstead: ..."
	Command  []string // without the program
	Calendar string   // systemd.time(7)
	Writes   []string // directories that it writes to, where they are; none: nowhere
	Reads    []string // files that it needs besides, wherever they are
	Becomes  bool     // it becomes the users whose mail is below Writes
}

// Service writes the service.
func (p Periodic) Service() ([]byte, error) {
	u := newUnit()
	checkPaths(u, p.Paths)
	for _, dir := range p.Writes {
		u.path("ReadWritePaths", dir)
	}
	u.section("Unit")
	u.line("Description", "Mailstead: "+p.What)
	u.set("After", "network.target nss-user-lookup.target "+ApplyUnit+" "+ServiceUnit)
	u.words("RequiresMountsFor", "", append([]string{p.Paths.State}, p.Writes...)...)

	u.section("Service")
	u.set("Type", "oneshot")
	u.exec("ExecStart", append([]string{Program(p.Paths, "mailstead")}, p.Command...)...)
	u.set("UMask", "0077")
	if len(p.Writes) > 0 {
		u.words("ReadWritePaths", "-", p.Writes...)
	}
	r := tender
	if p.Becomes {
		r = fetcher
		u.set("MemoryMax", "50%")      // what another server says decides how much it takes
		u.set("OOMPolicy", "continue") // with the others', where one has taken it
	}
	runsOnly(u, p.Systemd, Program(p.Paths, "mailstead"))
	writeSandbox(u, p.Systemd, r, slices.Concat([]string{p.Paths.Bin, p.Paths.State, p.Paths.Run}, p.Writes, p.Reads)...)
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
