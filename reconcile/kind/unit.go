package kind

import "mailstead/reconcile"

// Unit is a systemd unit: its file, whether it is enabled, and whether it runs
// what its file says now.
func Unit(u UnitSpec, origin string) reconcile.Resource {
	r := reconcile.Resource{
		Ref:    UnitRef(u.Name),
		Origin: origin,
		Attrs: []reconcile.Attr{
			{Name: "path", Value: u.Path, Impact: reconcile.Live},
			{Name: "run", Value: string(u.Run), Impact: reconcile.Live},
		},
	}
	return r
}

// UnitRef names a systemd unit.
func UnitRef(name string) reconcile.Ref { return reconcile.Ref{Kind: "unit", Name: name} }
