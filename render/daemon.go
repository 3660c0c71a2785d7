package render

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"mailstead/imapserver/config"
	"mailstead/schema"
)

// Daemon is what the daemon's two files are made of.
type Daemon struct {
	Hostname     string
	Paths        schema.Paths
	RunAs        Identity // who auth runs as; inline, everything
	Login        Identity // who logins run as
	Inline       bool     // one process for everything
	MailRoot     string   // below which the mail of virtual users is; "" without them
	Listeners    []schema.Listener
	Policy       string
	Tickets      bool                 // clients may resume sessions of TLS
	Certificates []schema.Certificate // that can be served
	Default      string               // the certificate for clients that ask for no name that there is
	Namespace    string
	Sharing      bool // virtual users may share mail
	Keep         int  // days for which what is expunged is kept aside
	Relaxed      bool // flags and removals need not be on disk when they are acknowledged
	Outbox       *schema.Outbox
	About        schema.About
	PAM          bool             // somebody logs in through PAM
	PAMNetwork   bool             // whose modules may ask servers
	PAMServers   []string         // and these alone; empty: any
	Limits       map[string]int64 // those that the description sets
	Users        []User
	Known        Known
	Logins       *schema.Logins
	Web          *schema.Web // nil: there is no page
	WebAs        Identity    // who the page runs as
}

// Identity is a numeric uid and gid.
type Identity struct{ UID, GID int }

// User is somebody who may log in, with everything that the host knows of them.
type User struct {
	Name      string
	Hash      schema.Secret // "" asks PAM
	Identity                // who owns the mail
	Home      string
	Maildir   string   // absolute
	Off       []string // capabilities that are switched off
	Quota     *schema.Quota
	Discard   bool   // what is expunged goes into the trash
	Elsewhere string // IMAP URL of the server that has the mail
}

// DaemonFiles are the texts of the daemon's two files.
type DaemonFiles struct {
	Config     []byte
	Users      []byte
	Generation string // of both together, as the daemon reports it
}

// Render writes the two files.
func (d Daemon) Render() (DaemonFiles, error) {
	workers := config.WorkerPerUID
	if d.Inline {
		workers = config.WorkerInline
	}
	users, err := renderUsers(d.Users, d.Logins, workers)
	if err != nil {
		return DaemonFiles{}, err
	}
	c := &config.Config{
		Version:   config.FormatVersion,
		Hostname:  d.Hostname,
		Control:   ControlSocket(d.Paths),
		Users:     UsersFile(d.Paths),
		Service:   config.Identity(d.RunAs),
		Listeners: renderListeners(d.Listeners),
		TLS:       config.TLS{Policy: d.Policy, Tickets: d.Tickets, Bundles: renderBundles(d)},
		Namespace: d.Namespace,
		Sharing:   d.Sharing,
		Keep:      int64(d.Keep) * 24 * 60 * 60,
		Relaxed:   d.Relaxed,
		Record:    RecordDir(d.Paths),
		Admin:     d.About.Admin,
		Comment:   d.About.Comment,
		Limits:    d.Limits,
		Workers:   workers,
	}
	if o := d.Outbox; o != nil {
		c.Outbox = &config.Outbox{Mailbox: o.Folder, Socket: OutboxSocket(d.Paths), Header: o.Header, Multiple: o.Multiple}
	}
	if d.PAM {
		c.PAM = &config.PAM{Service: PAMName, Helper: Program(d.Paths, "mailstead-pam"), Network: d.PAMNetwork, Servers: d.PAMServers}
		if !d.Inline {
			c.PAM.Socket = PAMSocket(d.Paths)
		}
	}
	if !d.Inline {
		c.Roles = &config.Roles{Login: config.Identity(d.Login), Auth: AuthSocket(d.Paths), Spawn: SpawnSocket(d.Paths)}
		c.MailRoot = d.MailRoot
	}
	if d.Web != nil && !d.Inline {
		c.Web = &config.Web{UID: d.WebAs.UID, Certificate: d.Web.Certificate}
	}
	d.Known.render(c)
	c.Logins = renderLogins(d.Logins, d.Paths)
	if c.Generation, err = config.Generation(c, bytes.NewReader(users)); err != nil {
		return DaemonFiles{}, err
	}
	data, err := config.Encode(c)
	if err != nil {
		return DaemonFiles{}, err
	}
	return DaemonFiles{Config: data, Users: users, Generation: c.Generation}, nil
}

func renderListeners(listeners []schema.Listener) []config.Listener {
	out := make([]config.Listener, 0, len(listeners))
	for _, l := range listeners {
		out = append(out, config.Listener{Name: l.Name, Address: l.Address, Port: l.Port, TLS: string(l.TLS), Off: l.Capabilities.Off, Clients: renderClients(l.ClientCertificates), Proxies: l.Proxies, Proxy: renderProxy(l.Proxy)})
	}
	slices.SortFunc(out, func(a, b config.Listener) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// renderBundles puts the default first; the others follow by name.
func renderBundles(d Daemon) []config.Bundle {
	out := make([]config.Bundle, 0, len(d.Certificates))
	for _, c := range d.Certificates {
		out = append(out, config.Bundle{Name: c.Name, File: BundleFile(d.Paths, c.Name), Names: c.Names})
	}
	slices.SortFunc(out, func(a, b config.Bundle) int {
		if (a.Name == d.Default) != (b.Name == d.Default) {
			if a.Name == d.Default {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

func renderUsers(users []User, logins *schema.Logins, workers config.Workers) ([]byte, error) {
	out := make([]config.User, 0, len(users))
	for _, u := range users {
		out = append(out, config.User{
			Name: u.Name, Hash: string(u.Hash),
			UID: u.UID, GID: u.GID, Home: u.Home, Maildir: u.Maildir, Off: u.Off, Quota: renderQuota(u.Quota), Elsewhere: u.Elsewhere, Discard: u.Discard,
		})
	}
	slices.SortFunc(out, func(a, b config.User) int { return strings.Compare(a.Name, b.Name) })
	out = append(out, renderMasters(logins)...)
	var b bytes.Buffer
	if err := config.EncodeUsers(&b, workers, out); err != nil {
		return nil, fmt.Errorf("render users: %w", err)
	}
	return b.Bytes(), nil
}
