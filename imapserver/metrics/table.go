package metrics

// Type is what sort of number a metric is.
type Type string

// The types, as Prometheus calls them.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Row is a metric. None has a label whose values are users, addresses or anything
// else that clients choose: Values bounds them, or the description does.
type Row struct {
	Name    string
	Type    Type
	Help    string
	Labels  []Label
	Buckets []float64 // of a histogram: upper bounds in its unit
}

// Label is a label and what its values may be. Without Values they are names of the
// description (listeners, certificates) or of the table of commands.
type Label struct {
	Name   string
	Values []string
}

// Other takes the place of a value that a label cannot have.
const Other = "other"

// maxSeries bounds the series of one metric whose values no row lists.
const maxSeries = 200

// seconds is the buckets of what may take from the time of a system call to that of
// a disk that is failing.
var seconds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// The names of the metrics that are counted.
const (
	Connections = "mailstead_connections_total"
	Refused     = "mailstead_connections_refused_total"
	Logins      = "mailstead_logins_total"
	Refusals    = "mailstead_refusals_total"
	Octets      = "mailstead_octets_total"
	Commands    = "mailstead_command_seconds"
	Removed     = "mailstead_messages_removed_total"
	Rebuilds    = "mailstead_index_rebuilds_total"
	Fsync       = "mailstead_fsync_seconds"
	Logged      = "mailstead_log_lines_total"
	Unrecorded  = "mailstead_removals_unrecorded_total"
	Faults      = "mailstead_faults_total"
)

// The reasons of Refusals.
const (
	Crowded          = "connections"
	CrowdedAddress   = "connections_of_address"
	CrowdedMinute    = "new_connections_of_address"
	NoTLS            = "no_tls"
	TLSVersion       = "tls_version"
	TLSCertificate   = "tls_certificate"
	TLSOther         = "tls_other"
	WrongCredentials = "credentials"
	Guessing         = "guessing"
	Unchecked        = "unchecked"
	Full             = "sessions"
	FullAddress      = "sessions_of_address"
	FullUser         = "sessions_of_user"
	NoWorker         = "no_worker"
)

// The names of those that are looked up when somebody asks.
const (
	Sessions    = "mailstead_sessions"
	ProxyIdle   = "mailstead_proxy_connections_kept"
	ProxyLogins = "mailstead_proxy_logins_total"
	ProxyStale  = "mailstead_proxy_connections_stale_total"
	Workers     = "mailstead_workers"
	Certificate = "mailstead_certificate_expires_timestamp_seconds"
	Users       = "mailstead_users"
	Build       = "mailstead_build_info"
	Up          = "mailstead_up"
)

var listener = Label{Name: "listener"}

// Table is every metric, in the order of the manual.
var Table = []Row{
	{Up, Gauge, "1 if auth has given the others, 0 if it is away.", nil, nil},
	{Connections, Counter, "Connections that were accepted.", []Label{listener}, nil},
	{Refused, Counter, "Connections that were closed at once, since there were too many.", []Label{listener}, nil},
	{Logins, Counter, "Logins that were tried, by mechanism (command: LOGIN itself) and what became of them: ok, refused (a wrong password, most often), limited (good, and there were too many sessions) or unavailable (it could not be checked, or there was no worker).",
		[]Label{listener, {"mechanism", []string{"command", "PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", Other}}, {"result", []string{"ok", "refused", "limited", "unavailable"}}}, nil},
	{Refusals, Counter, "Connections and logins that came to nothing, by reason. Closed at once: connections (of all that wait for a login), connections_of_address and new_connections_of_address (in a minute). " +
		"TLS: tls_version (no version, cipher or protocol in common), tls_certificate (the client refuses ours), tls_other (it leaves, or speaks something else), no_tls (a login before TLS). " +
		"Logins: credentials (wrong), guessing (unheard, after too many wrong ones of the address or for the user, or too many sessions that a fault has ended), unchecked (a directory or PAM was away, or too many waited). " +
		"Good logins: sessions (of all), sessions_of_address, sessions_of_user, no_worker.",
		[]Label{listener, {"reason", []string{Crowded, CrowdedAddress, CrowdedMinute, NoTLS, TLSVersion, TLSCertificate, TLSOther, WrongCredentials, Guessing, Unchecked, Full, FullAddress, FullUser, NoWorker, Other}}}, nil},
	{Sessions, Gauge, "Connections that are logged in.", []Label{listener}, nil},
	{ProxyIdle, Gauge, "Connections to servers that a proxy keeps for the next login.", []Label{listener}, nil},
	{ProxyLogins, Counter, "Logins at a proxy: tried, and of these reused (a kept connection was given), refused (by the server) and failed (it could not be asked).",
		[]Label{listener, {"what", []string{"tried", "reused", "refused", "failed"}}}, nil},
	{ProxyStale, Counter, "Connections that a proxy had kept and found dead at a login.", []Label{listener}, nil},
	{Workers, Gauge, "Worker processes that have told of themselves.", nil, nil},
	{Octets, Counter, "Octets of sessions, without TLS: in from clients, out to them.", []Label{{"direction", []string{"in", "out"}}}, nil},
	{Commands, Histogram, "How long commands of sessions took, from their last octet to the answer. IDLE lasts as long as the client wants and is not among them.", []Label{{Name: "command"}}, seconds},
	{Removed, Counter, "Messages that left a mailbox: expunged, moved to another one, or removed by another program (outside).", []Label{{"how", []string{"expunged", "moved", "outside"}}}, nil},
	{Unrecorded, Counter, "Removed messages that the record of removals does not have, since it was full or could not be written.", nil, nil},
	{Rebuilds, Counter, "Indexes that were found damaged, put aside and made anew.", nil, nil},
	{Fsync, Histogram, "How long a sync of a directory or an index took, which many commands may share.", nil, seconds},
	{Logged, Counter, "Lines of the log that say that something is wrong.", []Label{{"level", []string{"warn", "error"}}}, nil},
	{Faults, Counter, "Connections that a fault of ours has ended, before the login or after (session): the log has each, with where it was.", []Label{{"in", []string{"login", "session"}}}, nil},
	{Certificate, Gauge, "When the certificate that is served is no longer valid, in seconds since 1970.", []Label{{Name: "certificate"}}, nil},
	{Users, Gauge, "Users in the list; those of directories are not in it.", nil, nil},
	{Build, Gauge, "Always 1; the version of auth.", []Label{{Name: "version"}}, nil},
}

// Find finds a row by name.
func Find(name string) (Row, bool) {
	for _, r := range Table {
		if r.Name == name {
			return r, true
		}
	}
	return Row{}, false
}
