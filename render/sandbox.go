package render

import (
	"slices"
	"strings"
)

// role is a set of those who run in a sandbox.
type role uint

const (
	authRole   role = 1 << iota // says who may come in, by files alone
	authOnline                  // the same, by asking servers
	loginRole                   // one listener: talks to strangers
	spawnRoot                   // root, which starts workers under the users' uids, and these
	spawnOwn                    // the same under the uid that all mail has
	lmtpRoot                    // mailstead-deliver --lmtp: the same, for deliveries
	lmtpOwn
	pamRole   // mailstead-pam, and the modules of PAM
	pamOnline // the same, where modules ask servers
	applier   // mailstead apply at boot
	checker   // mailstead deploy-hook by its timer: what apply does, for certificates alone
	tender    // mailstead purge by its timer: root to the control socket, and nothing else
	fetcher   // mailstead import by its timer: the same, which becomes users
	connector // mailstead import-connect: other servers, for that
	webRole   // mailstead web: talks to strangers
	webAdmin  // what it asks for: apply
)

const (
	auths   = authRole | authOnline
	starts  = spawnRoot | lmtpRoot
	spawns  = starts | spawnOwn | lmtpOwn
	fronts  = loginRole | webRole
	pams    = pamRole | pamOnline
	daemons = auths | fronts | spawns | connector
	rooted  = applier | checker | webAdmin
	timed   = tender | fetcher
	all     = daemons | pams | rooted | timed
)

// sandbox is what confines each role, a row for each setting, in the order in
// which it is written.
//
// The network is not for those who only use sockets that they were given, or
// talk to systemd. PAM modules and auth may ask a server where the description says so,
// and auth connects to the servers behind a proxy, whose login is passed the connection.
// Where all addresses are known, it reaches no others. What a service may not does not
// concern the sockets that it is given (systemd.resource-control(5)).
//
// PrivateUsers is not for spawn as root: inside it no other uid exists (setuid
// fails with EINVAL). Nor is it for auth and for spawn otherwise: who asks is told
// by uid, and of other uids there is none there. CAP_SETPCAP has workers' bounding
// set emptied. CAP_DAC_READ_SEARCH is not needed for PAM:
// root owns /etc/shadow. AF_NETLINK is left out on purpose: with it libpam
// would try to write to the audit log, be refused for want of
// CAP_AUDIT_WRITE, and refuse the login; without it libpam finds no audit.
// RestrictSUIDSGID is not for those who apply: systemd cannot look into the
// arguments of openat2 and so refuses it whole (ENOSYS), and apply opens what
// is below a user's directory by nothing else.
var sandbox = []struct {
	key, value string
	roles      role
	since      int // version of systemd that knows it; 0: all that matter
}{
	{"NoNewPrivileges", "yes", all, 0},
	{"CapabilityBoundingSet", "", auths | fronts | spawnOwn | lmtpOwn | pams | connector, 0},
	{"CapabilityBoundingSet", "CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL", starts, 0},
	{"CapabilityBoundingSet", "CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SETUID CAP_SETGID CAP_KILL", applier | webAdmin, 0},
	{"CapabilityBoundingSet", "CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE", checker, 0},
	{"CapabilityBoundingSet", "CAP_DAC_OVERRIDE", tender, 0}, // the control socket is not root's
	{"CapabilityBoundingSet", "CAP_DAC_OVERRIDE CAP_SETUID CAP_SETGID", fetcher, 0},
	{"AmbientCapabilities", "", all, 0},
	{"ProtectSystem", "strict", daemons | timed | pams, 0},
	{"ReadOnlyPaths", "/run", daemons | timed, 0}, // which "strict" leaves as it is beside ProtectKernelTunables (seen with 252 and 257)
	{"ReadWritePaths", "/run /var", pams, 0},      // where its modules have files of theirs
	{"ProtectSystem", "yes", rooted, 0},
	{protectHome, "yes", daemons | timed, 0},
	{"InaccessiblePaths", "-/run/dbus", daemons | timed, 0}, // other services, by which a user of theirs may have a program run
	{protectHome, "read-only", pams, 0},
	{"PrivateTmp", "yes", all, 0},
	{"PrivateDevices", "yes", all, 0},
	{"DevicePolicy", "closed", all, 0},
	{"PrivateUsers", "yes", fronts | connector, 0},
	{"PrivateNetwork", "yes", authRole | loginRole | webRole | pamRole | spawns | rooted | timed, 0},
	{"PrivateIPC", "yes", all, 248},
	{"PrivateMounts", "yes", all, 0},
	{"ProtectKernelTunables", "yes", all, 0},
	{"ProtectKernelModules", "yes", all, 0},
	{"ProtectKernelLogs", "yes", all, 0},
	{"ProtectControlGroups", "yes", all, 0},
	{"ProtectClock", "yes", all, 0},
	{"ProtectHostname", "yes", all, 0},
	{"ProtectProc", "invisible", all, 247},
	{"ProcSubset", "pid", daemons | pams | timed, 247},
	{"RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6", authOnline | pamOnline, 0},
	{"RestrictAddressFamilies", "AF_INET AF_INET6", connector, 0},
	{"RestrictAddressFamilies", "AF_UNIX", authRole | loginRole | webRole | pamRole | spawns | rooted | timed, 0},
	{"RestrictAddressFamilies", "none", lmtpRoot | lmtpOwn, 249}, // all sockets are systemd's, or pairs, where there is nobody to ask
	{"IPAddressDeny", "any", authRole | pamRole | spawns | rooted | timed, 0},
	{"RestrictNamespaces", "yes", all, 0},
	{"RestrictRealtime", "yes", all, 0},
	{"RestrictSUIDSGID", "yes", daemons | pams | timed, 0},
	{"LockPersonality", "yes", all, 0},
	{"MemoryDenyWriteExecute", "yes", all, 0},
	{"KeyringMode", "private", all, 0},
	{"RemoveIPC", "yes", auths | fronts | spawnOwn | lmtpOwn | connector, 0},
	{"SystemCallArchitectures", "native", all, 0},
	{"SystemCallFilter", "@system-service", all, 0},
	{"SystemCallFilter", "~@resources", rooted, 0},
	{"SystemCallFilter", "~@privileged @resources", daemons | pams | timed, 0},
	{"SystemCallFilter", "@setuid", starts | pams | fetcher, 0}, // pam_unix has its helper be root by setuid,
	{"SystemCallFilter", "capset", pams, 0},                     // mailstead-pam gives its capabilities up
	{"SystemCallFilter", "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self", spawns | fronts | fetcher, 0}, // by which workers and those who talk to strangers confine themselves
	{"SystemCallErrorNumber", "EPERM", all, 0},
}

// Confines tells whether a setting of a unit is there to confine what it runs.
func Confines(key string) bool {
	for _, row := range sandbox {
		if row.key == key {
			return true
		}
	}
	return false
}

// runsOnly has a service run that program of ours and none besides, from systemd
// 248 on. Libraries are for a program that was linked with some.
func runsOnly(u *unit, version int, program string) {
	if version < 248 {
		return
	}
	u.set("NoExecPaths", "/")
	u.words("ExecPaths", "", program)
	u.set("ExecPaths", "-/lib -/lib64 -/usr/lib -/usr/lib64")
}

// protectHome is a setting that is left out where something below one of homes, the
// directories that it hides, is needed. The others are hidden then.
const protectHome = "ProtectHome"

var homes = []string{"/home", "/root", "/run/user"}

// writeSandbox writes the settings of a role. The service needs what is at paths.
func writeSandbox(u *unit, version int, r role, paths ...string) {
	hidden := slices.DeleteFunc(slices.Clone(homes), func(home string) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return p == home || strings.HasPrefix(p, home+"/") })
	})
	for _, row := range sandbox {
		switch {
		case row.roles&r == 0 || version < row.since:
		case row.key != protectHome || len(hidden) == len(homes):
			u.set(row.key, row.value)
		case row.value == "yes":
			u.words("InaccessiblePaths", "-", hidden...)
		}
	}
}
