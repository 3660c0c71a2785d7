package kind

import (
	"fmt"

	"mailstead/reconcile"
)

// Maildir is the tree of one user: the Maildir and every folder in it, each
// with cur, new and tmp, all of mode 0700 and of the user's uid and gid. It is
// made and repaired, and never removed. No message is touched.
func Maildir(m MaildirSpec, origin string) reconcile.Resource {
	return reconcile.Resource{
		Ref:    MaildirRef(m.User),
		Origin: origin,
		Attrs: append(m.attrs(),
			reconcile.Attr{Name: "mode", Value: "0700", Impact: reconcile.Live},
			reconcile.Attr{Name: "tree", Value: treeWhole, Impact: reconcile.Live}),
	}
}

// MaildirRef names the mail of a user.
func MaildirRef(user string) reconcile.Ref { return reconcile.Ref{Kind: "maildir", Name: user} }

const treeWhole = "complete"

// attrs are the attributes that say where the mail is.
func (m MaildirSpec) attrs() []reconcile.Attr {
	return []reconcile.Attr{
		{Name: "path", Value: m.Path, Impact: reconcile.Data},
		{Name: "home", Value: m.Home, Impact: reconcile.Live},
		{Name: "owner", Value: fmt.Sprintf("%d:%d", m.UID, m.GID), Impact: reconcile.Live},
	}
}
