package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
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
	for _, l := range b.serve {
		if err := b.addSocket(l, nil); err != nil {
			return err
		}
	}
	for _, w := range b.waiting {
		if err := b.addSocket(w.listener, &w.block); err != nil {
			return err
		}
	}
	if err := b.addService(); err != nil {
		return err
	}
	if err := b.addOutbox(); err != nil {
		return err
	}
	text, err := render.Boot{Systemd: b.systemd(), Paths: b.paths}.Render()
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

func (b *builder) addSocket(l schema.Listener, block *reconcile.Block) error {
	text, err := render.Socket(l)
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: render.SocketUnit(l.Name), Content: text, Enable: true, Run: kind.Up, Service: render.ServiceUnit}, l.Origin.String(), block)
	return nil
}

func (b *builder) addService() error {
	s := render.Service{
		Systemd: b.systemd(), Paths: b.paths, Account: b.service.account, MailRoots: b.mailRoots(),
		Network: b.host.AsksNetwork(), Groups: b.host.Groups(),
	}
	for _, l := range b.serve {
		s.Listeners = append(s.Listeners, l.Name)
	}
	text, err := s.Render()
	if err != nil {
		return err
	}
	needs := append(b.needs, b.service.needs...)
	b.addUnit(kind.UnitSpec{Name: render.ServiceUnit, Content: text, Enable: true, Run: kind.Up, Reads: b.facts.Program}, b.origin(), b.nothingToServe(), needs...)
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
	if b.rootless {
		return nil
	}
	d := kind.DaemonSpec{
		Control: render.ControlSocket(b.paths), Unit: render.ServiceUnit, Generation: b.files.Generation,
		Config: digest(b.files.Config), Users: digest(b.files.Users),
		Listeners: map[string]string{}, Bundles: map[string]string{},
	}
	for _, l := range b.serve {
		d.Listeners[l.Name] = net.JoinHostPort(l.Address, strconv.Itoa(l.Port))
	}
	unreadable := ""
	for _, c := range b.certs {
		if c.usable {
			d.Bundles[c.want.Name] = c.serves
		}
		if c.serves == "" && c.have.Unreadable != "" {
			unreadable = c.have.Unreadable
		}
	}
	r := kind.Daemon(d, b.origin())
	r.Unreadable = unreadable
	r.Blocked = b.nothingToServe()
	if b.facts.Systemd == 0 {
		r.Blocked = &reconcile.Block{Reason: noSystemd}
	}
	b.add(r, kind.UnitRef(render.ServiceUnit))
	return nil
}
