package store

import (
	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// rebased is a message whose base name another program has changed.
type rebased struct {
	uid imap.UID
	to  *found
}

// rebase finds messages that are missing under their names and there under
// others, which differ in the fields at their ends: mbsync adds `,U=7`, a quota
// tool `,S=123`. Nothing has come or gone then. Where it might be of several
// messages, nothing is presumed.
func (l *look) rebase() {
	if l.seen == nil || len(l.fresh) == 0 {
		return
	}
	missing := make(map[string]int) // by unique name: position, or -1 for several
	for n, ok := range l.seen {
		if ok {
			continue
		}
		name := maildir.UniqueName(l.snap.at(n).base)
		if _, twice := missing[name]; twice {
			n = -1
		}
		missing[name] = n
	}
	if len(missing) == 0 {
		return
	}
	fresh := make(map[string]*found) // the same; nil for several
	for base, f := range l.fresh {
		name := maildir.UniqueName(base)
		if _, twice := fresh[name]; twice {
			f = nil
		}
		fresh[name] = f
	}
	for name, n := range missing {
		if f := fresh[name]; n >= 0 && f != nil {
			l.rebased = append(l.rebased, rebased{l.snap.at(n).uid, f})
			l.seen[n] = true
			delete(l.fresh, f.base)
		}
	}
	if n := len(l.rebased); n > 0 {
		l.mb.a.log.Info("another program has renamed messages; they are known by their new names",
			"path", l.mb.path(), "messages", n, "first", l.rebased[0].to.base)
	}
}
