// Package render turns a checked description into the files that a host needs:
// the daemon's two files, the systemd units, the certbot hook and the PAM
// service. It is pure: the same input gives the same bytes, and nothing is read
// or written. reconcile/desired decides what is to be rendered and calls it.
//
// It does not rely on what the schema refuses: every string that reaches a
// unit, the hook or the daemon's files is checked or escaped once more by the
// writer of that file.
//
// It imports, of the project, schema and imapserver/config.
package render

import (
	"path"
	"strings"

	"mailstead/schema"
)

// The names of what Mailstead adds to a host.
const (
	ServiceUnit       = "mailstead-imapd.service" // auth
	SpawnUnit         = "mailstead-spawn.service"
	PAMUnit           = "mailstead-pam@.service" // one for each helper
	ApplyUnit         = "mailstead-apply.service"
	AuthSocketUnit    = "mailstead-auth.socket"  // from logins to auth
	SpawnSocketUnit   = "mailstead-spawn.socket" // from auth to spawn
	PAMSocketUnit     = "mailstead-pam.socket"   // from auth to mailstead-pam
	OutboxUnit        = "mailstead-outbox.socket"
	OutboxSends       = "mailstead-outbox@.service" // one for each message
	LMTPSocketUnit    = "mailstead-lmtp.socket"
	LMTPUnit          = "mailstead-lmtp.service"
	CheckUnit         = "mailstead-cert-check.service"
	CheckTimer        = "mailstead-cert-check.timer" // of CheckUnit
	ImportUnit        = "mailstead-import.service"
	ImportTimer       = "mailstead-import.timer"            // of ImportUnit
	ConnectSocketUnit = "mailstead-import-connect.socket"   // from ImportUnit to ConnectUnit
	ConnectUnit       = "mailstead-import-connect@.service" // one for each import
	PurgeUnit         = "mailstead-purge.service"
	PurgeTimer        = "mailstead-purge.timer" // of PurgeUnit
	PAMName           = "mailstead"             // the PAM service
	PAMFile           = "/etc/pam.d/" + PAMName // where libpam looks for it
	Description       = "/etc/mailstead"        // the installed description, applied at boot
	ServiceUser       = "mailstead"             // who auth runs as
	LoginUser         = "mailstead-login"       // who logins run as
	WebUnit           = "mailstead-web.service"
	MetricsUnit       = "mailstead-metrics.service"
	MetricsSocketUnit = "mailstead-metrics.socket"     // to MetricsUnit
	WebSocketUnit     = "mailstead-web.socket"         // to WebUnit
	WebAdminUnit      = "mailstead-web-admin.socket"   // from WebUnit to WebAdminDoes
	WebAdminDoes      = "mailstead-web-admin@.service" // one for each request
	WebUser           = "mailstead-web"                // who WebUnit runs as
)

// ConfigFile is the path of the daemon's configuration.
func ConfigFile(p schema.Paths) string { return path.Join(p.State, "config.json") }

// UsersFile is the path of the list of who may log in.
func UsersFile(p schema.Paths) string { return path.Join(p.State, "users.ndjson") }

// BundleDir is the directory of the certificate bundles.
func BundleDir(p schema.Paths) string { return path.Join(p.State, "bundles") }

// BundleFile is the path of the bundle of a certificate.
func BundleFile(p schema.Paths, certificate string) string {
	return path.Join(BundleDir(p), certificate+".pem")
}

// ControlSocket is the path of the daemon's control socket.
func ControlSocket(p schema.Paths) string { return path.Join(p.Run, "control") }

// DeliverSocket is the path of the socket at which auth says where the mail of users of
// directories is.
func DeliverSocket(p schema.Paths) string { return path.Join(p.Run, "deliver") }

// OutboxSocket is the path of the socket that takes mail to be sent. It is not in
// the directory of the daemon's own, which goes when the daemon stops.
func OutboxSocket(p schema.Paths) string { return p.Run + "-outbox" }

// AuthSocket is the path of the socket at which logins find auth. Like the others
// of systemd's it is not in the directory of auth's own, which goes when that stops.
func AuthSocket(p schema.Paths) string { return p.Run + "-auth" }

// SpawnSocket is the path of the socket at which auth finds spawn.
func SpawnSocket(p schema.Paths) string { return p.Run + "-spawn" }

// PAMSocket is the path of the socket at which auth finds mailstead-pam.
func PAMSocket(p schema.Paths) string { return p.Run + "-pam" }

// ConnectSocket is the path of the socket at which an import finds who has the network.
func ConnectSocket(p schema.Paths) string { return p.Run + "-import-connect" }

// WebFile is the path of what the page has to know.
func WebFile(p schema.Paths) string { return path.Join(p.State, "web.json") }

// WebDir is where what admins do at the page is kept, for root alone.
func WebDir(p schema.Paths) string { return path.Join(p.State, "web") }

// WebAuthSocket is the path of the socket at which the page finds auth. Auth binds
// it, so that it comes with a reload: systemd adds no socket to a service that runs.
func WebAuthSocket(p schema.Paths) string { return path.Join(p.Run, "web") }

// WebAdminSocket is the path of the socket at which the page asks for what needs root.
func WebAdminSocket(p schema.Paths) string { return p.Run + "-web-admin" }

// HookFile is the path of the hook that certbot runs after a renewal.
func HookFile(p schema.Paths) string {
	return path.Join(p.Letsencrypt, "renewal-hooks/deploy/mailstead")
}

// UnitFile is the path of a unit.
func UnitFile(p schema.Paths, unit string) string { return path.Join(p.Units, unit) }

// SocketUnit is the name of the socket unit of a listener.
func SocketUnit(listener string) string { return "mailstead-" + listener + ".socket" }

// LoginUnit is the name of the service unit of a listener.
func LoginUnit(listener string) string { return loginPrefix + listener + ".service" }

const loginPrefix = "mailstead-login@"

// ListenerOf is the listener whose service a unit is.
func ListenerOf(unit string) (listener string, ok bool) {
	name, ok := strings.CutPrefix(unit, loginPrefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, ".service")
}

// Program is the path of one of the programs.
func Program(p schema.Paths, name string) string { return path.Join(p.Bin, name) }
