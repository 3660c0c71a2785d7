package desired

import (
	"slices"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
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
		What: "remove messages that are old enough", Command: []string{"purge", render.Description}, Calendar: "daily", Writes: render.PurgeDir(b.paths),
	}, file)
}

// addImports adds what brings mail in from elsewhere every hour.
func (b *builder) addImports() error {
	hourly := slices.ContainsFunc(b.host.Users, func(u schema.User) bool {
		return slices.ContainsFunc(u.Imports, func(i schema.Import) bool { return i.Hourly })
	})
	if !hourly || b.rootless {
		return nil
	}
	return b.addPeriodic(render.ImportUnit, render.ImportTimer, render.Periodic{
		What: "bring mail in from elsewhere", Command: []string{"import", "--hourly", render.Description}, Calendar: "hourly", Network: true,
	})
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
