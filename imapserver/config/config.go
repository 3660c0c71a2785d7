// Package config owns the daemon's own configuration, which is two files.
// config.json says what to serve, users.ndjson (one JSON object a line) who may
// log in. The render package fills the types in and encodes them, the daemon
// parses them; both sides run the same checks, so that a file that was edited
// or torn is refused as a whole, and the configuration in force stays.
//
// It does no I/O of its own, imports nothing of the project but imapserver/limit, and links no CUE.
package config

// FormatVersion is the version of both files that this package reads and writes.
const FormatVersion = 1

// Config is config.json.
type Config struct {
	Version    int        `json:"version"`
	Generation string     `json:"generation"` // Generation of everything that the daemon reads; reported by its status
	Hostname   string     `json:"hostname"`
	Control    string     `json:"control"` // path of the control socket
	Users      string     `json:"users"`   // path of users.ndjson
	Service    Identity   `json:"service"` // who auth runs as; inline, everything
	Listeners  []Listener `json:"listeners"`
	TLS        TLS        `json:"tls"`
	Namespace  string     `json:"namespace,omitempty"` // personal namespace prefix: "" or "INBOX."
	Sharing    bool       `json:"sharing,omitempty"`   // users whose mail has one uid and gid may share it with each other
	Admin      string     `json:"admin,omitempty"`     // /shared/admin of the server (RFC 5464 §6.2.2): a URI
	Comment    string     `json:"comment,omitempty"`   // /shared/comment of the server
	Keep       int64      `json:"keep,omitempty"`      // seconds for which what is expunged is kept aside; 0: it is gone
	Relaxed    bool       `json:"relaxed,omitempty"`   // flags and removals need not be on disk when they are acknowledged
	Record     string     `json:"record,omitempty"`    // path of the directory with the record of removals; "": there is none
	Outbox     *Outbox    `json:"outbox,omitempty"`    // nil: nothing is sent
	PAM        *PAM       `json:"pam,omitempty"`       // nil: no user logs in through PAM
	// Limits is those that are not imapserver/limit's defaults, by name.
	Limits  map[string]int64 `json:"limits,omitempty"`
	Logins  *Logins          `json:"logins,omitempty"` // nil: by passwords as users.ndjson has them, and nothing is kept
	Web     *Web             `json:"web,omitempty"`    // nil: there is no page at which users look after their logins
	Workers Workers          `json:"workers"`
	// Directories are asked, in this order, for whoever is not in users.ndjson.
	Directories []Directory `json:"directories,omitempty"`
	Folders     []Folder    `json:"folders,omitempty"`   // what their users get at the first login
	MailRoot    string      `json:"mail_root,omitempty"` // below which all mail of virtual users is, also of those to come
	Roles       *Roles      `json:"roles,omitempty"`     // with workers "process": where the roles find each other
}

// Web is the page at which users look after their logins.
type Web struct {
	UID         int    `json:"uid"`                   // who it runs as: nobody else may ask
	Certificate string `json:"certificate,omitempty"` // name of the bundle that it is given; "": none
}

// Roles says where the roles meet that are processes of their own.
type Roles struct {
	Login Identity `json:"login"` // who logins run as: nobody else may ask auth
	Auth  string   `json:"auth"`  // path of the socket at which logins find auth
	Spawn string   `json:"spawn"` // path of the socket at which auth finds spawn
}

// NoSocket is the exit code of a login that systemd has passed no socket, which no restart
// would give it.
const NoSocket = 3

// Workers says how the mail side runs.
type Workers string

// The ways in which workers run.
const (
	WorkerPerUID Workers = "process" // one process for each uid that owns mail
	WorkerInline Workers = "inline"  // all mail has the daemon's own uid: one process for everything
)

// Identity is a numeric uid and gid.
type Identity struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// Listener is one address to serve.
type Listener struct {
	Name    string `json:"name"`              // also the name of its descriptor under socket activation
	Address string `json:"address,omitempty"` // an IP address; "" is every address, IPv6 and IPv4
	Port    int    `json:"port"`              // 0 takes a free one, which status reports
	TLS     string `json:"tls"`               // STARTTLS, Implicit or Plain
	// Off is the capabilities that are switched off, before login and after.
	Off []string `json:"off,omitempty"`
	// Clients is whose certificates are accepted from clients; nil: nobody's.
	Clients *Clients `json:"clients,omitempty"`
	// Proxies is the addresses and nets of proxies in front of it, which say where clients are.
	Proxies []string `json:"proxies,omitempty"`
	// Proxy is which servers it stands in front of; nil: it serves this host's mail.
	Proxy *Proxy `json:"proxy,omitempty"`
}

// The values of Listener.TLS.
const (
	STARTTLS = "starttls" // RFC 9051 §6.2.1; no login before it
	Implicit = "implicit" // RFC 8314 §3
	Plain    = "none"     // loopback addresses only
)

// TLS is the certificates by SNI name.
type TLS struct {
	Policy  string   `json:"policy"`            // Modern or Intermediate
	Tickets bool     `json:"tickets,omitempty"` // clients get some, to resume sessions by (RFC 8446 §2.2)
	Bundles []Bundle `json:"bundles,omitempty"` // the first is the default
}

// The values of TLS.Policy, in Mozilla's words.
const (
	Modern       = "modern"
	Intermediate = "intermediate"
)

// Bundle is a certificate chain and its key in one PEM file, key first.
type Bundle struct {
	Name  string   `json:"name"`
	File  string   `json:"file"`
	Names []string `json:"names"` // SNI names in lower case; a leading "*." matches one label
}

// Outbox is a mailbox of every user's from which mail is sent.
type Outbox struct {
	Mailbox  string `json:"mailbox"`            // its name in UTF-8, without the namespace prefix
	Socket   string `json:"socket"`             // path of the socket at which "mailstead-imapd outbox" is started
	Header   string `json:"header,omitempty"`   // name of a field that tells who has sent; "": none
	Multiple bool   `json:"multiple,omitempty"` // one command may send several messages
}

// PAM says how to reach PAM.
type PAM struct {
	Service string `json:"service"`           // name below /etc/pam.d
	Helper  string `json:"helper"`            // path of mailstead-pam
	Socket  string `json:"socket,omitempty"`  // path of the socket at which systemd starts one; "": auth starts them itself
	Network bool   `json:"network,omitempty"` // modules may ask servers: a helper that was started without goes
	// Servers is the addresses and nets of those whom they may; empty: any. What was started with others goes, too.
	Servers []string `json:"servers,omitempty"`
}

// User is one line of users.ndjson.
type User struct {
	Name    string `json:"name"`
	Hash    string `json:"hash,omitempty"` // crypt(5) form, a verifier, or {SCHEME} and what it makes; empty: PAM
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Home    string `json:"home"`
	Maildir string `json:"maildir"` // absolute
	// Off is the capabilities that are switched off, beside the listener's.
	Off []string `json:"off,omitempty"`
	// Discard says that what is expunged goes into the trash.
	Discard bool `json:"discard,omitempty"`
	// Elsewhere is the IMAP URL of the server that has the user's mail (RFC 2221);
	// "": this one.
	Elsewhere string `json:"elsewhere,omitempty"`
	Quota     *Quota `json:"quota,omitempty"` // nil: as the Maildir says, if it does
	// Master says that this is nobody with mail, but somebody who may come in as any
	// user. These follow the users.
	Master bool `json:"master,omitempty"`
	// Directory is the name of the one that knows the user; "" of a user of users.ndjson.
	Directory string `json:"directory,omitempty"`
}

// Quota is how much mail a user may have. 0 is no limit.
type Quota struct {
	Storage  int64 `json:"storage,omitempty"` // octets on disk
	Messages int64 `json:"messages,omitempty"`
	Set      bool  `json:"set,omitempty"` // the user may set other limits, which then hold
}
