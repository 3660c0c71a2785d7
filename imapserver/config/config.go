// Package config is the daemon's own configuration: two files that render
// writes and mailstead-imapd reads. config.json says what to serve, users.ndjson
// (one JSON object a line) who may log in. It imports nothing of the project.
package config

// FormatVersion is the version of both files that this package reads and writes.
const FormatVersion = 1

// Config is config.json.
type Config struct {
	Version    int        `json:"version"`
	Generation string     `json:"generation"` // digest of everything that the daemon reads; reported by its status
	Hostname   string     `json:"hostname"`
	Control    string     `json:"control"` // path of the control socket
	Users      string     `json:"users"`   // path of users.ndjson
	Service    Identity   `json:"service"` // who login and auth run as
	Listeners  []Listener `json:"listeners"`
	TLS        TLS        `json:"tls"`
	Namespace  string     `json:"namespace,omitempty"` // personal namespace prefix: "" or "INBOX."
	PAM        *PAM       `json:"pam,omitempty"`       // nil: no user logs in through PAM
	Workers    Workers    `json:"workers"`
}

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
	Name    string `json:"name"` // also the name of its descriptor under socket activation
	Address string `json:"address,omitempty"`
	Port    int    `json:"port"`
	TLS     string `json:"tls"` // "starttls", "implicit" or "none"
}

// TLS is the certificates by SNI name.
type TLS struct {
	Policy  string   `json:"policy"`            // "modern" or "intermediate"
	Bundles []Bundle `json:"bundles,omitempty"` // the first is the default
}

// Bundle is a certificate chain and its key in one PEM file, key first.
type Bundle struct {
	Name  string   `json:"name"`
	File  string   `json:"file"`
	Names []string `json:"names"` // SNI names; a leading "*." matches one label
}

// PAM says how to reach PAM.
type PAM struct {
	Service string `json:"service"` // name below /etc/pam.d
	Helper  string `json:"helper"`  // path of mailstead-pam
}

// User is one line of users.ndjson.
type User struct {
	Name    string `json:"name"`
	Hash    string `json:"hash,omitempty"` // crypt(5) form; empty: PAM
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Home    string `json:"home"`
	Maildir string `json:"maildir"` // absolute
}
