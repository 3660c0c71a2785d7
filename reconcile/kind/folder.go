package kind

import "mailstead/reconcile"

// Folder is a mailbox of a user, with its special use and its subscription. It
// is ensured once: what a client deletes or unsubscribes later is not drift.
func Folder(m MaildirSpec, f FolderSpec, origin string) reconcile.Resource {
	subscribed := "no"
	if f.Subscribed {
		subscribed = "yes"
	}
	return reconcile.Resource{
		Ref:    reconcile.Ref{Kind: "folder", Name: m.User + "/" + f.Name},
		Origin: origin,
		Needs:  []reconcile.Ref{MaildirRef(m.User)},
		Attrs: append(m.attrs(),
			reconcile.Attr{Name: "name", Value: f.Name, Impact: reconcile.Live},
			reconcile.Attr{Name: "use", Value: f.Use, Impact: reconcile.Live},
			reconcile.Attr{Name: "subscribed", Value: subscribed, Impact: reconcile.Live}),
	}
}
