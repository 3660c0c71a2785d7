package kind

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
	"mailstead/reconcile"
)

// Untouched tells whether a Maildir is not there, or has nothing in it but what an apply
// makes: nobody has had mail there, nor a session. The answer may be of its owner's making.
func (h *Host) Untouched(ctx context.Context, m reconcile.Resource) (bool, error) {
	id, err := parseIdentity(m.Get("owner"))
	if err != nil {
		return false, err
	}
	ask := newMailThing(&m)
	a, err := h.mail(ctx, id, mailRequest{Untouched: &ask})
	if err == nil && a.Error != "" {
		err = errors.New(shorter(a.Error))
	}
	return err == nil && a.Untouched, err
}

func untouched(ask mailThing) (bool, error) {
	p, err := ask.place()
	if err != nil {
		return false, err
	}
	t, err := openTree(p, false)
	if t == nil {
		return err == nil, err
	}
	defer t.close()
	return t.dir.untouched("")
}

// untouched looks at what is in a directory of a Maildir, and below.
func (n *node) untouched(rel string) (bool, error) {
	f, err := n.real()
	if err != nil {
		return false, err
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if ok, err := n.madeByApply(rel, name); !ok {
				return false, err
			}
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

func (n *node) madeByApply(rel, name string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(n.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, err
	}
	path := filepath.Join(rel, name)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if strings.Count(path, "/") > 1 { // cur of a folder is the deepest
			return false, nil
		}
		sub, err := n.open(name)
		if err != nil {
			return false, err
		}
		defer sub.close()
		return sub.untouched(path)
	case unix.S_IFREG:
		return name == maildir.FolderMark && st.Size == 0 || path == maildir.SubscriptionsFile ||
			path == filepath.Join(maildir.OwnDir, maildir.SpecialUseFile), nil
	}
	return false, nil
}
