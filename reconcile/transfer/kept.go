package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// Kept is what the daemon has kept of a user's messages that were expunged, as a
// source.
type Kept struct {
	Dir   string    // maildir.KeptDir in the daemon's directory of the Maildir
	Since time.Time // messages that were expunged before are left
	// Origins is where messages had been, by UID, that were moved to a mailbox before
	// they were expunged there, by mailbox.
	Origins map[string]map[uint32]string

	found map[string][]keptMessage // by mailbox
}

type keptMessage struct {
	Entry
	name string
}

// lostMailbox is where messages go of which no note says where they were.
const lostMailbox = "Recovered"

// Open is an Opener.
func (k *Kept) Open(context.Context) (Source, error) { return k, nil }

// Close is Source's.
func (k *Kept) Close() error { return nil }

// Mailboxes is Source's.
func (k *Kept) Mailboxes(context.Context) (all []Mailbox, err error) {
	k.found = map[string][]keptMessage{}
	f, err := maildir.OpenFolder(k.Dir, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	notes, err := k.notes(f)
	if err != nil {
		return nil, err
	}
	l, err := f.List(maildir.Cur)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	for i := range l.Len() {
		name := string(l.Name(i))
		box, m, ok := k.message(f, name, notes[name])
		if ok {
			k.found[box] = append(k.found[box], m)
		}
	}
	for box, messages := range k.found {
		slices.SortFunc(messages, func(a, b keptMessage) int { return strings.Compare(a.ID, b.ID) })
		all = append(all, Mailbox{Name: box, Levels: strings.Split(box, "."), Subscribed: true, Validity: "kept", Messages: len(messages)})
	}
	slices.SortFunc(all, func(a, b Mailbox) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// notes reads what the daemon has noted, by file name.
func (k *Kept) notes(f *maildir.Folder) (map[string]maildir.KeptNote, error) {
	files, err := os.ReadDir(k.Dir)
	if err != nil {
		return nil, err
	}
	all := map[string]maildir.KeptNote{}
	for _, file := range files {
		if _, ok := maildir.KeptNotesEnd(file.Name()); !ok {
			continue
		}
		data, err := f.ReadSidecar(file.Name())
		if err != nil {
			return nil, err
		}
		for _, n := range maildir.ParseKeptNotes(data) {
			all[n.Name] = n
		}
	}
	return all, nil
}

func (k *Kept) message(f *maildir.Folder, name string, n maildir.KeptNote) (box string, m keptMessage, ok bool) {
	at, _, ok := maildir.ParseKeptName(name)
	st, err := f.Stat(maildir.Cur, name)
	if !ok || err != nil || !st.Regular || at.Before(k.Since) {
		return "", m, false
	}
	m = keptMessage{Entry{ID: plainID(name), Date: st.ModTime.Unix(), Size: st.Size}, name}
	box = lostMailbox
	if n.Name != "" {
		box, m.Date = n.Mailbox, n.Date
		if before, moved := k.Origins[box][n.UID]; moved {
			box = before
		}
	}
	base, suffix := maildir.SplitName(name)
	var words keywords
	flags := words.of(base, suffix)
	for _, w := range strings.Fields(n.Keywords) {
		flags = append(flags, imap.Flag(w))
	}
	m.Flags = flagList(slices.DeleteFunc(flags, func(f imap.Flag) bool { return f == imap.FlagDeleted }))
	return box, m, true
}

// List is Source's.
func (k *Kept) List(_ context.Context, box Mailbox) (all []Entry, err error) {
	for i, m := range k.found[box.Name] {
		m.at = i
		all = append(all, m.Entry)
	}
	return all, nil
}

// Fetch is Source's.
func (k *Kept) Fetch(ctx context.Context, box Mailbox, messages []Entry, take func(Entry, io.Reader) error) error {
	f, err := maildir.OpenFolder(k.Dir, nil)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, e := range messages {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := f.Open(maildir.Cur, k.found[box.Name][e.at].name)
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
