package schema

import "fmt"

// Pos is where a value stands in the description: a file as the operator
// named it, a line and a column, both counted from 1. The zero Pos means that
// the value is a default of the schema.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
}

// String gives file:line:col, or "default" for the zero Pos.
func (p Pos) String() string {
	if p.File == "" {
		return "default"
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Secret is a string that no output shows: it formats as "(secret)".
type Secret string

// String hides the secret from fmt, logs and diagnostics.
func (Secret) String() string { return "(secret)" }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return "(secret)" }

// MarshalText hides the secret from JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Config is a checked description with every default filled in.
type Config struct {
	Hosts []*Host // sorted by name
}

// Host is one mail host.
type Host struct {
	Name   string // its fully qualified domain name
	Origin Pos
	// Origins is where each field is written, by its path in the host, such as
	// "listeners/imap/port". Users, folders and policies say it themselves.
	Origins   map[string]Pos `json:"-"`
	Listeners []Listener     // sorted by name
	TLS       TLS
	Users     []User  // sorted by name
	Logins    *Logins `json:",omitempty"` // nil: by their password alone
	// Directories are asked, in this order, about whoever is not among the users.
	Directories []Directory `json:",omitempty"`
	Folders     []Folder    // for every user who names no policy; sorted by name. User.Folders holds what is made for each
	PurgeInbox  int         `json:",omitempty"` // days from when a message came into the inbox until it is removed; 0: it stays. As Folders
	Namespace   string      // personal namespace prefix: "" or "INBOX."
	Keep        int         `json:",omitempty"` // days for which what is expunged is kept aside; 0: it is gone
	Relaxed     bool        `json:",omitempty"` // flags and removals need not be on disk when they are acknowledged
	Outbox      *Outbox     // nil: no mail is sent
	Deliver     *Deliver    `json:",omitempty"` // nil: mailstead-deliver knows nobody
	Sharing     Sharing
	About       About
	Quota       *Quota    // for every user; User.Quota holds what each may have
	Expunge     Expunge   // of users without one of their own; User.Expunge holds that of each
	Probe       *Probe    `json:",omitempty"` // nil: nobody logs in after an apply
	Web         *Web      `json:",omitempty"` // nil: there is no page
	Metrics     *Metrics  `json:",omitempty"` // nil: they are not served
	Fail2ban    *Fail2ban `json:",omitempty"` // nil: fail2ban is not told of us
	Profiles    *Profiles `json:",omitempty"` // nil: mail programs are told what the listeners say
	// Limits is those that the description sets, by name, in the units that the schema says.
	Limits map[string]int64 `json:",omitempty"`
	PAM    PAM
	Mail   Mail
	Paths  Paths
}

// PAM is how system users log in.
type PAM struct {
	Session string // the file in /etc/pam.d whose session rules are run at each login; "": none
	Network *bool  `json:",omitempty"` // whether its modules may ask servers; nil: Servers says it, or nobody, and they may not
	// Servers is the addresses and nets that they may ask; empty: any.
	Servers []string `json:",omitempty"`
}

// Asks says whether modules of PAM may ask servers over the network.
func (p PAM) Asks() bool { return len(p.Servers) > 0 || p.Network != nil && *p.Network }

// Said tells whether the description says so, or that they may not.
func (p PAM) Said() bool { return p.Network != nil || len(p.Servers) > 0 }

// About is what clients are told of the host (RFC 5464 §6.2).
type About struct {
	Admin   string // a URI, or ""
	Comment string // one line, or ""
}

// Outbox is the folder of every user's from which mail is sent.
type Outbox struct {
	Origin   Pos
	Folder   string // without the namespace prefix; User.Folders has it
	Command  string // absolute path of sendmail
	Header   string // name of a field that says who has sent; "" for none
	Multiple bool   // one command may send several messages
}

// Deliver is how mail comes in.
type Deliver struct {
	Origin  Pos
	Domains []string // whose addresses are users by their local part; never empty
	Detail  string   // parts a mailbox from a user's name; "": nothing does
	Group   string   // of the mail server; "": none
	LMTP    *LMTP    // nil: only standard input
}

// LMTP is the socket at which mail servers hand over mail.
type LMTP struct {
	Origin Pos
	Socket string // absolute path
}

// Probe is the session that an apply tries.
type Probe struct {
	User string // one of Host.Users
	File string // path of a file with the password on its first line; "": there is no login
}

// Fail2ban is the jail of addresses from which logins fail.
type Fail2ban struct {
	MaxRetry int // failed logins that lead to a ban
	FindTime int // seconds
	BanTime  int // seconds
}

// Profiles is what mail programs are told beside what the listeners say.
type Profiles struct {
	Origin     Pos
	Name       string // one line; "": the domain
	Domain     string // "": Host.MailDomain says which
	Server     string // "": the host's name
	Submission *Submission
	Sign       string // Certificate.Name, or ""
	Dir        string // absolute path; "": no files are written
}

// Submission is the server that takes mail from users.
type Submission struct {
	Server string
	Port   int
	TLS    TLSMode // Implicit or STARTTLS
	Login  string  // "name", "address" or "none"
}

// Sharing says what users may share with each other.
type Sharing struct {
	Virtual bool // virtual users may share mailboxes with each other
}

// Expunge says what happens to messages that are expunged.
type Expunge string

// What can happen to them.
const (
	Remove  Expunge = "remove"
	ToTrash Expunge = "trash" // what is expunged there is gone
)

// TLSMode says how TLS starts on a listener.
type TLSMode string

// The ways in which TLS starts.
const (
	STARTTLS TLSMode = "starttls" // RFC 9051 §6.2.1; no login before it
	Implicit TLSMode = "implicit" // RFC 8314 §3
	Plain    TLSMode = "none"     // loopback addresses only
)

// Listener is one TCP address that the daemon serves.
type Listener struct {
	Name    string
	Origin  Pos
	Address string // an IP address; "" is every address, IPv6 and IPv4
	Port    int    // 1 to 65535
	TLS     TLSMode

	Capabilities Capabilities
	// ClientCertificates says by whose clients may log in; nil: nobody's.
	ClientCertificates *ClientCertificates `json:",omitempty"`
	Proxies            []string            `json:",omitempty"` // addresses and nets of proxies in front of it
	// Proxy is the servers that it stands in front of; nil: it serves this host's mail.
	Proxy *Proxy `json:",omitempty"`
}

// Capabilities says which capabilities of IMAP clients are offered.
type Capabilities struct {
	Off []string // those that are not; as the daemon's table spells them
}

// TLS is the policy of the host and its certificates.
type TLS struct {
	Policy       string        // "modern" or "intermediate" (Mozilla's names)
	Certificates []Certificate // sorted by name
	Default      string        // Certificate.Name for clients that send no SNI name or an unknown one; "" only without certificates
	Tickets      bool          `json:",omitempty"` // clients get tickets, to resume sessions by
	DHParams     *DHParams     `json:",omitempty"` // nil: no file
}

// DHParams is a file with a group for Diffie-Hellman, for other programs.
type DHParams struct {
	File  string // path
	Group string // "ffdhe2048", "ffdhe3072" or "ffdhe4096" (RFC 7919)
}

// Certificate is one certificate chain with its key. Exactly one of Certbot,
// Files and SelfSigned is not nil.
type Certificate struct {
	Name       string // also the name of its bundle
	Origin     Pos
	Names      []string // the DNS names for which it is served, by SNI
	Certbot    *Certbot
	Files      *CertificateFiles
	SelfSigned *SelfSigned
	Stitched   string // path of a Courier-style PEM file (key, then chain) to be kept as well; "" for none
}

// Certbot names a certbot lineage.
type Certbot struct {
	Lineage string // the name of the lineage, as in /etc/letsencrypt/live/NAME
}

// CertificateFiles names PEM files that someone else keeps.
type CertificateFiles struct {
	Certificate string // path: leaf first, then its chain
	Key         string // path
}

// SelfSigned asks for a certificate that Mailstead makes and renews itself.
type SelfSigned struct {
	Days int // how long it is valid
}

// User is a person or a program that logs in. Exactly one of System and
// Virtual is not nil.
type User struct {
	Name    string
	Origin  Pos
	System  *SystemUser
	Virtual *VirtualUser
	Maildir string   // absolute; for a system user also relative to the home directory
	Folders []Folder // everything that is made for this user: those of the policy or else of the host, and their own; sorted by name
	// PurgeInbox is how many days after a message came into the inbox it is removed; 0: it stays.
	PurgeInbox int    `json:",omitempty"`
	Quota      *Quota // nil: as the Maildir says, if it does
	// Expunge is what happens to messages that are expunged.
	Expunge Expunge
	// Elsewhere is the IMAP URL of the server that has the user's mail, with a user
	// and ";AUTH="; "": this one.
	Elsewhere string
	Imports   []Import `json:",omitempty"` // sorted by name

	Capabilities Capabilities
}

// Import is an account at another IMAP server whose mail is brought in.
type Import struct {
	Name         string
	Origin       Pos
	Server       string
	Port         int
	TLS          TLSMode // Implicit or STARTTLS
	User         string
	PasswordFile string   // the password is its first line
	CA           string   // file of certificates; "": the system's
	Into         string   // folder below which everything goes; "": none
	Mailboxes    []string // names there, or patterns; none: all
	Exclude      []string
	Hourly       bool
}

// Quota is how much mail a user may have; 0 is no limit.
type Quota struct {
	Storage  int64 // octets on disk
	Messages int64
	Change   bool // the user may set other limits, which then hold
}

// SystemUser is an account of the host that logs in through PAM. What is
// zero here comes from the host's passwd.
type SystemUser struct {
	Home string
	UID  int
}

// VirtualUser has no account on the host: the mail belongs to Mail.User.
type VirtualUser struct {
	Origin       Pos    `json:"-"` // of the hash, which may be in another file than the user
	PasswordHash Secret // argon2id, bcrypt, SHA-512-crypt or yescrypt in crypt(5) form, or a verifier of SCRAM-SHA-256
}

// Folder is a mailbox that is made for a user.
type Folder struct {
	Name       string // UTF-8, levels parted by "."; without the namespace prefix
	Origin     Pos
	Use        string // special use: "", all, archive, drafts, flagged, junk, sent, trash (RFC 6154)
	Subscribed bool
	PurgeAfter int `json:",omitempty"` // days from when a message came in until it is removed; 0: it stays
}

// Mail says who owns the mail of virtual users.
type Mail struct {
	User string // system account; made if it is missing
	Root string // directory of their Maildirs: Root/NAME/Maildir, or what the user says
}

// Paths are the places that Mailstead uses on a host.
type Paths struct {
	State       string // inventory, bundles, the daemon's configuration
	Run         string // control socket
	Letsencrypt string // certbot's configuration directory
	Units       string // systemd unit files
	Bin         string // directory of mailstead, mailstead-imapd and mailstead-pam
}
