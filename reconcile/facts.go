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
	Certificates map[string]Certificate // by the name in the description
	PAMHelper    bool                   // mailstead-pam stands beside the other programs
}

// Account is one line of the host's passwd.
type Account struct {
	UID, GID int
	Home     string
}

// Certificate is what the source of a certificate (certbot's lineage, files,
// or the bundle that was made before) holds now.
type Certificate struct {
	Missing     string // why there is none yet, with what makes it; "" where there is one
	Fault       string // why what is there cannot be used; "" if it can
	Fingerprint string // SHA-256 of the leaf's DER, lower-case hex
	Names       []string
	NotBefore   time.Time
	NotAfter    time.Time
}
