package kind

import (
	"strconv"

	"mailstead/reconcile"
)

// ServiceUser is a system account without a login, with a group of its own. It
// is made if it is missing and never removed. Its uid is known before it is
// made, since the files that are planned with it name it: that of the account
// that is there, otherwise one of Facts.FreeIDs, which is then the gid too.
func ServiceUser(name string, uid int, home, origin string) reconcile.Resource {
	return reconcile.Resource{
		Ref:    reconcile.Ref{Kind: "service-user", Name: name},
		Origin: origin,
		Attrs: []reconcile.Attr{
			{Name: "uid", Value: strconv.Itoa(uid), Impact: reconcile.Data},
			{Name: "home", Value: home, Impact: reconcile.Live},
		},
	}
}
