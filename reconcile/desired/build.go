// Package desired says what a host is to be made of: Build turns a checked
// description and the facts of a host into the list of resources that
// reconcile.Diff compares with what is there. It is pure: the same description
// and facts give the same list, to the byte. Request says which facts it needs.
//
// It is called by cmd and owns every decision that needs both sides: who runs
// the daemon, which listeners can be served with the certificates that there
// are, where each user's mail is. It imports schema, render, reconcile and
// reconcile/kind, and neither reads nor writes the host.
package desired

import (
	"fmt"
	"io/fs"
	"path"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// Options says for what sort of host the list is.
type Options struct {
	// Rootless is a host that an ordinary user keeps in directories of their
	// own and serves themselves: no units, no accounts, no hook, and mail for
	// virtual users only, all under the program's own uid. Paths, ports and
	// certificates are the description's, which the caller has made over.
	Rootless bool
	// Serving is a rootless host whose daemon runs. Nothing here would start one, so that
	// without it there is nothing to be brought into force.
	Serving bool
}

// Build lists everything that the host is to have. What cannot be there yet
// (a certificate that certbot has yet to fetch, and the listeners that need it)
// is listed as blocked. What the description asks for and this host can never
// have is an error: schema.Diagnostics with all such faults at once.
func Build(host *schema.Host, facts reconcile.Facts, opts Options) ([]reconcile.Resource, error) {
	b := newBuilder(host, facts, opts)
	b.checkRun()
	b.accounts()
	b.users()
	b.listeners()
	if len(b.faults) > 0 {
		b.sortFaults()
		return nil, b.faults
	}
	for _, step := range []func() error{
		b.check, b.addAccounts, b.addDirectories, b.addMail, b.addCertificates, b.addDHParams, b.addHook, b.addPAM, b.addFail2ban, b.addProfiles, b.addDaemonFiles, b.addDeliveries, b.addUnits, b.addPurge, b.addImports, b.addDaemon, b.addWeb, b.addMetrics,
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("build %s: %w", host.Name, err)
		}
	}
	return b.out, nil
}

// builder collects what Build decides, then the resources.
type builder struct {
	host     *schema.Host
	facts    reconcile.Facts
	rootless bool
	serving  bool
	paths    schema.Paths
	faults   schema.Diagnostics

	owners  []owner // accounts that Mailstead makes; none in a rootless host
	service service
	mail    owner  // of the virtual users
	people  []user // in the order of the description
	certs   []certificate
	serve   []schema.Listener // those that can be served
	waiting []waiting         // those that cannot, yet
	files   render.DaemonFiles
	needs   []reconcile.Ref // what the service reads

	out []reconcile.Resource
}

func newBuilder(host *schema.Host, facts reconcile.Facts, opts Options) *builder {
	return &builder{host: host, facts: facts, rootless: opts.Rootless, serving: opts.Serving, paths: host.Paths}
}

func (b *builder) add(r reconcile.Resource, needs ...reconcile.Ref) reconcile.Ref {
	r.Needs = append(r.Needs, needs...)
	b.out = append(b.out, r)
	return r.Ref
}

// origin is what the host as a whole comes from.
func (b *builder) origin() string { return b.host.Origin.String() }

// root names the owner and group of what nobody but root changes.
func (b *builder) root() string {
	if b.rootless {
		return ""
	}
	return "root"
}

func (b *builder) addDirectories() error {
	root := b.root()
	dir := func(p string, mode fs.FileMode, owner, group string) {
		b.add(kind.Directory(p, mode, owner, group, b.origin()))
	}
	bundles := render.BundleDir(b.paths)
	switch {
	case b.rootless:
		dir(b.paths.State, 0o700, root, root)
		dir(bundles, 0o700, root, root)
		dir(b.paths.Run, 0o700, root, root)
		if b.host.Logins != nil { // the daemon may make it itself, for its record
			dir(render.AuthDir(b.paths), 0o700, root, root)
		}
		if b.hasVirtual() {
			b.add(kind.MailDirectory(b.host.Mail.Root, 0o700, root, root, b.origin()))
		}
		return nil
	default:
		dir(b.paths.State, 0o755, root, root)
		dir(bundles, 0o750, root, b.service.group)
	}
	auth := b.owners[0]
	b.add(kind.Directory(render.AuthDir(b.paths), 0o700, auth.account, auth.group, b.origin()), auth.needs...)
	if b.hasVirtual() {
		b.add(kind.MailDirectory(b.host.Mail.Root, 0o750, b.mail.account, b.mail.group, b.origin()), b.mail.needs...)
	}
	return nil
}

// addHook installs what certbot runs after a renewal, if any certificate is certbot's.
func (b *builder) addHook() error {
	if b.rootless {
		return nil
	}
	for _, c := range b.host.TLS.Certificates {
		if c.Certbot == nil {
			continue
		}
		text, err := render.DeployHook(b.paths)
		if err != nil {
			return err
		}
		hook := render.HookFile(b.paths)
		parent := b.add(kind.Directory(path.Dir(hook), 0o755, "root", "root", c.Origin.String()))
		b.add(kind.File("deploy-hook", kind.FileSpec{
			Path: hook, Mode: 0o755, Owner: "root", Group: "root", Content: text, Impact: reconcile.Live,
		}, c.Origin.String()), parent)
		return nil
	}
	return nil
}

// addDHParams keeps the group that other programs read.
func (b *builder) addDHParams() error {
	d := b.host.TLS.DHParams
	if d == nil {
		return nil
	}
	text, err := render.DHParams(d.Group)
	if err != nil {
		return err
	}
	origin := b.host.Origins["tls/dhparams"]
	b.add(kind.File("file", kind.FileSpec{
		Path: d.File, Mode: 0o644, Owner: b.root(), Group: b.root(), Content: text, Impact: reconcile.Live,
	}, origin.String()))
	return nil
}

// addPAM installs the PAM service, if anybody logs in through PAM.
func (b *builder) addPAM() error {
	for _, u := range b.host.Users {
		if u.System != nil {
			b.needs = append(b.needs, b.add(kind.File("pam-service", kind.FileSpec{
				Path: render.PAMFile, Mode: 0o644, Owner: "root", Group: "root", Content: render.PAMService(b.host.PAM.Session), Impact: reconcile.Live,
			}, u.Origin.String())))
			return nil
		}
	}
	return nil
}

// addFail2ban has failed logins found by fail2ban.
func (b *builder) addFail2ban() error {
	if b.host.Fail2ban == nil || b.rootless {
		return nil
	}
	f := render.Fail2ban{Listeners: b.serve, Web: b.host.Web, Jail: *b.host.Fail2ban}
	filter, err := f.Filter()
	if err != nil {
		return err
	}
	origin := b.host.Origins["fail2ban"].String()
	for _, file := range []struct {
		path    string
		content []byte
	}{{render.Fail2banFilter, filter}, {render.Fail2banJail, f.Settings()}} {
		b.add(kind.File("file", kind.FileSpec{
			Path: file.path, Mode: 0o644, Owner: "root", Group: "root", Content: file.content, Impact: reconcile.Live,
		}, origin))
	}
	return nil
}

func (b *builder) addDaemonFiles() error {
	d := render.Daemon{
		Hostname:  b.host.Name,
		Paths:     b.paths,
		RunAs:     b.service.runAs,
		Login:     b.service.loginAs,
		Inline:    b.service.inline,
		Listeners: b.serve,
		Policy:    b.host.TLS.Policy,
		Tickets:   b.host.TLS.Tickets,
		Default:   b.host.TLS.Default,
		Namespace: b.host.Namespace,
		Sharing:   b.host.Sharing.Virtual,
		Keep:      b.host.Keep,
		Relaxed:   b.host.Relaxed,
		Outbox:    b.host.Outbox,
		About:     b.host.About,
		Limits:    b.host.Limits,
		PAM:       b.hasSystem(), PAMNetwork: b.host.PAM.Asks(), PAMServers: b.host.PAM.Servers,
		Logins: b.host.Logins,
		Web:    b.host.Web,
		WebAs:  b.service.webAs,
	}
	d.Known = render.Known{
		Directories: b.host.Directories, Owner: b.mail.Identity, Root: b.host.Mail.Root,
		Folders: b.host.Folders, Quota: b.host.Quota, Discard: b.host.Expunge == schema.ToTrash,
	}
	if b.hasVirtual() {
		d.MailRoot = b.host.Mail.Root
	}
	for _, c := range b.certs {
		if c.usable {
			d.Certificates = append(d.Certificates, c.want)
		}
	}
	for _, u := range b.people {
		d.Users = append(d.Users, u.login)
	}
	var err error
	if b.files, err = d.Render(); err != nil {
		return err
	}
	users := kind.FileSpec{
		Path: render.UsersFile(b.paths), Mode: 0o600, Owner: b.root(), Group: b.root(),
		Content: b.files.Users, Secret: true, Impact: reconcile.Reload,
	}
	if b.service.group != "" {
		users.Mode, users.Group = 0o640, b.service.group
	}
	list := kind.File("password-file", users, b.origin())
	file := kind.File("daemon-config", kind.FileSpec{
		Path: render.ConfigFile(b.paths), Mode: 0o644, Owner: b.root(), Group: b.root(),
		Content: b.files.Config, Impact: reconcile.Reload,
	}, b.origin())
	if len(b.serve) == 0 && len(b.waiting) > 0 {
		// A daemon that serves must not find nothing to serve when it is started again.
		list.With = []reconcile.Ref{kind.UnitRef(render.ServiceUnit)}
		file.With = list.With
	}
	b.needs = append(b.needs, b.add(list, b.service.needs...), b.add(file))
	return nil
}
