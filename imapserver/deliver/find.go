package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/maildir"
)

// maxAsking is for how many users directories are asked at once: a slow one keeps
// nobody else's mail waiting.
const maxAsking = 32

// askTimeout is longer than a directory may take (auth has its own bounds).
const askTimeout = 60 * time.Second

// Tables finds users in the tables of a directory, which are read again when they
// have been replaced. Its methods may be called from many goroutines.
type Tables struct {
	dir string

	asking chan struct{}

	mu   sync.Mutex
	seen [2]seen
}

// seen is a table as it was when it was last read.
type seen struct {
	stat  unix.Stat_t
	table *config.Deliveries // nil: there is none
}

// NewTables gives the tables of a directory; nothing is read.
func NewTables(dir string) *Tables { return &Tables{dir: dir, asking: make(chan struct{}, maxAsking)} }

// load reads what is new. Of the tables one may be missing, and one may be for
// others: denied says so.
func (t *Tables) load() (tables []*config.Deliveries, denied bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, name := range []string{config.SystemDeliveries, config.VirtualDeliveries} {
		err := t.seen[i].read(filepath.Join(t.dir, name))
		switch {
		case errors.Is(err, fs.ErrPermission):
			denied = true
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, false, err
		default:
			tables = append(tables, t.seen[i].table)
		}
	}
	if len(tables) == 0 && !denied {
		return nil, false, fmt.Errorf("there is no table of deliveries in %s: the description says deliver: {}, and mailstead apply writes it", t.dir)
	}
	return tables, denied, nil
}

func (s *seen) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if s.table != nil && st.Ino == s.stat.Ino && st.Dev == s.stat.Dev && st.Ctim == s.stat.Ctim && st.Size == s.stat.Size {
		return f.Close()
	}
	// The file stays open: the garbage collector closes it once nobody looks into it.
	table, err := config.ReadDeliveries(f, st.Size)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.stat, s.table = st, table
	return nil
}

// Found is whose mail an address is.
type Found struct {
	config.Delivery
	Mailbox string   // that the address has behind the name; "": none
	Roots   []string // directories below which all mail of that uid is
}

// Find gives whose mail an address is, which may be a user's name. The error is a
// Fault where the sender is to be told that there is no such user.
func (t *Tables) Find(address string) (Found, error) {
	tables, denied, err := t.load()
	if err != nil {
		return Found{}, err
	}
	for _, m := range meanings(tables, address) {
		if denied && slices.Contains(m.table.Whole, strings.ToLower(m.name)) {
			return Found{}, hidden(address)
		}
		r, ok, err := m.table.Row(m.name)
		if err != nil {
			return Found{}, err
		}
		if ok {
			root := m.table.Root
			if root == "" {
				root = r.Maildir
			}
			return Found{r, m.mailbox, []string{root}}, nil
		}
	}
	if denied {
		return Found{}, hidden(address)
	}
	for _, table := range tables { // which say the same of directories
		if table.Open {
			return t.ask(table, address)
		}
	}
	return Found{}, ErrUnknown
}

// hidden is of an address in a table that is for others.
func hidden(address string) error {
	return fmt.Errorf("%q is nobody of whom uid %d may know: the program has to run as the owner of the mail", address, os.Getuid())
}

// untold is of users of whom a directory says nothing.
func untold(cause error) *Fault {
	return &Fault{450, "4.1.1", "no table has this user, and no directory says where their mail is", cause}
}

// ask asks auth for a user whom only a directory knows.
func (t *Tables) ask(table *config.Deliveries, address string) (Found, error) {
	if table.Ask == "" {
		return Found{}, untold(nil)
	}
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	default:
		return Found{}, &Fault{451, "4.3.2", "too many ask for users of directories at once", nil}
	}
	without := *table // whose own names are no names for a directory
	without.Capitals = nil
	all := meanings([]*config.Deliveries{&without}, address)
	var r control.RecipientRequest
	for _, m := range all {
		r.Names = append(r.Names, m.name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	u, err := control.AskRecipient(ctx, table.Ask, r)
	switch {
	case err != nil:
		return Found{}, &Fault{451, "4.3.0", "whether there is such a user cannot be found out now", err}
	case u.Untold:
		return Found{}, untold(errors.New(u.Error))
	case u.Error != "":
		return Found{}, &Fault{451, "4.3.0", "whether there is such a user cannot be found out now", errors.New(u.Error)}
	case !u.Known:
		return Found{}, ErrUnknown
	case u.Meant < 0 || u.Meant >= len(all) || len(u.Roots) == 0:
		return Found{}, errors.New("auth gives an answer to something else than was asked")
	}
	d := config.Delivery{Name: u.Name, UID: u.UID, GID: u.GID, Maildir: u.Maildir, Quota: (*config.Quota)(u.Quota)}
	return Found{d, all[u.Meant].mailbox, u.Roots}, nil
}

// meaning is a name that an address may mean, in a table.
type meaning struct {
	table         *config.Deliveries
	name, mailbox string
}

// meanings gives all of them: the address as a whole before what is in front of
// a detail, that before the local part, and all letters as they are before small ones,
// and those before a name that differs by capitals.
func meanings(tables []*config.Deliveries, address string) (all []meaning) {
	local, domain := address, ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local, domain = address[:i], strings.ToLower(address[i:])
	}
	for _, try := range []struct{ bare, detail bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		var spelt, small, capitals []meaning // a namesake may be in the other table
		for _, table := range tables {
			name, mailbox := local, ""
			if try.detail {
				i := strings.Index(local, table.Detail)
				if table.Detail == "" || i < 1 {
					continue
				}
				name, mailbox = local[:i], local[i+len(table.Detail):]
				if strings.EqualFold("."+mailbox, maildir.TrashDir) {
					mailbox = "" // no quota counts it, and anybody can write such an address
				}
			}
			if try.bare && domain != "" && !slices.Contains(table.Domains, domain[1:]) {
				continue
			}
			if !try.bare {
				name += domain
			}
			spelt = append(spelt, meaning{table, name, mailbox})
			if lower := strings.ToLower(name); lower != name {
				small = append(small, meaning{table, lower, mailbox})
			}
			for _, other := range table.Capitals {
				if other != name && strings.EqualFold(other, name) {
					capitals = append(capitals, meaning{table, other, mailbox})
				}
			}
		}
		all = slices.Concat(all, spelt, small, capitals)
	}
	return all
}
