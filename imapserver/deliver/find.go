package deliver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/config"
)

// maxTable bounds what is read: a million users.
const maxTable = 256 << 20

// Tables finds users in the tables of a directory, which are read again when they
// have been replaced. Its methods may be called from many goroutines.
type Tables struct {
	dir string

	mu   sync.Mutex
	seen [2]seen
}

// seen is a table as it was when it was last read.
type seen struct {
	stat  unix.Stat_t
	table *config.Deliveries // nil: there is none
}

// NewTables gives the tables of a directory; nothing is read.
func NewTables(dir string) *Tables { return &Tables{dir: dir} }

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
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if s.table != nil && st.Ino == s.stat.Ino && st.Dev == s.stat.Dev && st.Ctim == s.stat.Ctim && st.Size == s.stat.Size {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTable))
	if err != nil {
		return err
	}
	table, err := config.ParseDeliveries(text)
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
	switch {
	case denied:
		return Found{}, fmt.Errorf("%q is nobody of whom uid %d may know: the program has to run as the owner of the mail", address, os.Getuid())
	case slices.ContainsFunc(tables, func(d *config.Deliveries) bool { return d.Open }):
		return Found{}, &Fault{450, "4.1.1", "no table has this user, and those of directories get their mail by mailstead-deliver -d", nil}
	}
	return Found{}, ErrUnknown
}

// meaning is a name that an address may mean, in a table.
type meaning struct {
	table         *config.Deliveries
	name, mailbox string
}

// meanings gives all of them: the address as a whole before what is in front of
// a detail, that before the local part, and all letters as they are before small ones.
func meanings(tables []*config.Deliveries, address string) (all []meaning) {
	local, domain := address, ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local, domain = address[:i], strings.ToLower(address[i:])
	}
	for _, try := range []struct{ bare, detail bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		for _, table := range tables {
			name, mailbox := local, ""
			if try.detail {
				i := strings.Index(local, table.Detail)
				if table.Detail == "" || i < 1 {
					continue
				}
				name, mailbox = local[:i], local[i+len(table.Detail):]
			}
			if try.bare && domain != "" && !slices.Contains(table.Domains, domain[1:]) {
				continue
			}
			if !try.bare {
				name += domain
			}
			all = append(all, meaning{table, name, mailbox})
			if small := strings.ToLower(name); small != name {
				all = append(all, meaning{table, small, mailbox})
			}
		}
	}
	return all
}
