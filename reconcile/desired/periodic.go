package desired

import (
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
)

// addPurge adds the rules by which messages are removed, and what goes by them.
func (b *builder) addPurge() error {
	rules := render.PurgeRules(b.host)
	if len(rules) == 0 {
		return nil
	}
	data, err := render.EncodePurge(rules)
	if err != nil {
		return err
	}
	file := b.add(kind.File("file", kind.FileSpec{
		Path: render.PurgeFile(b.paths), Mode: 0o644, Owner: b.root(), Group: b.root(), Content: data, Impact: reconcile.Live,
	}, b.origin()))
	if b.rootless {
		return nil
	}
	b.add(kind.Directory(render.PurgeDir(b.paths), 0o700, b.root(), b.root(), b.origin()))
	return b.addPeriodic(render.PurgeUnit, render.PurgeTimer, render.Periodic{
		What: "remove messages that are old enough", Command: []string{"purge", render.Description}, Calendar: "daily", Writes: []string{render.PurgeDir(b.paths)},
	}, file)
}

// addImports adds what brings mail in from elsewhere every hour, and who has the network
// for it.
func (b *builder) addImports() error {
	imports := render.Periodic{
		What: "bring mail in from elsewhere", Calendar: "hourly", Becomes: true,
		Command: []string{"import", "--hourly", "--connect-by", render.ConnectSocket(b.paths), render.Description},
	}
	var roots []string
	hourly := false
	for _, u := range b.people {
		for _, i := range u.want.Imports {
			if i.Hourly {
				hourly = true
				roots = append(roots, u.root(b.host.Mail.Root))
				imports.Reads = append(imports.Reads, i.PasswordFile, i.CA)
			}
		}
	}
	if !hourly || b.rootless {
		return nil
	}
	imports.Writes = highest(roots)
	service, err := render.Connector{Systemd: b.systemd(), Paths: b.paths}.Render()
	if err != nil {
		return err
	}
	socket, err := render.ConnectChannel(b.paths)
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: render.ConnectUnit, Content: service, Run: kind.Either}, b.origin(), nil)
	b.addUnit(kind.UnitSpec{Name: render.ConnectSocketUnit, Content: socket, Enable: true, Run: kind.Up, Ends: reconcile.Live}, b.origin(), nil, kind.UnitRef(render.ConnectUnit))
	return b.addPeriodic(render.ImportUnit, render.ImportTimer, imports, kind.UnitRef(render.ConnectSocketUnit))
}

func (b *builder) addPeriodic(unit, timer string, p render.Periodic, needs ...reconcile.Ref) error {
	p.Systemd, p.Paths = b.systemd(), b.paths
	service, err := p.Service()
	if err != nil {
		return err
	}
	when, err := p.Timer()
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: unit, Content: service, Run: kind.Either}, b.origin(), nil, needs...)
	b.addUnit(kind.UnitSpec{Name: timer, Content: when, Enable: true, Run: kind.Up}, b.origin(), nil, kind.UnitRef(unit))
	return nil
}
