package render

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"mailstead/schema"
)

// Service is what mailstead-imapd.service is made of: auth, which reads what apply
// has written and says who may come in. It has neither a privilege nor a listener.
type Service struct {
	Systemd int // version of the systemd that reads the unit
	Paths   schema.Paths
	Account string   // the system account that it runs as
	Servers []string // addresses and names of those that it connects to: directories, and what is behind proxies
	Groups  []string // that may reach the sockets of directories
}

// Render writes the unit.
func (s Service) Render() ([]byte, error) {
	u := newUnit()
	checkPaths(u, s.Paths)
	u.name("User", accountName, s.Account)
	for _, g := range s.Groups {
		u.name("SupplementaryGroups", accountName, g)
	}
	if strings.Contains(s.Paths.Run, ":") {
		u.refuse(fmt.Errorf("RuntimeDirectory: %q holds a colon, which parts it from a link's name", s.Paths.Run))
	}
	u.section("Unit")
	u.set("Description", "Mailstead: configuration and logins")
	u.set("After", "network.target nss-user-lookup.target "+ApplyUnit)
	u.words("RequiresMountsFor", "", s.Paths.State)
	persistent(u)

	u.section("Service")
	imapd := Program(s.Paths, "mailstead-imapd")
	u.exec("ExecStart", imapd, "serve", "--config", ConfigFile(s.Paths))
	// notify-reload, which systemd has from 253 on, cannot say that a reload
	// failed. The command waits for the daemon's answer and can.
	u.exec("ExecReload", imapd, "ctl", "reload", "--config", ConfigFile(s.Paths))
	u.set("Sockets", AuthSocketUnit)
	u.set("User", s.Account)
	if len(s.Groups) > 0 {
		u.set("SupplementaryGroups", strings.Join(s.Groups, " "))
	}
	supervised(u, s.Systemd)
	s.writable(u)
	limits(u)
	r := authRole
	if len(s.Servers) > 0 {
		r = authOnline
	}
	runsOnly(u, s.Systemd, imapd)
	writeSandbox(u, s.Systemd, r, s.Paths.State, s.Paths.Run, s.Paths.Bin)
	if only, known := addresses(s.Servers); known {
		onlyTo(u, only)
	}

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.bytes()
}

// onlyTo has a service reach these addresses and nets, and no others.
func onlyTo(u *unit, nets []string) {
	u.set("IPAddressDeny", "any")
	u.words("IPAddressAllow", "", nets...)
}

// addresses gives those of servers, if all of them are known and there are any: behind a
// name there may be any address.
func addresses(servers []string) (all []string, known bool) {
	for _, s := range servers {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return nil, false
		}
		all = append(all, a.String())
	}
	slices.Sort(all)
	return slices.Compact(all), len(all) > 0
}

// writable is where auth may write: everything else is read-only to it.
func (s Service) writable(u *unit) {
	if run, ok := strings.CutPrefix(s.Paths.Run, "/run/"); ok {
		u.words("RuntimeDirectory", "", run)
		u.set("RuntimeDirectoryMode", "0755")
	} else {
		u.words("ReadWritePaths", "-", s.Paths.Run)
	}
	u.words("ReadWritePaths", "-", path.Join(s.Paths.State, "auth"))
	u.set("UMask", "0077")
}

func checkPaths(u *unit, p schema.Paths) {
	u.path("state", p.State)
	u.path("run", p.Run)
	u.path("bin", p.Bin)
}

// persistent has a service that cannot start tried again for as long as it takes:
// the sockets stay open, and whoever connects waits for it.
func persistent(u *unit) { u.set("StartLimitIntervalSec", 0) }

// supervised is how systemd looks after a service of the daemon.
func supervised(u *unit, systemd int) {
	u.set("Type", "notify")
	u.set("NotifyAccess", "main")
	u.set("Restart", "on-failure")
	u.set("RestartSec", "100ms")
	if systemd >= 254 {
		u.set("RestartSteps", 8)
		u.set("RestartMaxDelaySec", "60s")
	}
	u.set("WatchdogSec", "30s")
	// Clients and workers are told to end; only what does not is killed.
	u.set("KillMode", "mixed")
	u.set("TimeoutStopSec", "30s")
}

func limits(u *unit) {
	u.set("LimitNOFILE", 262144)
	u.set("LimitCORE", 0)
	u.set("TasksMax", 32768)
	// One process that grows too large is not everybody's end, and not the host's.
	u.set("MemoryMax", "75%")
	u.set("OOMPolicy", "continue")
}
