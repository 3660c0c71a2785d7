package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"reflect"
	"strconv"
	"strings"

	"mailstead/imapserver/config"
)

// directoryUser is what the name of a user may be that a directory is asked
// about, and that it gives: nothing that is special in a filter, a DN, a path or
// the line of a protocol.
var directoryUser = config.Pattern(`^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,199}$`)

// directory is a backend that is another server.
type directory interface {
	backend
	close() // the idle connections; logins that are under way end by themselves
}

// newDirectory makes the backend that a configuration asks for.
func newDirectory(c config.Directory, l Limits, log *slog.Logger) (directory, error) {
	switch {
	case c.LDAP != nil:
		return newLDAP(c, l, log), nil
	case c.Authdaemon != nil:
		return newAuthdaemon(c, l), nil
	case c.Saslauthd != nil:
		return newSaslauthd(c, l), nil
	}
	return nil, fmt.Errorf("directory %s: nobody to ask", c.Name)
}

// configured is a directory and what it was made of.
type configured struct {
	directory
	config config.Directory
}

// renewDirectories makes the directories of c, and takes over those that have not
// changed, with their connections. gone are those that are not needed any more.
func renewDirectories(old []configured, c []config.Directory, l Limits, log *slog.Logger) (all, gone []configured, err error) {
	kept := map[string]bool{}
	for _, d := range c {
		next := configured{config: d}
		for _, o := range old {
			if reflect.DeepEqual(o.config, d) {
				next, kept[d.Name] = o, true
			}
		}
		if next.directory == nil {
			if next.directory, err = newDirectory(d, l, log); err != nil {
				return nil, nil, err
			}
		}
		all = append(all, next)
	}
	for _, o := range old {
		if !kept[o.config.Name] {
			gone = append(gone, o)
		}
	}
	return all, gone, nil
}

// said is what a directory says of a user, in its own words; "" is nothing.
type said struct {
	name, uid, gid, home, maildir, quota, elsewhere string
}

// row makes of it a user as the daemon has them, within what the directory may
// say. What it says wrong is a fault of the directory.
func row(d config.Directory, s said) (config.User, error) {
	u := config.User{Name: s.name, Directory: d.Name, Quota: d.May.Quota, Discard: d.May.Discard}
	if !directoryUser().MatchString(s.name) {
		return u, fmt.Errorf("directory %s: the name %q of a user has characters other than letters, digits and _ . @ + -", d.Name, shortened(s.name))
	}
	setServer(&u, d.May.Host, s.elsewhere)
	err := errors.Join(setOwner(&u, d.May, s), setPlace(&u, d.May, s), setQuota(&u, s.quota))
	if err == nil {
		err = d.Admit(u)
	}
	if err != nil {
		return u, fmt.Errorf("directory %s: user %q: %w", d.Name, s.name, err)
	}
	return u, nil
}

// setOwner sets the uid and gid: what the directory says goes, if it may.
func setOwner(u *config.User, may config.May, s said) error {
	if may.Owner != nil {
		u.UID, u.GID = may.Owner.UID, may.Owner.GID
	}
	for _, id := range []struct {
		what, text string
		to         *int
	}{{"uid", s.uid, &u.UID}, {"gid", s.gid, &u.GID}} {
		if id.text == "" && may.Owner != nil {
			continue
		}
		n, err := strconv.ParseUint(id.text, 10, 32)
		if err != nil {
			return fmt.Errorf("%s %q is not a number", id.what, shortened(id.text))
		}
		*id.to = int(n)
	}
	return nil
}

// setPlace sets the home and the Maildir: below the first root in a directory of
// the user's name, unless the directory says otherwise.
func setPlace(u *config.User, may config.May, s said) error {
	u.Home = path.Join(may.Roots[0], u.Name)
	switch {
	case s.home != "":
		u.Home = path.Clean(s.home)
	case may.Owner == nil:
		return errors.New("no home directory")
	}
	u.Maildir = "Maildir"
	if s.maildir != "" {
		u.Maildir = s.maildir
	}
	if !path.IsAbs(u.Maildir) {
		u.Maildir = path.Join(u.Home, u.Maildir)
	}
	u.Maildir = path.Clean(u.Maildir)
	return nil
}

// setQuota reads a quota: sizes such as 5GB or 5000000000, or as Courier has it,
// 5000000000S,10000C.
func setQuota(u *config.User, text string) error {
	if text == "" {
		return nil
	}
	q, err := config.ParseQuota(text)
	if err != nil {
		return err
	}
	if u.Quota != nil {
		q.Set = u.Quota.Set
	}
	u.Quota = &q
	return nil
}

// setServer sets which server has the user's mail: a host, or an IMAP URL. This
// one's own name is no other server.
func setServer(u *config.User, own, server string) {
	switch {
	case server == "" || strings.EqualFold(server, own):
	case strings.HasPrefix(server, "imap://"):
		u.Elsewhere = server
	default:
		u.Elsewhere = "imap://" + strings.ReplaceAll(u.Name, "@", "%40") + ";AUTH=*@" + strings.ToLower(server) + "/"
	}
}
