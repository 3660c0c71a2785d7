package reconcile

import "time"

// Facts are what is known of a host before anything is compared: the result of
// target.Gather, the input of desired.Build. A plan is a function of the
// description and the facts.
type Facts struct {
	Hostname     string
	Systemd      int                    // version of the running systemd; 0: the host does not run it
	Root         bool                   // the program may change everything on the host
	UID, GID     int                    // of the program
	Accounts     map[string]Account     // system accounts that the description names, by name; absent: no such account
	FreeIDs      []int                  // below 1000 and neither a uid nor a gid of anyone, from the highest: for accounts to be made
	Certificates map[string]Certificate // by the name in the description
	PAMHelper    bool                   // mailstead-pam stands beside the other programs, was built with PAM, and nobody else can change it
	PAMAskers    []string               `json:",omitempty"` // what in PAM's rules for our service is known to ask servers over the network, and where it stands
	Program      string                 // SHA-256 of mailstead-imapd, lower-case hex: another one runs only after a restart; "" if it cannot be read
}

// Account is one line of the host's passwd.
type Account struct {
	UID, GID int
	Home     string
	Group    string // name of its main group
}

// Certificate is what the source of a certificate holds now: certbot's lineage,
// files, or, for a self-signed one, the bundle that was made before.
//
// Of a self-signed certificate that has to be made or renewed first, the
// Fingerprint is "" with Missing, Fault and Unreadable empty too.
type Certificate struct {
	Missing     string // why there is none yet; "" where there is one
	Command     string // what the operator runs to get what is missing; "" where no command is known
	Fault       string // why what is there cannot be used (every fault, joined by "; "); "" if it can
	Unreadable  string // why the program may not look; "" if it may
	Fingerprint string // SHA-256 of the leaf's DER, lower-case hex; "" unless the source can be used
	Chain       string // SHA-256 of the whole chain's DER, lower-case hex
	Names       []string
	NotBefore   time.Time
	NotAfter    time.Time
	// Installed is the fingerprint of the bundle that the daemon reads now, ""
	// if there is none that can be used. Where the source cannot be used, this
	// is what goes on being served.
	Installed      string
	InstalledUntil time.Time // when that one expires; zero if there is none
	InstalledChain string    // of its whole chain, as Chain
}
