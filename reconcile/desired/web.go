package desired

import (
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
)

// addWeb adds the page for users and admins.
func (b *builder) addWeb() error {
	page := b.host.Web
	if page == nil || b.rootless {
		return nil
	}
	origin := page.Origin.String()
	settings, err := render.WebFileContent(b.host)
	if err != nil {
		return err
	}
	file := b.add(kind.File("file", kind.FileSpec{
		Path: render.WebFile(b.paths), Mode: 0o644, Owner: "root", Group: "root", Content: settings, Impact: reconcile.Live,
	}, origin))
	b.add(kind.Directory(render.WebDir(b.paths), 0o700, "root", "root", origin))
	w := render.Web{Systemd: b.systemd(), Paths: b.paths, Account: b.service.web, Page: page}
	does, door := kind.UnitRef(render.WebAdminDoes), kind.UnitRef(render.WebAdminUnit)
	rows := []struct {
		unit   kind.UnitSpec
		render func() ([]byte, error)
		needs  []reconcile.Ref
	}{
		{kind.UnitSpec{Name: render.WebAdminDoes, Run: kind.Either}, w.AdminService, nil},
		{kind.UnitSpec{Name: render.WebAdminUnit, Enable: true, Run: kind.Up, Ends: reconcile.Live}, w.AdminSocket, append([]reconcile.Ref{does}, b.service.needs...)},
		{kind.UnitSpec{Name: render.WebSocketUnit, Enable: true, Run: kind.Up, Service: render.WebUnit, Ends: reconcile.Live}, w.Socket, nil},
		{kind.UnitSpec{Name: render.WebUnit, Enable: true, Run: kind.Up, Reads: digest([]byte(b.facts.Program + digest(settings))), Ends: reconcile.Live}, w.Service,
			append([]reconcile.Ref{file, door, kind.UnitRef(render.ServiceUnit)}, b.service.needs...)},
	}
	for _, row := range rows {
		if row.unit.Content, err = row.render(); err != nil {
			return err
		}
		b.addUnit(row.unit, origin, nil, row.needs...)
	}
	return nil
}
