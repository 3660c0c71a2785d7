package kind

import "mailstead/reconcile"

// ServiceUser is a system account without a login. It is made if it is missing
// and never removed.
func ServiceUser(name, home, origin string) reconcile.Resource {
	return reconcile.Resource{
		Ref:    reconcile.Ref{Kind: "service-user", Name: name},
		Origin: origin,
		Attrs:  []reconcile.Attr{{Name: "home", Value: home, Impact: reconcile.Live}},
	}
}
