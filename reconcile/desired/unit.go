package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"slices"
	"strconv"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// oldestSystemd is what units are rendered for where no systemd runs: Debian 12's.
const oldestSystemd = 252

const (
	noSystemd  = "systemd does not run on this host, and nothing else starts the daemon: boot with systemd, or use --rootless and mailstead up"
	noListener = "no listener can be served yet"
)

func (b *builder) addUnits() error {
	if b.rootless {
		return nil
	}
	if err := b.addRoles(); err != nil {
		return err
	}
	for _, l := range b.serve {
		if err := b.addListener(l, nil); err != nil {
			return err
		}
	}
	for _, w := range b.waiting {
		if err := b.addListener(w.listener, &w.block); err != nil {
			return err
		}
	}
	for _, add := range []func() error{b.addOutbox, b.addLMTP} {
		if err := add(); err != nil {
			return err
		}
	}
	text, err := render.Boot{Systemd: b.systemd(), Paths: b.paths, MailRoots: b.mailRoots()}.Render()
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: render.ApplyUnit, Content: text, Enable: true, Run: kind.Either}, b.origin(), nil)
	return b.addCertCheck()
}

// addCertCheck adds what looks after the certificates, if there are any.
func (b *builder) addCertCheck() error {
	if len(b.certs) == 0 {
		return nil
	}
	check := render.CertCheck{Systemd: b.systemd(), Paths: b.paths}
	service, err := check.Service()
	if err != nil {
		return err
	}
	timer, err := check.Timer()
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: render.CheckUnit, Content: service, Run: kind.Either}, b.origin(), nil)
	b.addUnit(kind.UnitSpec{Name: render.CheckTimer, Content: timer, Enable: true, Run: kind.Up}, b.origin(), nil, kind.UnitRef(render.CheckUnit))
	return nil
}

// addRoles adds auth, spawn and what asks PAM, with the sockets between them.
func (b *builder) addRoles() error {
	auth := render.Service{Systemd: b.systemd(), Paths: b.paths, Account: b.service.account, Servers: b.host.Servers(), Groups: b.host.Groups()}
	spawn := render.Spawn{Systemd: b.systemd(), Paths: b.paths, Account: b.service.spawn, AuthUID: b.service.runAs.UID, MailRoots: b.mailRoots()}
	block := b.nothingToServe()
	rows := []struct {
		unit   kind.UnitSpec
		render func() ([]byte, error)
		needs  []reconcile.Ref
	}{
		{kind.UnitSpec{Name: render.AuthSocketUnit, Service: render.ServiceUnit, Ends: reconcile.Reload},
			func() ([]byte, error) { return render.AuthChannel(b.paths, b.service.login) }, b.service.needs},
		{kind.UnitSpec{Name: render.SpawnSocketUnit, Service: render.SpawnUnit, Ends: reconcile.Restart},
			func() ([]byte, error) { return render.SpawnChannel(b.paths, b.service.account) }, b.service.needs},
		{kind.UnitSpec{Name: render.ServiceUnit, Reads: b.facts.Program, Ends: reconcile.Reload}, auth.Render, slices.Concat(b.needs, b.service.needs)},
		{kind.UnitSpec{Name: render.SpawnUnit, Reads: b.facts.Program, Ends: reconcile.Restart}, spawn.Render, slices.Concat(b.service.needs, b.mail.needs)},
	}
	for _, row := range rows {
		text, err := row.render()
		if err != nil {
			return err
		}
		row.unit.Content, row.unit.Enable, row.unit.Run = text, true, kind.Up
		b.addUnit(row.unit, b.origin(), block, row.needs...)
	}
	return b.addPAMUnits(block)
}

// addPAMUnits adds what starts mailstead-pam, if anybody logs in through PAM.
func (b *builder) addPAMUnits(block *reconcile.Block) error {
	if !b.hasSystem() {
		return nil
	}
	helper, err := render.PAMHelper{Systemd: b.systemd(), Paths: b.paths, Network: b.host.PAM.Asks(), Servers: b.host.PAM.Servers}.Render()
	if err != nil {
		return err
	}
	socket, err := render.PAMChannel(b.paths, b.service.account)
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: render.PAMUnit, Content: helper, Run: kind.Either}, b.origin(), block)
	b.addUnit(kind.UnitSpec{Name: render.PAMSocketUnit, Content: socket, Enable: true, Run: kind.Up, Ends: reconcile.Live}, b.origin(), block,
		slices.Concat(b.service.needs, []reconcile.Ref{kind.UnitRef(render.PAMUnit)})...)
	return nil
}

// addListener adds a listener's socket and the login that serves it.
func (b *builder) addListener(l schema.Listener, block *reconcile.Block) error {
	socket, err := render.Socket(l)
	if err != nil {
		return err
	}
	login, err := render.Login{Systemd: b.systemd(), Paths: b.paths, Account: b.service.login, Listener: l.Name, Proxy: l.Proxy != nil}.Render()
	if err != nil {
		return err
	}
	unit := render.LoginUnit(l.Name)
	b.addUnit(kind.UnitSpec{Name: render.SocketUnit(l.Name), Content: socket, Enable: true, Run: kind.Up, Service: unit, Ends: reconcile.Rebind}, l.Origin.String(), block)
	b.addUnit(kind.UnitSpec{Name: unit, Content: login, Enable: true, Run: kind.Up, Reads: b.facts.Program, Ends: reconcile.Rebind}, l.Origin.String(), block,
		slices.Concat(b.service.needs, []reconcile.Ref{kind.UnitRef(render.AuthSocketUnit), kind.UnitRef(render.ServiceUnit)})...)
	return nil
}

// addOutbox adds what sends users' mail.
func (b *builder) addOutbox() error {
	o := b.host.Outbox
	if o == nil {
		return nil
	}
	service, err := render.OutboxService(b.paths, o.Command)
	if err != nil {
		return err
	}
	socket, err := render.OutboxSocketUnit(b.paths)
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: render.OutboxSends, Content: service, Run: kind.Either}, o.Origin.String(), nil)
	b.addUnit(kind.UnitSpec{Name: render.OutboxUnit, Content: socket, Enable: true, Run: kind.Up}, o.Origin.String(), nil, kind.UnitRef(render.OutboxSends))
	return nil
}

// addUnit adds a unit.
func (b *builder) addUnit(u kind.UnitSpec, origin string, block *reconcile.Block, needs ...reconcile.Ref) {
	u.Path = render.UnitFile(b.paths, u.Name)
	r := kind.Unit(u, origin)
	r.Blocked = block
	if b.facts.Systemd == 0 {
		r.Blocked = &reconcile.Block{Reason: noSystemd}
	}
	b.add(r, needs...)
}

func (b *builder) systemd() int {
	if b.facts.Systemd == 0 {
		return oldestSystemd
	}
	return b.facts.Systemd
}

// nothingToServe blocks the daemon as long as there is no listener for it, for
// the reason that the first of them has.
func (b *builder) nothingToServe() *reconcile.Block {
	switch {
	case len(b.serve) > 0:
		return nil
	case len(b.waiting) > 0:
		return &b.waiting[0].block
	}
	return &reconcile.Block{Reason: noListener}
}

// digest is how the daemon names a file that it has read.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// addDaemon says what the running daemon is to serve.
func (b *builder) addDaemon() error {
	block := b.nothingToServe()
	if b.rootless && (!b.serving || block != nil) {
		return nil // nobody is to start one, or to wait with it
	}
	d := kind.DaemonSpec{
		Control: render.ControlSocket(b.paths), Generation: b.files.Generation,
		Config: digest(b.files.Config), Users: digest(b.files.Users),
		Listeners: map[string]string{}, Logins: map[string]string{}, Bundles: map[string]string{}, Chains: map[string]string{},
	}
	needs := b.needs
	if !b.rootless {
		d.Unit, needs = render.ServiceUnit, []reconcile.Ref{kind.UnitRef(render.ServiceUnit)}
	}
	for _, l := range b.serve {
		if !b.rootless {
			d.Logins[l.Name] = render.LoginUnit(l.Name)
		}
		d.Listeners[l.Name] = net.JoinHostPort(l.Address, strconv.Itoa(l.Port))
	}
	unreadable := ""
	for _, c := range b.certs {
		if c.usable {
			d.Bundles[c.want.Name], d.Chains[c.want.Name] = c.serves, c.chain
		}
		if c.serves == "" && c.have.Unreadable != "" {
			unreadable = c.have.Unreadable
		}
	}
	r := kind.Daemon(d, b.origin())
	r.Unreadable = unreadable
	r.Blocked = block
	if b.facts.Systemd == 0 && !b.rootless {
		r.Blocked = &reconcile.Block{Reason: noSystemd}
	}
	b.add(r, needs...)
	return nil
}
