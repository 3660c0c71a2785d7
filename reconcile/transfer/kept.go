package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// Kept is what the daemon has kept of a user's messages that were expunged, and of
// mailboxes that were deleted, as a source.
type Kept struct {
	Dir   string    // maildir.KeptDir in the daemon's directory of the Maildir
	Since time.Time // what was expunged or deleted before is left
	// Origins is where messages had been, by UID, that were moved to a mailbox before
	// they were expunged there, by OriginKey of that.
	Origins map[string]map[uint32]string

	found map[string]*keptMailbox // by name
}

// keptMailbox is what is kept of a mailbox, or of several that had its name.
type keptMailbox struct {
	messages   []keptMessage
	subscribed bool
	deleted    time.Time // when the last of them was, with what subscribed says
}

type keptMessage struct {
	Entry
	gone time.Time // when it was expunged, or its mailbox deleted
	uid  uint32
	dir  string // of the deleted mailbox, in Dir; "": it was expunged
	sub  maildir.Sub
	name string
}

// OriginKey names a mailbox for as long as its UIDs are of the same messages.
func OriginKey(mailbox string, validity uint32) string {
	return fmt.Sprintf("%d %s", validity, mailbox)
}

// lostMailbox is where messages go of which no note says where they were.
const lostMailbox = "Recovered"

// Open is an Opener.
func (k *Kept) Open(context.Context) (Source, error) { return k, nil }

// Close is Source's.
func (k *Kept) Close() error { return nil }

// Mailboxes is Source's.
func (k *Kept) Mailboxes(context.Context) (all []Mailbox, err error) {
	k.found = map[string]*keptMailbox{}
	files, err := os.ReadDir(k.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := k.expunged(files); err != nil {
		return nil, err
	}
	for _, f := range files {
		if at, _, ok := maildir.ParseKeptName(f.Name()); ok && f.IsDir() && !at.Before(k.Since) {
			if err := k.deleted(f.Name(), at); err != nil {
				return nil, err
			}
		}
	}
	for name, box := range k.found {
		slices.SortFunc(box.messages, func(a, b keptMessage) int {
			return cmp.Or(a.gone.Compare(b.gone), cmp.Compare(a.uid, b.uid), strings.Compare(a.ID, b.ID))
		})
		all = append(all, Mailbox{Name: name, Ours: true, Subscribed: box.subscribed, Validity: "kept", Messages: len(box.messages)})
	}
	slices.SortFunc(all, func(a, b Mailbox) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// box gives what is found of a mailbox.
func (k *Kept) box(name string) *keptMailbox {
	if k.found[name] == nil {
		k.found[name] = &keptMailbox{subscribed: true}
	}
	return k.found[name]
}

// expunged finds the messages that were expunged one by one.
func (k *Kept) expunged(files []fs.DirEntry) error {
	f, err := maildir.OpenFolder(k.Dir, nil)
	if err != nil {
		return err
	}
	defer f.Close()
	notes := map[string]maildir.KeptNote{}
	for _, file := range files {
		if _, ok := maildir.KeptNotesEnd(file.Name()); !ok {
			continue
		}
		err := readNotes(f, file.Name(), func(n maildir.KeptNote) {
			if at, _, ok := maildir.ParseKeptName(n.Name); ok && !at.Before(k.Since) {
				notes[n.Name] = n
			}
		})
		if err != nil {
			return err
		}
	}
	return eachFile(f, maildir.Cur, func(name string) {
		at, _, ok := maildir.ParseKeptName(name)
		if !ok || at.Before(k.Since) {
			return
		}
		n := notes[name]
		box := n.Mailbox
		if before, moved := k.Origins[OriginKey(box, n.Validity)][n.UID]; moved {
			box = before
		}
		k.add(f, cmp.Or(box, lostMailbox), n, keptMessage{Entry: Entry{ID: plainID(name)}, gone: at, name: name})
	})
}

// deleted finds those of a mailbox that was deleted as a whole.
func (k *Kept) deleted(dir string, at time.Time) error {
	f, err := maildir.OpenFolder(filepath.Join(k.Dir, dir), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has been kept long enough, or had no messages ever
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var mailbox maildir.KeptNote
	notes := map[string]maildir.KeptNote{}
	err = readNotes(f, maildir.KeptMailboxFile, func(n maildir.KeptNote) {
		if n.Name == "" {
			mailbox = n
		} else {
			notes[n.Name] = n
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := cmp.Or(mailbox.Mailbox, lostMailbox)
	if box := k.box(name); mailbox.Mailbox != "" && !at.Before(box.deleted) {
		box.subscribed, box.deleted = mailbox.Subscribed, at
	}
	for _, sub := range []maildir.Sub{maildir.Cur, maildir.New} {
		err := eachFile(f, sub, func(file string) {
			base, _ := maildir.SplitName(file)
			m := keptMessage{Entry: Entry{ID: plainID(filepath.Join(dir, base))}, gone: at, dir: dir, sub: sub, name: file}
			k.add(f, name, notes[base], m)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func readNotes(f *maildir.Folder, name string, each func(maildir.KeptNote)) error {
	file, err := f.OpenSidecar(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return maildir.ReadKeptNotes(file, each)
}

func eachFile(f *maildir.Folder, sub maildir.Sub, each func(name string)) error {
	l, err := f.List(sub)
	if err != nil {
		return err
	}
	defer l.Release()
	for name := range l.All() {
		each(name)
	}
	return nil
}

// add adds a message with its note, if there is one, unless it is none.
func (k *Kept) add(f *maildir.Folder, mailbox string, n maildir.KeptNote, m keptMessage) {
	st, err := f.Stat(m.sub, m.name)
	if err != nil || !st.Regular {
		return
	}
	m.Size, m.Date = st.Size, cmp.Or(n.Date, st.ModTime.Unix())
	m.uid = cmp.Or(n.UID, math.MaxUint32) // where nobody had looked, it had come last
	base, suffix := maildir.SplitName(m.name)
	var words keywords
	flags := words.of(base, suffix)
	for _, w := range strings.Fields(n.Keywords) {
		flags = append(flags, imap.Flag(w))
	}
	m.Flags = flagList(slices.DeleteFunc(flags, func(f imap.Flag) bool { return f == imap.FlagDeleted }))
	box := k.box(mailbox)
	box.messages = append(box.messages, m)
}

// List is Source's.
func (k *Kept) List(_ context.Context, box Mailbox, each func(Entry)) error {
	for i, m := range k.found[box.Name].messages {
		m.Entry.at = i
		each(m.Entry)
	}
	return nil
}

// Fetch is Source's.
func (k *Kept) Fetch(ctx context.Context, box Mailbox, messages []Entry, take func(Entry, io.Reader) error) error {
	var f *maildir.Folder
	dir := ""
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	for _, e := range messages {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := &k.found[box.Name].messages[e.at]
		if f == nil || m.dir != dir {
			if f != nil {
				f.Close()
			}
			var err error
			if f, err = maildir.OpenFolder(filepath.Join(k.Dir, m.dir), nil); errors.Is(err, fs.ErrNotExist) {
				continue // as below
			} else if err != nil {
				return err
			}
			dir = m.dir
		}
		file, err := f.Open(m.sub, m.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has been kept long enough
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", filepath.Join(k.Dir, "cur", e.ID), err)
		}
		err = take(e, file)
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
