package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// Unfit is something in an account that Courier has no way to represent.
type Unfit struct {
	Name    string // of the mailbox, or of an entry that is none
	Why     string
	Renames bool // Handback gives the mailbox another name, if it is told to
}

// HandedBack is what Handback has done.
type HandedBack struct {
	Mailboxes, Messages int
	Renamed             map[string]string // mailboxes whose names Courier cannot have, and their new ones
}

// ErrUnfit says that Handback would have to change names of mailboxes.
var ErrUnfit = errors.New("some names of mailboxes are none that Courier can have")

// bmp is the last character that Courier's clients can be told of.
const bmp = '\uffff'

// fitName gives a name that Courier can have: clients that do not speak UTF-8
// lose their connection at a character beyond 16 bits.
func fitName(name string) string {
	return strings.Map(func(r rune) rune {
		if r > bmp {
			return '_'
		}
		return r
	}, name)
}

// Unfit lists what Courier cannot represent, or shows in another way.
func (a *Account) Unfit(ctx context.Context) ([]Unfit, error) {
	dirs, err := a.folderDirs()
	if err != nil {
		return nil, fmt.Errorf("list mailboxes: %w", err)
	}
	var all []Unfit
	boxes := []string{maildir.Inbox}
	for _, dir := range dirs {
		name, err := maildir.DecodeName(dir, a.enc)
		st, serr := os.Lstat(filepath.Join(a.dir, dir))
		switch {
		case serr != nil:
		case !utf8.ValidString(dir):
			all = append(all, Unfit{Name: fmt.Sprintf("%q", dir), Why: "it is not UTF-8: Courier ends every session that lists folders"})
		case !st.IsDir():
			all = append(all, Unfit{Name: dir, Why: "it is a file that starts with a dot: Courier lists it as a folder"})
		case err != nil:
			all = append(all, Unfit{Name: dir, Why: "it is no mailbox here, and Courier may show it as one"})
		default:
			boxes = append(boxes, name)
			if fit := fitName(name); fit != name {
				all = append(all, Unfit{name, "Courier ends sessions that list a character like it has; it becomes " + fit, true})
			}
		}
	}
	for _, name := range boxes {
		some, err := a.unfitKeywords(ctx, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// unfitKeywords lists the keywords of a mailbox that Courier cannot set or keep.
func (a *Account) unfitKeywords(ctx context.Context, name string) ([]Unfit, error) {
	mb, err := a.get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer a.put(mb)
	odd := make(map[string]bool)
	colons := 0
	mb.snap.Load().all(func(r *record) bool {
		if r.set.keywords != "" && strings.Contains(r.base, ":") {
			colons++
		}
		for k := range strings.FieldsSeq(r.set.keywords) {
			if !maildir.CourierKeyword(k) {
				odd[k] = true
			}
		}
		return true
	})
	var all []Unfit
	for k := range odd {
		all = append(all, Unfit{Name: name, Why: fmt.Sprintf("the keyword %q is one that Courier shows, but lets no client set", k)})
	}
	if colons > 0 {
		all = append(all, Unfit{Name: name, Why: fmt.Sprintf("the keywords of %d messages with a colon in the name of their file", colons)})
	}
	slices.SortFunc(all, func(a, b Unfit) int { return strings.Compare(a.Why, b.Why) })
	return all, nil
}

// Handback makes Courier's files of every mailbox, and names of directories as
// Courier 5 has them. Mail in new moves to cur: Courier gives it new UIDs
// otherwise. With force, mailboxes whose names Courier cannot have get others;
// without, it is ErrUnfit. The account must have been opened with Courier set,
// and have no other use; what is written is exact once it has been closed.
func (a *Account) Handback(ctx context.Context, force bool) (HandedBack, error) {
	if a.keeper == nil {
		return HandedBack{}, errors.New("hand back: Courier's files are not kept")
	}
	s := spelling{enc: maildir.UTF8, fit: fitName, other: make(map[string]string)}
	return a.handback(ctx, s, force, func(mb *mailbox) error { return mb.writeCourier(ctx, true) })
}

// handback spells names as another server has them, and has each mailbox, brought up to
// the Maildir, written for it.
func (a *Account) handback(ctx context.Context, s spelling, force bool, write func(*mailbox) error) (HandedBack, error) {
	done := HandedBack{Renamed: s.other}
	if err := a.spell(s, force); err != nil {
		return done, fmt.Errorf("hand back names: %w", diskError(err))
	}
	err := a.eachBox(ctx, func(mb *mailbox) error {
		if err := mb.refresh(ctx, true); err != nil {
			return err
		}
		if err := write(mb); err != nil {
			return err
		}
		done.Mailboxes++
		done.Messages += mb.snap.Load().len
		return nil
	})
	if err != nil {
		err = fmt.Errorf("hand back %w", err)
	}
	return done, err
}

// eachBox does something with each mailbox that can be selected. One that is deleted
// meanwhile is passed over; the error has the name of another.
func (a *Account) eachBox(ctx context.Context, do func(*mailbox) error) error {
	list, err := a.List(ctx)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !e.Selectable {
			continue
		}
		mb, err := a.get(ctx, e.Name)
		if err == nil {
			err = do(mb)
			a.put(mb)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%q: %w", e.Name, diskError(err))
		}
	}
	return nil
}

// spelling is how another server has the names of mailboxes.
type spelling struct {
	enc   maildir.Encoding
	fit   func(name string) string
	other map[string]string // those that fit changes, and their new ones
}

// spell renames the directories that are not as the other server has them, and
// enters in other the mailboxes whose names change with that. Cut short, it goes on when
// it is begun again: of two spellings, UTF-8 is told from the other by its octets, but
// not the other from UTF-8.
func (a *Account) spell(s spelling, force bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	moves, err := a.planSpelling(s)
	if err != nil {
		return err
	}
	if len(s.other) > 0 && !force {
		return ErrUnfit
	}
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	acls, err := a.planACLs(s)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return a.recodeSubscriptions(s, subs) },
		func() error { return a.renameACLs(acls) },
		func() error { return a.renameFolders(moves) },
		func() error { return a.setEncoding(s.enc) },
	}
	if s.enc == maildir.ModifiedUTF7 {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	for old, name := range s.other {
		a.moveUses([]Renamed{{old, name}})
	}
	return nil // all is durable when the account has been closed
}

// setEncoding says how the names of directories are spelt from now on.
func (a *Account) setEncoding(enc maildir.Encoding) error {
	if a.enc == enc {
		return nil
	}
	a.enc = enc
	return a.index.update(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "UPDATE account SET encoding = ?", &sqlitex.ExecOptions{Args: []any{int(enc)}})
	})
}

// planSpelling lists what spell renames.
func (a *Account) planSpelling(s spelling) ([]renamed, error) {
	dirs, err := a.folderDirs()
	if err != nil {
		return nil, err
	}
	var moves []renamed
	for _, dir := range dirs {
		name, err := maildir.DecodeName(dir, a.enc)
		st, serr := os.Lstat(filepath.Join(a.dir, dir))
		if err != nil || serr != nil || !st.IsDir() {
			continue
		}
		fit := s.fit(name)
		if fit != name {
			s.other[name] = fit
		}
		dest, err := maildir.EncodeName(fit, s.enc)
		if err != nil {
			return nil, err
		}
		if dest != dir {
			moves = append(moves, renamed{dir, dest})
		}
	}
	return moves, nil
}

// planACLs lists the files with rights to names that have no directory which are to have
// other names.
func (a *Account) planACLs(s spelling) ([]renamed, error) {
	entries, err := os.ReadDir(filepath.Join(a.dir, maildir.ACLDir))
	if err != nil {
		return nil, ignoreNotExist(err)
	}
	var moves []renamed
	for _, e := range entries {
		name, err := maildir.DecodeName("."+e.Name(), a.enc)
		if err != nil && a.enc == maildir.ModifiedUTF7 {
			name, err = maildir.DecodeName("."+e.Name(), maildir.UTF8) // spell was cut short
		}
		if err != nil {
			continue // of no mailbox
		}
		if to, err := maildir.EncodeName(s.fit(name), s.enc); err == nil && to[1:] != e.Name() {
			moves = append(moves, renamed{e.Name(), to[1:]})
		}
	}
	return moves, nil
}

func (a *Account) renameACLs(moves []renamed) error {
	dir := filepath.Join(a.dir, maildir.ACLDir)
	for _, m := range moves {
		if err := a.ops.RenameNew(filepath.Join(dir, m.dir), filepath.Join(dir, m.dest)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// recodeSubscriptions writes the subscriptions with the names that directories get.
func (a *Account) recodeSubscriptions(s spelling, subs maildir.Subscriptions) error {
	for old, name := range s.other {
		if subs.Set(old, false) {
			subs.Set(name, true)
		}
	}
	data, err := maildir.EncodeSubscriptions(subs, s.enc)
	if err != nil {
		return err
	}
	old, err := maildir.ReadFile(a.dir, maildir.SubscriptionsFile)
	if errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(data, old) {
		return nil
	}
	return a.ops.WriteFile(a.dir, maildir.SubscriptionsFile, a.subscriptionsMode(), data)
}
