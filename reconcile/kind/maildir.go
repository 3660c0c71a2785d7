package kind

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
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

func observeMaildir(ask mailThing) mailSeen {
	p, err := ask.place()
	if err != nil {
		return mailSeen{err: err}
	}
	t, err := openTree(p, false)
	if err == nil && t == nil {
		err = p.homeless(ask.Placed)
	}
	if t == nil || err != nil {
		return mailSeen{err: err}
	}
	defer t.close()
	s := survey{path: p.path, owner: p.owner}
	if err := s.tree(t); err != nil {
		return mailSeen{err: err}
	}
	have := mailSeen{There: true}
	have.differ(ask, "owner", s.foreign.or(p.owner.String()))
	have.differ(ask, "mode", s.modes.or("0700"))
	have.differ(ask, "tree", s.missing.or(treeWhole))
	return have
}

// homeless refuses to plan mail in a home directory that does not exist, unless
// the mail needs a directory in which it can be made.
func (p mailPlace) homeless(placed bool) error {
	if placed {
		return nil
	}
	if _, err := os.Stat(p.home); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("no home directory %s: run \"install -d -m 0700 -o %d -g %d %s\" as root", p.home, p.owner.uid, p.owner.gid, p.home)
}

// survey collects what is wrong with a tree.
type survey struct {
	path                    string
	owner                   identity
	foreign, modes, missing faults
}

// faults are places in a tree.
type faults []string

// or gives the faults in one line, or what to say where there are none.
func (f faults) or(none string) string {
	const most = 4
	switch {
	case len(f) == 0:
		return none
	case len(f) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(f[:most], ", "), len(f)-most)
	}
	return strings.Join(f, ", ")
}

func (s *survey) tree(t *tree) error {
	if err := s.mailbox(t.dir, "", false); err != nil {
		return err
	}
	if len(s.modes) > 0 && t.dir.stat.Mode&0o500 != 0o500 {
		return nil // nobody can look further until the mode is repaired
	}
	own, err := t.dir.open(maildir.OwnDir)
	if err == nil {
		err = s.directory(own, maildir.OwnDir)
		own.close()
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names, err := t.dots()
	if err != nil {
		return err
	}
	for _, name := range names {
		n, err := t.dir.open(name)
		if err != nil {
			continue // somebody else's, as for folders
		}
		if n.isMailbox() {
			err = s.mailbox(n, name, true)
		}
		n.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// mailbox looks at one mailbox; name is "" for the top Maildir.
func (s *survey) mailbox(n *node, name string, folder bool) error {
	if err := s.directory(n, filepath.Join(".", name)); err != nil {
		return err
	}
	if n.stat.Mode&0o100 == 0 {
		return nil
	}
	for _, sub := range subdirs {
		d, err := n.glance(sub)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			s.missing = append(s.missing, "no "+filepath.Join(name, sub))
			continue
		case err != nil:
			return err
		}
		if err := s.directory(d, filepath.Join(name, sub)); err != nil {
			return err
		}
	}
	if folder {
		var st unix.Stat_t
		if unix.Fstatat(n.fd, maildir.FolderMark, &st, unix.AT_SYMLINK_NOFOLLOW) == unix.ENOENT {
			s.missing = append(s.missing, "no "+filepath.Join(name, maildir.FolderMark))
		}
	}
	return nil
}

// directory looks at one directory. One of another uid is nothing that the owner
// of the mail can mend: only root may give it away.
func (s *survey) directory(n *node, name string) error {
	if int(n.stat.Uid) != s.owner.uid {
		return fmt.Errorf("%s belongs to uid %d, want %d: run \"chown -hR %d:%d %s\" as root",
			n.name, n.stat.Uid, s.owner.uid, s.owner.uid, s.owner.gid, s.path)
	}
	if int(n.stat.Gid) != s.owner.gid {
		s.foreign = append(s.foreign, fmt.Sprintf("%d:%d (%s)", n.stat.Uid, n.stat.Gid, name))
	}
	if mode := n.stat.Mode & 0o777; mode != mailDirMode {
		s.modes = append(s.modes, fmt.Sprintf("%04o (%s)", mode, name))
	}
	return nil
}

func makeMaildir(want mailThing) error {
	p, err := want.place()
	if err != nil {
		return err
	}
	t, err := openTree(p, true)
	if err != nil {
		return err
	}
	if t == nil {
		return fmt.Errorf("%s was removed while it was made", p.path)
	}
	defer t.close()
	if err := t.complete(t.dir, false); err != nil {
		return err
	}
	if err := t.repairOwn(); err != nil {
		return err
	}
	folders, err := t.folders()
	if err != nil {
		return err
	}
	// Every folder gets its turn, so that one that is somebody else's does not
	// keep the others broken.
	var errs []error
	for _, name := range folders {
		n, err := t.dir.open(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, t.completeFolder(n))
		n.close()
	}
	return errors.Join(errs...)
}

// completeFolder mends a folder. Once it can be looked into, it may turn out to
// be none.
func (t *tree) completeFolder(n *node) error {
	if err := t.repair(n); err != nil {
		return err
	}
	if !n.isMailbox() {
		return nil
	}
	return t.complete(n, true)
}

// repairOwn mends the directory of our own files, if there is one.
func (t *tree) repairOwn() error {
	own, err := t.dir.open(maildir.OwnDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer own.close()
	return t.repair(own)
}
