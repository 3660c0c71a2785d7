// Package kind holds the kinds of resources that a mail host is made of: one
// file per kind, each with the constructor of a wanted resource (pure; called
// by reconcile/desired), with Observe, which only reads, and Apply, which
// changes the host. Host.Table lists them in apply order for reconcile.
//
// There are two zones. Where only root can write, the program works as itself,
// on descriptors of checked directories. Below a directory that a user can
// write, it works as that user: root starts a helper that has dropped to the
// user's uid (HelperMain), and that works beneath an opened directory and
// follows no link.
//
// It must not import schema or render: what it is told is in the resources.
package kind

import (
	"io/fs"

	"mailstead/reconcile"
)

// Self is the value of the attributes owner and group when whoever runs the
// program is meant.
const Self = "self"

// MaildirSpec is the mail of one user: a Maildir and what lies around it.
type MaildirSpec struct {
	User     string // the user's name in the description
	Path     string // of the Maildir, absolute
	Home     string // home directory, absolute; for a virtual user Mail.Root, or the directory in it on the way to the mail, which is made if Mail.Root exists
	UID, GID int    // who owns all of it
}

// FolderSpec is a mailbox that a user gets.
type FolderSpec struct {
	Name       string // UTF-8, levels parted by ".", without prefix
	Use        string // "" or one of maildir.Uses
	Subscribed bool
}

// FileSpec is a file in a directory that only root (or who runs the program) writes.
type FileSpec struct {
	Path         string // absolute
	Mode         fs.FileMode
	Owner, Group string // names; "" is who runs the program
	Content      []byte
	Secret       bool             // never show the content
	Impact       reconcile.Impact // of another content; "" is live
}

// Source is where a certificate comes from.
type Source string

// The sources.
const (
	Certbot    Source = "certbot"     // a lineage below live/
	Files      Source = "files"       // files that someone else keeps
	SelfSigned Source = "self-signed" // made and renewed here
)

// CertificateSpec is a certificate and the bundle that the daemon reads.
type CertificateSpec struct {
	Name        string   // in the description
	Names       []string // DNS names that it must cover
	Source      Source
	Certificate string // Certbot, Files: path of the leaf and its chain; of a lineage live/NAME/fullchain.pem
	Key         string // Certbot, Files: path of the private key; of a lineage live/NAME/privkey.pem
	Days        int    // SelfSigned: how long it is valid
	Bundle      string // path of the bundle: key first, then chain
	Group       string // who else may read the bundle, which is then 0640 (a daemon that does not run as root); "": nobody, 0600
	Stitched    string // path of a copy of the bundle for other programs, always 0600; "" for none
}

// Run says whether a unit is to run.
type Run string

// The ways of a unit.
const (
	Up     Run = "up"     // runs, now and after a reboot if it is enabled
	Down   Run = "down"   // does not run
	Either Run = "either" // starts and ends by itself: not compared
)

// UnitSpec is a systemd unit.
type UnitSpec struct {
	Name    string // such as "mailstead-imap.socket"
	Path    string // of its file
	Content []byte
	Enable  bool
	Run     Run
	Service string           // of a socket: the service that it activates
	Ends    reconcile.Impact // what it means to people that it is started anew; "": by its type
	Reads   string           // digest of what only a restart makes the unit read again, such as its program; "" for nothing
}

// DaemonSpec is what the running daemon is to serve.
type DaemonSpec struct {
	Control    string            // path of the control socket
	Unit       string            // its service; "" where systemd does not run it
	Generation string            // of the configuration
	Config     string            // SHA-256 of the configuration, lower-case hex
	Users      string            // SHA-256 of the list of users
	Logins     map[string]string // unit that serves it, by listener name
	Listeners  map[string]string // address to bind ("host:port", ":port" for every address) by listener name
	Bundles    map[string]string // fingerprint by certificate name; "" for a certificate that this plan makes
	Chains     map[string]string // digest of the whole chain by certificate name, where it is known
}
