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

// Find gives whose mail an address is, which may be a user's name, and the name
// of the mailbox that it has behind the name, or "". The error is a Fault where
// the sender is to be told that there is no such user.
func (t *Tables) Find(address string) (config.Delivery, string, error) {
	tables, denied, err := t.load()
	if err != nil {
		return config.Delivery{}, "", err
	}
	open := false
	for _, table := range tables {
		r, detail, ok, err := find(table, address)
		if ok || err != nil {
			return r, detail, err
		}
		open = open || table.Open
	}
	switch {
	case denied:
		return config.Delivery{}, "", fmt.Errorf("%q is nobody of whom uid %d may know: the program has to run as the owner of the mail", address, os.Getuid())
	case open:
		return config.Delivery{}, "", &Fault{450, "4.1.1", "no table has this user, and those of directories get their mail by mailstead-deliver -d", nil}
	}
	return config.Delivery{}, "", ErrUnknown
}

// find looks for the names that an address may mean, the longest first.
func find(t *config.Deliveries, address string) (r config.Delivery, detail string, ok bool, err error) {
	local, domain := address, ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local, domain = address[:i], strings.ToLower(address[i:])
	}
	user := local
	if i := strings.Index(local, t.Detail); t.Detail != "" && i > 0 {
		user, detail = local[:i], local[i+len(t.Detail):]
	}
	bare := domain == "" || slices.Contains(t.Domains, domain[1:])
	for _, try := range []struct {
		name, detail string
		may          bool
	}{{local + domain, "", true}, {user + domain, detail, true}, {local, "", bare}, {user, detail, bare}} {
		for _, name := range []string{try.name, strings.ToLower(try.name)} {
			if !try.may || name == "" {
				continue
			}
			if r, ok, err = t.Row(name); ok || err != nil {
				return r, try.detail, ok, err
			}
		}
	}
	return config.Delivery{}, "", false, nil
}
