package render

// role is a set of those who run in a sandbox.
type role uint

const (
	supervisor   role = 1 << iota // root, which starts workers under the users' uids and reads mail in no way itself
	single                        // one process under the uid that all mail has
	singleInHome                  // the same, with mail or programs below a home directory
	applier                       // mailstead apply at boot
	checker                       // mailstead deploy-hook by its timer: what apply does, for certificates alone, and a client of the listeners
)

const (
	daemons = supervisor | single | singleInHome
	one     = single | singleInHome
	rooted  = applier | checker
	all     = daemons | rooted
)

// sandbox is what confines each role, a row for each setting, in the order in
// which it is written.
//
// The network is not for those who only use sockets that they were given, or
// talk to systemd; PAM modules may ask a server.
//
// PrivateUsers is not for the supervisor: inside it no other uid exists
// (setuid fails with EINVAL). CAP_DAC_READ_SEARCH is not needed for PAM:
// root owns /etc/shadow. AF_NETLINK is left out on purpose: with it libpam
// would try to write to the audit log, be refused for want of
// CAP_AUDIT_WRITE, and refuse the login; without it libpam finds no audit.
// RestrictSUIDSGID is not for the applier: systemd cannot look into the
// arguments of openat2 and so refuses it whole (ENOSYS), and apply opens what
// is below a user's directory by nothing else.
var sandbox = []struct {
	key, value string
	roles      role
	since      int // version of systemd that knows it; 0: all that matter
}{
	{"NoNewPrivileges", "yes", all, 0},
	{"CapabilityBoundingSet", "CAP_SETUID CAP_SETGID CAP_KILL", supervisor, 0},
	{"CapabilityBoundingSet", "", one, 0},
	{"CapabilityBoundingSet", "CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SETUID CAP_SETGID CAP_KILL", applier, 0},
	{"CapabilityBoundingSet", "CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE", checker, 0},
	{"AmbientCapabilities", "", all, 0},
	{"ProtectSystem", "strict", daemons, 0},
	{"ProtectSystem", "yes", rooted, 0},
	{"ProtectHome", "yes", single, 0},
	{"PrivateTmp", "yes", all, 0},
	{"PrivateDevices", "yes", all, 0},
	{"DevicePolicy", "closed", all, 0},
	{"PrivateUsers", "yes", one, 0},
	{"PrivateNetwork", "yes", one | applier, 0},
	{"PrivateIPC", "yes", daemons, 248},
	{"PrivateMounts", "yes", all, 0},
	{"ProtectKernelTunables", "yes", all, 0},
	{"ProtectKernelModules", "yes", all, 0},
	{"ProtectKernelLogs", "yes", all, 0},
	{"ProtectControlGroups", "yes", all, 0},
	{"ProtectClock", "yes", all, 0},
	{"ProtectHostname", "yes", all, 0},
	{"ProtectProc", "invisible", all, 247},
	{"ProcSubset", "pid", daemons, 247},
	{"RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6", supervisor | checker, 0},
	{"RestrictAddressFamilies", "AF_UNIX", one | applier, 0},
	{"RestrictNamespaces", "yes", all, 0},
	{"RestrictRealtime", "yes", all, 0},
	{"RestrictSUIDSGID", "yes", daemons, 0},
	{"LockPersonality", "yes", all, 0},
	{"MemoryDenyWriteExecute", "yes", all, 0},
	{"KeyringMode", "private", all, 0},
	{"RemoveIPC", "yes", one, 0},
	{"SystemCallArchitectures", "native", all, 0},
	{"SystemCallFilter", "@system-service", all, 0},
	{"SystemCallFilter", "~@resources", rooted, 0},
	{"SystemCallFilter", "~@privileged @resources", daemons, 0},
	{"SystemCallFilter", "@setuid capset", supervisor, 0}, // mailstead-pam gives its capabilities up
	{"SystemCallErrorNumber", "EPERM", all, 0},
}

func writeSandbox(u *unit, version int, r role) { writeSandboxOf(u, version, r, false) }

// writeSandboxOf leaves whoever asks a directory of users by the network in it.
func writeSandboxOf(u *unit, version int, r role, network bool) {
	for _, row := range sandbox {
		switch {
		case row.roles&r == 0 || version < row.since || network && row.key == "PrivateNetwork":
			continue
		case network && row.key == "RestrictAddressFamilies":
			row.value = "AF_UNIX AF_INET AF_INET6"
		}
		u.set(row.key, row.value)
	}
}
