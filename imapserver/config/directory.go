package config

import (
	"errors"
	"fmt"
	"strings"
)

// Directory is somebody else's list of users: whom the table does not have is
// looked for there.
type Directory struct {
	Name string `json:"name"`
	May  May    `json:"may"`
}

// May is what a directory may say of a user, and what holds for those of whom it
// does not say it.
type May struct {
	// Owner is whose the mail of all of its users is; nil: each has a uid of their own.
	Owner  *Identity `json:"owner,omitempty"`
	MinUID int       `json:"minUID,omitempty"` // the least uid of a user, and
	MaxUID int       `json:"maxUID,omitempty"` // the greatest, where there is no owner
	MinGID int       `json:"minGID,omitempty"` // the least gid of a user
	Roots  []string  `json:"roots"`            // directories that all Maildirs are below
}

// Admit says why somebody whom only a directory knows may have no session. It is
// asked by whoever gives a session its uid, whatever has been checked before.
func (c *Config) Admit(u User) error {
	if c.Workers == WorkerPerUID && u.UID == c.Service.UID {
		return fmt.Errorf("uid %d is that of the service, which must not reach mail", u.UID)
	}
	for _, d := range c.Directories {
		if d.Name == u.Directory {
			return d.Admit(u)
		}
	}
	return fmt.Errorf("no directory %q", u.Directory)
}

// Admit says what a directory may not say of a user.
func (d Directory) Admit(u User) error {
	if u.Hash != "" || u.Directory != d.Name {
		return errors.New("not as a directory knows a user")
	}
	if err := checkUser(u); err != nil {
		return err
	}
	if err := d.May.identity(Identity{u.UID, u.GID}); err != nil {
		return err
	}
	for _, root := range d.May.Roots {
		if strings.HasPrefix(u.Maildir, root+"/") {
			return nil
		}
	}
	return fmt.Errorf("the Maildir %q is not below %s", u.Maildir, strings.Join(d.May.Roots, " or "))
}

// identity refuses every uid but those that the description leaves to the
// directory; never is it root's.
func (m May) identity(id Identity) error {
	switch {
	case m.Owner != nil && id != *m.Owner:
		return fmt.Errorf("uid %d and gid %d are not those of the mail, %d and %d", id.UID, id.GID, m.Owner.UID, m.Owner.GID)
	case m.Owner != nil:
		return nil
	case id.UID < max(1, m.MinUID) || id.UID > m.MaxUID:
		return fmt.Errorf("uid %d is not between %d and %d", id.UID, max(1, m.MinUID), m.MaxUID)
	case id.GID < max(1, m.MinGID):
		return fmt.Errorf("gid %d is less than %d", id.GID, max(1, m.MinGID))
	}
	return nil
}

// Owned says whether the mail of a user has the uid of other users' mail too, as
// far as a directory knows the user.
func (c *Config) Owned(u User) bool {
	for _, d := range c.Directories {
		if d.Name == u.Directory {
			return d.May.Owner != nil
		}
	}
	return false
}

// checkDirectories checks each and that no two have one name.
func (c *Config) checkDirectories(f *faults) {
	seen := map[string]bool{}
	for _, d := range c.Directories {
		where := fmt.Sprintf("directories (%s)", d.Name)
		if !plainName.MatchString(d.Name) || seen[d.Name] {
			f.add("%s: the name is no name or is given twice", where)
		}
		seen[d.Name] = true
		if o := d.May.Owner; o != nil {
			f.at(where, checkIdentity(o.UID, o.GID))
			if c.Workers == WorkerPerUID && (o.UID == 0 || o.GID == 0) {
				f.add("%s: uid or gid 0: no worker runs as root", where)
			}
		} else if c.Workers == WorkerInline {
			f.add("%s: users with uids of their own, and one process for everything", where)
		}
		if len(d.May.Roots) == 0 {
			f.add("%s: no directory that Maildirs may be below", where)
		}
		for _, root := range d.May.Roots {
			f.at(where+": root", checkPath(root))
		}
	}
}
