package store

import (
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
	done := HandedBack{Renamed: make(map[string]string)}
	if a.keeper == nil {
		return done, errors.New("hand back: Courier's files are not kept")
	}
	if err := a.courierNames(force, done.Renamed); err != nil {
		return done, fmt.Errorf("hand back names: %w", diskError(err))
	}
	list, err := a.List(ctx)
	if err != nil {
		return done, err
	}
	for _, e := range list {
		if !e.Selectable {
			continue
		}
		n, err := a.handbackBox(ctx, e.Name)
		if errors.Is(err, ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return done, fmt.Errorf("hand back %q: %w", e.Name, diskError(err))
		}
		done.Mailboxes++
		done.Messages += n
	}
	return done, nil
}

// handbackBox brings one mailbox up to the Maildir, and Courier's files up to
// it. It gives the number of messages.
func (a *Account) handbackBox(ctx context.Context, name string) (int, error) {
	mb, err := a.get(ctx, name)
	if err != nil {
		return 0, err
	}
	defer a.put(mb)
	if err := mb.refresh(ctx, true); err != nil {
		return 0, err
	}
	if err := mb.writeCourier(ctx, true); err != nil {
		return 0, err
	}
	return mb.snap.Load().len, nil
}

// courierNames renames the directories that are not as Courier has them, and
// enters in other the mailboxes whose names change with that.
func (a *Account) courierNames(force bool, other map[string]string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	moves, err := a.planCourierNames(other)
	if err != nil {
		return err
	}
	if len(other) > 0 && !force {
		return ErrUnfit
	}
	if len(moves) == 0 && a.enc == maildir.UTF8 {
		return nil
	}
	// Subscriptions first: a line that is none in the old encoding is kept, should
	// this be cut short and begun again.
	for _, step := range []func() error{
		func() error { return a.recodeSubscriptions(other) },
		a.recodeACLs,
		func() error { return a.renameFolders(moves) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for old, name := range other {
		a.moveUses([]Renamed{{old, name}})
	}
	a.enc = maildir.UTF8
	err = a.index.update(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "UPDATE account SET encoding = ?", &sqlitex.ExecOptions{Args: []any{int(a.enc)}})
	})
	return errors.Join(err, a.index.durable())
}

// planCourierNames lists what courierNames renames.
func (a *Account) planCourierNames(other map[string]string) ([]renamed, error) {
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
		fit := fitName(name)
		if fit != name {
			other[name] = fit
		}
		dest, err := maildir.EncodeName(fit, maildir.UTF8)
		if err != nil {
			return nil, err
		}
		if dest != dir {
			moves = append(moves, renamed{dir, dest})
		}
	}
	return moves, nil
}

// recodeACLs gives the rights to names that have no directory the names that
// Courier 5 looks for.
func (a *Account) recodeACLs() error {
	dir := filepath.Join(a.dir, maildir.ACLDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreNotExist(err)
	}
	for _, e := range entries {
		name, err := maildir.DecodeName("."+e.Name(), a.enc)
		if err != nil {
			continue // of no mailbox
		}
		to, err := maildir.EncodeName(fitName(name), maildir.UTF8)
		if err != nil || to[1:] == e.Name() {
			continue
		}
		if err := a.ops.RenameNew(filepath.Join(dir, e.Name()), filepath.Join(dir, to[1:])); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// recodeSubscriptions writes the subscriptions as Courier 5 has them, with other
// names for some.
func (a *Account) recodeSubscriptions(renamed map[string]string) error {
	subs, err := a.subscriptions()
	if err != nil || len(subs.Names()) == 0 {
		return err
	}
	for old, name := range renamed {
		if subs.Set(old, false) {
			subs.Set(name, true)
		}
	}
	data, err := maildir.EncodeSubscriptions(subs, maildir.UTF8)
	if err != nil {
		return err
	}
	return a.ops.WriteFile(a.dir, maildir.SubscriptionsFile, a.subscriptionsMode(), data)
}
