package desired

import (
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
)

// addMetrics adds what Prometheus asks, and what tells it what to make of the answers.
func (b *builder) addMetrics() error {
	place := b.host.Metrics
	if place == nil || b.rootless {
		return nil
	}
	origin := place.Origin.String()
	m := render.Metrics{Systemd: b.systemd(), Paths: b.paths, Account: b.service.login, Place: place}
	socket, err := m.Socket()
	if err != nil {
		return err
	}
	service, err := m.Service()
	if err != nil {
		return err
	}
	b.addUnit(kind.UnitSpec{Name: render.MetricsSocketUnit, Content: socket, Enable: true, Run: kind.Up, Service: render.MetricsUnit, Ends: reconcile.Live}, origin, nil)
	b.addUnit(kind.UnitSpec{Name: render.MetricsUnit, Content: service, Enable: true, Run: kind.Up, Reads: digest([]byte(b.facts.Program)), Ends: reconcile.Live}, origin, nil,
		append([]reconcile.Ref{kind.UnitRef(render.MetricsSocketUnit), kind.UnitRef(render.ServiceUnit)}, b.service.needs...)...)
	return nil
}
