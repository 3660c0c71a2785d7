package deliver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"mailstead/imapserver/config"
	"mailstead/imapserver/maildir"
)

// Deliverer delivers into Maildirs as the user that the process is. Its methods
// may be called from many goroutines.
type Deliverer struct {
	ops   *maildir.Ops
	namer *maildir.Namer
	most  int64                          // octets of one message on disk
	log   func(text string, args ...any) // of what keeps no mail from being delivered
}

// New gives a Deliverer for messages of up to most octets; log takes pairs as
// those of package slog do.
func New(ops *maildir.Ops, most int64, log func(text string, args ...any)) *Deliverer {
	return &Deliverer{ops, maildir.NewNamer(), most, log}
}

// Place is where somebody's mail is, and how much of it there may be.
type Place struct {
	Maildir string
	Quota   *config.Quota // nil: as the Maildir says, if it does
}

// Deliver puts a message into a mailbox. Once it returns without an error, the
// message survives a power cut; after an error it is not there, unless the last
// sync has failed: then it may be. AsFault says what the sender's server is told.
func (d *Deliverer) Deliver(p Place, e Envelope, r io.Reader) error {
	dir, err := d.open(p.Maildir, e.Mailbox)
	if err != nil {
		return err
	}
	defer dir.Close()
	id := d.namer.Next()
	f, err := dir.Create(id.Tmp())
	if err != nil {
		return err
	}
	placed := false
	defer func() {
		f.Close()
		if !placed {
			d.remove(dir.Folder, maildir.Tmp, id.Tmp())
		}
	}()
	buf := bufio.NewWriterSize(d.ops.Writer(f), 64<<10)
	size, err := copyMessage(buf, r, e, d.most)
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = d.ops.SyncFile(f)
	}
	if err != nil {
		return err
	}
	st, err := dir.Stat(maildir.Tmp, id.Tmp())
	if err != nil {
		return err
	}
	u := maildir.Usage{Octets: size.disk, Messages: 1}
	undo, err := d.claim(p, dir.counts, u)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s,W=%d", id.Base(st.Dev, st.Ino, st.Size), size.disk+size.lines)
	if err := dir.Rename(maildir.Tmp, id.Tmp(), dir.Folder, maildir.New, name); err != nil {
		undo()
		return err
	}
	placed = true
	if err := dir.Sync(maildir.New); err != nil {
		return err
	}
	return d.kept(p, dir, name, u)
}

// kept sees to a message whose mailbox was deleted while it came: what is left of
// that is removed any moment, so the message goes to INBOX. A mailbox that was
// renamed has it still.
func (d *Deliverer) kept(p Place, dir mailbox, name string, u maildir.Usage) error {
	if !dir.Moved(dir.Path()) {
		return nil
	}
	dirs, err := maildir.FolderDirs(p.Maildir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(dirs, func(now string) bool { return !dir.Moved(filepath.Join(p.Maildir, now)) }) {
		return nil
	}
	inbox, err := maildir.OpenFolder(p.Maildir, d.ops)
	if err != nil {
		return err
	}
	defer inbox.Close()
	undo, err := d.claim(p, !dir.counts, u) // what was to count has been written down
	if err != nil {
		d.remove(dir.Folder, maildir.New, name)
		return err
	}
	if err := dir.Rename(maildir.New, name, inbox, maildir.New, name); err != nil {
		undo() // the rest is for who has deleted it to count
		return fmt.Errorf("the mailbox was deleted meanwhile: %w", err)
	}
	d.log("the mailbox was deleted while a message came, which goes to INBOX", "maildir", p.Maildir, "mailbox", filepath.Base(dir.Path()), "message", name)
	return inbox.Sync(maildir.New)
}

// remove removes what was not delivered.
func (d *Deliverer) remove(f *maildir.Folder, sub maildir.Sub, name string) {
	if err := f.Unlink(sub, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log("cannot remove what was not delivered", "err", err)
	}
}

// mailbox is a folder to deliver into.
type mailbox struct {
	*maildir.Folder
	counts bool // for a quota
}

// open opens a mailbox of a Maildir, INBOX where there is none of that name. A
// Maildir that is not there is never made: its file system may not be mounted.
func (d *Deliverer) open(top, name string) (mailbox, error) {
	if name != "" && !strings.EqualFold(name, maildir.Inbox) {
		dir, err := d.find(top, name)
		if err == nil {
			var f *maildir.Folder
			if f, err = maildir.OpenFolder(filepath.Join(top, dir), d.ops); err == nil {
				return mailbox{f, dir != maildir.TrashDir}, nil
			}
		}
		d.log("there is no such mailbox, and the message goes to INBOX", "maildir", top, "mailbox", name, "err", err)
	}
	f, err := maildir.OpenFolder(top, d.ops)
	return mailbox{f, true}, err
}

// find gives the directory of a mailbox, in whichever case of its letters.
func (d *Deliverer) find(top, name string) (string, error) {
	dirs, err := maildir.FolderDirs(top)
	if err != nil {
		return "", err
	}
	enc := maildir.DetectEncoding(dirs)
	dir, err := maildir.EncodeName(name, enc)
	if err != nil {
		return "", err
	}
	found := ""
	for _, have := range dirs {
		if have == dir {
			return dir, nil
		}
		if is, err := maildir.DecodeName(have, enc); err == nil && found == "" && strings.EqualFold(is, name) {
			found = have
		}
	}
	if found == "" {
		return "", fs.ErrNotExist
	}
	return found, nil
}
