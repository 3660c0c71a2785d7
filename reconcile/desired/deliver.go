package desired

import (
	"slices"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
)

// addDeliveries adds what mailstead-deliver goes by. Names of accounts are no
// secret, and each of them may run it; other users are the business of the owner
// of their mail.
func (b *builder) addDeliveries() error {
	d := b.host.Deliver
	if d == nil {
		return nil
	}
	users := map[bool][]render.User{}
	for _, u := range b.people {
		if u.want.Elsewhere == "" {
			users[u.want.Virtual != nil] = append(users[u.want.Virtual != nil], u.login)
		}
	}
	for _, virtual := range []bool{false, true} {
		if len(users[virtual]) == 0 && (virtual || len(users) > 0) {
			continue
		}
		root := ""
		if virtual {
			root = b.host.Mail.Root
		}
		ask := ""
		if len(b.host.Directories) > 0 {
			ask = render.DeliverSocket(b.paths)
		}
		text, err := render.Deliveries(*d, ask, root, users[virtual], users[!virtual])
		if err != nil {
			return err
		}
		file := kind.FileSpec{Path: render.DeliveryFile(b.paths, virtual), Mode: 0o644, Owner: b.root(), Group: b.root(), Content: text, Impact: reconcile.Live}
		var needs []reconcile.Ref
		if virtual && !b.rootless {
			file.Mode, file.Group, needs = 0o640, b.mail.group, b.mail.needs
		}
		b.add(kind.File("file", file, d.Origin.String()), needs...)
	}
	b.add(b.addresses(users[false], users[true]))
	return nil
}

// addresses is the list that a mail server asks before it takes mail.
func (b *builder) addresses(system, virtual []render.User) reconcile.Resource {
	d := b.host.Deliver
	file := kind.FileSpec{Path: render.AddressFile(b.paths), Mode: 0o600, Owner: b.root(), Group: b.root(), Content: render.Addresses(*d, system, virtual), Impact: reconcile.Live}
	if d.Group != "" && !b.rootless {
		file.Mode, file.Group = 0o640, d.Group
	}
	return kind.File("file", file, d.Origin.String())
}

// addLMTP adds what takes mail by LMTP.
func (b *builder) addLMTP() error {
	if b.host.Deliver == nil || b.host.Deliver.LMTP == nil {
		return nil
	}
	l := *b.host.Deliver.LMTP
	socket, err := render.LMTPSocket(l.Socket, b.host.Deliver.Group)
	if err != nil {
		return err
	}
	service, err := render.LMTP{
		Systemd: b.systemd(), Paths: b.paths, Host: b.host.Name, Account: b.service.spawn, Front: b.service.loginAs, MailRoots: b.mailRoots(), Asks: len(b.host.Directories) > 0,
	}.Render()
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: render.LMTPSocketUnit, Content: socket, Enable: true, Run: kind.Up, Service: render.LMTPUnit, Ends: reconcile.Live}, l.Origin.String(), nil)
	b.addUnit(kind.UnitSpec{Name: render.LMTPUnit, Content: service, Enable: true, Run: kind.Up, Reads: b.facts.Program, Ends: reconcile.Live}, l.Origin.String(), nil,
		slices.Concat(b.service.needs, b.mail.needs, []reconcile.Ref{kind.UnitRef(render.LMTPSocketUnit)})...)
	return nil
}
