package render

import (
	"fmt"
	"strings"

	"mailstead/schema"
)

// Service is what mailstead-imapd.service is made of.
type Service struct {
	Systemd   int // version of the systemd that reads the unit
	Paths     schema.Paths
	Account   string   // the system account that the daemon runs as; "" is root, which workers leave for their uid
	Listeners []string // names
	MailRoots []string // directories below which the workers write
	Network   bool     // a directory of users is asked by the network
	Groups    []string // that may reach the sockets of directories
}

// Render writes the unit.
func (s Service) Render() ([]byte, error) {
	u := newUnit()
	s.check(u)
	u.section("Unit")
	u.set("Description", "Mailstead IMAP server")
	u.set("After", "network.target nss-user-lookup.target "+ApplyUnit)
	u.words("RequiresMountsFor", "", append([]string{s.Paths.State}, s.MailRoots...)...)
	// A daemon that cannot start is tried again for as long as it takes: the
	// sockets stay open, and whoever connects waits for it.
	u.set("StartLimitIntervalSec", 0)

	u.section("Service")
	s.process(u)
	s.writable(u)
	s.limits(u)
	writeSandboxOf(u, s.Systemd, s.sandbox(), s.Network)

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.bytes()
}

func (s Service) check(u *unit) {
	u.path("state", s.Paths.State)
	u.path("run", s.Paths.Run)
	u.path("bin", s.Paths.Bin)
	for _, p := range s.MailRoots {
		u.path("mail", p)
	}
	if strings.Contains(s.Paths.Run, ":") {
		u.refuse(fmt.Errorf("RuntimeDirectory: %q holds a colon, which parts it from a link's name", s.Paths.Run))
	}
	if s.Account != "" {
		u.name("User", accountName, s.Account)
	}
	for _, g := range s.Groups {
		u.name("SupplementaryGroups", accountName, g)
	}
	for _, l := range s.Listeners {
		u.name("Sockets", listenerName, l)
	}
}

func (s Service) process(u *unit) {
	imapd := Program(s.Paths, "mailstead-imapd")
	// notify-reload, which systemd has from 253 on, cannot say that a reload
	// failed. The command waits for the daemon's answer and can.
	u.set("Type", "notify")
	u.set("NotifyAccess", "main")
	u.exec("ExecStart", imapd, "serve", "--config", ConfigFile(s.Paths))
	u.exec("ExecReload", imapd, "ctl", "reload", "--config", ConfigFile(s.Paths))
	var sockets []string
	for _, l := range s.Listeners {
		sockets = append(sockets, SocketUnit(l))
	}
	if len(sockets) > 0 {
		u.set("Sockets", strings.Join(sockets, " "))
	}
	if s.Account != "" {
		u.set("User", s.Account)
	}
	if len(s.Groups) > 0 {
		u.set("SupplementaryGroups", strings.Join(s.Groups, " "))
	}
	u.set("Restart", "on-failure")
	u.set("RestartSec", "2s")
	if s.Systemd >= 254 {
		u.set("RestartSteps", 5)
		u.set("RestartMaxDelaySec", "60s")
	}
	u.set("WatchdogSec", "30s")
	// The daemon tells its clients and its workers to end; only what does not is killed.
	u.set("KillMode", "mixed")
	u.set("TimeoutStopSec", "30s")
}

// writable is where the daemon may write: everything else is read-only to it.
func (s Service) writable(u *unit) {
	if run, ok := strings.CutPrefix(s.Paths.Run, "/run/"); ok {
		u.words("RuntimeDirectory", "", run)
		u.set("RuntimeDirectoryMode", "0755")
	} else {
		u.words("ReadWritePaths", "-", s.Paths.Run)
	}
	if len(s.MailRoots) > 0 {
		u.words("ReadWritePaths", "-", s.MailRoots...)
	}
	u.set("UMask", "0077")
}

func (s Service) limits(u *unit) {
	u.set("LimitNOFILE", 262144)
	u.set("LimitCORE", 0)
	u.set("TasksMax", 32768)
	// One worker that grows too large is not everybody's end.
	u.set("OOMPolicy", "continue")
}

func (s Service) sandbox() role {
	switch {
	case s.Account == "":
		return supervisor
	case s.underHome():
		return singleInHome
	}
	return single
}

// underHome says whether the daemon needs something in the directories that
// ProtectHome hides.
func (s Service) underHome() bool {
	for _, p := range append([]string{s.Paths.State, s.Paths.Run, s.Paths.Bin}, s.MailRoots...) {
		for _, home := range []string{"/home", "/root", "/run/user"} {
			if p == home || strings.HasPrefix(p, home+"/") {
				return true
			}
		}
	}
	return false
}
