package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// FlatMove is one step of making a Maildir++ tree of a nested one, relative to
// the top: what is at From goes to To or, if that is empty, was a directory of
// others only and is removed.
type FlatMove struct {
	From, To string
	Mailbox  bool // it is one, other than INBOX
}

// maxNesting bounds how deep a nested tree may be.
const maxNesting = 64

// PlanFlat looks at a tree in which mailboxes lie in each other, as mbsync leaves
// them ("SubFolders Verbatim" and "Legacy") and Dovecot with LAYOUT=fs, and lists
// what makes it Maildir++: renames of directories, none of a message. INBOX is
// the top or, where that is no mailbox, the directory of this name; its cur moves
// last, so that what was cut short is seen, and goes on. A Maildir++ tree needs
// nothing.
func PlanFlat(top string) ([]FlatMove, error) {
	p := &flatPlan{top: top, at: map[string]string{}}
	_, err := os.Lstat(filepath.Join(top, "cur"))
	p.inbox = errors.Is(err, fs.ErrNotExist)
	if _, err := p.walk("", nil); err != nil {
		return nil, fmt.Errorf("look at %s: %w", top, err)
	}
	return append(p.moves, p.last...), nil
}

type flatPlan struct {
	top         string
	inbox       bool // it is a directory in the top
	moves, last []FlatMove
	at          map[string]string // what will be at a place, by where it is; "": what is there goes
}

// walk plans for the mailboxes in a directory, and tells whether there are any.
func (p *flatPlan) walk(dir string, levels []string) (found bool, err error) {
	if len(levels) > maxNesting {
		return false, fmt.Errorf("%s: nested deeper than %d", dir, maxNesting)
	}
	entries, err := os.ReadDir(filepath.Join(p.top, dir))
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || slices.Contains(subdirs, name) || len(levels) == 0 && (name == OwnDir || name[0] == '.') {
			continue
		}
		box, err := p.mailbox(filepath.Join(dir, name), append(levels[:len(levels):len(levels)], strings.TrimPrefix(name, ".")))
		if err != nil {
			return false, err
		}
		found = found || box
	}
	return found, nil
}

// mailbox plans for a directory, after all that are in it. It tells whether it is
// a mailbox or has some.
func (p *flatPlan) mailbox(dir string, levels []string) (bool, error) {
	below, err := p.walk(dir, levels)
	if err != nil {
		return false, err
	}
	st, err := os.Lstat(filepath.Join(p.top, dir, "cur"))
	isBox := err == nil && st.IsDir()
	switch {
	case p.inbox && dir == Inbox:
		return true, p.moveInbox(isBox)
	case isBox:
		to, err := flatName(levels)
		if err == nil {
			err = p.take(dir, to)
		}
		if err != nil {
			return false, err
		}
		p.moves, p.at[dir] = append(p.moves, FlatMove{dir, to, true}), ""
	case below:
		p.moves = append(p.moves, FlatMove{From: dir})
	}
	return isBox || below, nil
}

// flatName gives the directory of a mailbox in Maildir++.
func flatName(levels []string) (string, error) {
	dir := "." + strings.Join(levels, ".")
	_, err := DecodeName(dir, ModifiedUTF7)
	if err != nil {
		_, err = DecodeName(dir, UTF8)
	}
	if err == nil && strings.Count(dir, ".") != len(levels) {
		err = errors.New("a level has a dot, which parts levels in Maildir++")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(levels...), err)
	}
	return dir, nil
}

// take refuses a place that is not free: half a tree would be made over when that is seen.
func (p *flatPlan) take(from, to string) error {
	other, planned := p.at[to]
	if other != "" {
		return fmt.Errorf("%s: %s is where %s goes, too", from, to, other)
	}
	if _, err := os.Lstat(filepath.Join(p.top, to)); !planned && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %s is there already", from, to)
	}
	p.at[to] = from
	return nil
}

// moveInbox plans for what is in the directory INBOX and no other mailbox.
func (p *flatPlan) moveInbox(isBox bool) error {
	entries, err := os.ReadDir(filepath.Join(p.top, Inbox))
	if err != nil {
		return err
	}
	for _, e := range entries {
		from := filepath.Join(Inbox, e.Name())
		below := slices.ContainsFunc(p.moves, func(m FlatMove) bool { return m.From == from })
		if e.Name() != "cur" && !below {
			if err := p.take(from, e.Name()); err != nil {
				return err
			}
			p.last = append(p.last, FlatMove{From: from, To: e.Name()})
		}
	}
	if isBox {
		p.last = append(p.last, FlatMove{From: filepath.Join(Inbox, "cur"), To: "cur"})
	}
	p.last = append(p.last, FlatMove{From: Inbox})
	return nil
}

// Flatten makes the moves of PlanFlat. Directories that are not empty stay.
func (o *Ops) Flatten(top string, moves []FlatMove) error {
	for _, m := range moves {
		from := filepath.Join(top, m.From)
		if m.To == "" {
			if err := unix.Rmdir(from); err != nil && err != unix.ENOTEMPTY && err != unix.ENOENT {
				return &fs.PathError{Op: "rmdir", Path: from, Err: err}
			}
			continue
		}
		to := filepath.Join(top, m.To)
		if err := o.RenameNew(from, to); err != nil {
			return err
		}
		if m.Mailbox {
			if err := o.MakeTree(to, true); err != nil {
				return err
			}
		}
	}
	return o.SyncDir(top)
}
