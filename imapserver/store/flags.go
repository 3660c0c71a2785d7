package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// flagMask is the flags that a user may change.
type flagMask struct {
	sys      maildir.Flags
	keywords bool
}

var allFlags = flagMask{sys: ^maildir.Flags(0), keywords: true}

// maskOf gives the flags that rights allow to change (RFC 4314 §4, STORE).
func maskOf(r Rights) flagMask {
	m := flagMask{keywords: r.Has(RightWrite)}
	if m.keywords {
		m.sys = ^(maildir.Seen | maildir.Trashed)
	}
	if r.Has(RightSeen) {
		m.sys |= maildir.Seen
	}
	if r.Has(RightDeleted) {
		m.sys |= maildir.Trashed
	}
	return m
}

// Store changes flags; \Recent is ignored, and so are those that the view's
// user has no right to. It returns once the change survives
// a power cut. The changes reach this view too in the next Poll, as Own.
// ErrExpunged where some of the messages are gone and all is well otherwise: the
// others are changed.
func (v *View) Store(ctx context.Context, seqs []SeqNum, op StoreOp, flags []imap.Flag) error {
	_, err := v.StoreUnchanged(ctx, seqs, op, flags, math.MaxInt64)
	return err
}

// StoreUnchanged is Store for those of the messages whose mod-sequence is not
// above since. It gives the UIDs of the others, ascending (RFC 7162 §3.1.3), with
// ErrExpunged too.
func (v *View) StoreUnchanged(ctx context.Context, seqs []SeqNum, op StoreOp, flags []imap.Flag, since ModSeq) (modified []imap.UID, err error) {
	if err := v.Refusal(); err != nil {
		return nil, err
	}
	mask := maskOf(v.rights)
	sys, names := splitFlags(flags)
	if !mask.keywords {
		names = nil // they are not to become some of the mailbox's
	}
	keywords, err := v.mb.keywordsFor(op, names)
	if err != nil {
		return nil, err
	}
	uids := make([]imap.UID, len(seqs))
	for i, n := range seqs {
		uids[i] = v.told.at(int(n) - 1).uid
	}
	slices.Sort(uids)
	c := &storing{v: v, mb: v.mb, op: op, sys: sys, keywords: keywords, mask: mask, since: since}
	err = c.run(ctx, slices.Compact(uids))
	// What has been changed in part is durable, too.
	switch {
	case v.mb.a.relaxed.Load():
	case c.names && c.keyworded:
		err = errors.Join(err, v.mb.durable())
	case c.names:
		if serr := v.mb.curSync.wait(); serr != nil {
			err = errors.Join(err, v.mb.distrust(serr))
		}
	case c.keyworded:
		err = errors.Join(err, v.mb.a.index.durable())
	}
	if err == nil && c.missing {
		err = ErrExpunged
	}
	slices.Sort(c.modified)
	c.modified = slices.Compact(c.modified)
	if err != nil {
		err = fmt.Errorf("store: %w", diskError(err))
	}
	return c.modified, err
}

// keywordsFor gives keywords in the mailbox's spelling. To remove one that no
// message has does not make it one of the mailbox's.
func (mb *mailbox) keywordsFor(op StoreOp, names []string) ([]string, error) {
	mb.mu.Lock()
	sets := mb.sets
	mb.mu.Unlock()
	if op == StoreRemove {
		for _, n := range names {
			if err := checkKeyword(n); err != nil {
				return nil, err
			}
		}
		return sets.known(names), nil
	}
	keywords, err := sets.canonical(names)
	return strings.Fields(keywords), err
}

// storing is one STORE.
type storing struct {
	v        *View
	mb       *mailbox
	op       StoreOp
	sys      maildir.Flags
	keywords []string // canonical
	mask     flagMask // what may change
	since    ModSeq   // what has a higher one is left

	modified  []imap.UID    // what was left
	names     bool          // the names in cur are to be durable: one is another, or tells flags that were asked for
	keyworded bool          // and so are the keywords in the index
	grown     maildir.Usage // by \Deleted that was taken away or set
	changed   []record
	from      []ModSeq // of changed, before
	missing   bool     // some are gone
}

func (c *storing) run(ctx context.Context, uids []imap.UID) error {
	mb := c.mb
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.gone.Load() {
		return fmt.Errorf("%w: %q", ErrNotFound, mb.name())
	}
	mb.a.quota.changes.RLock()
	defer mb.a.quota.changes.RUnlock()
	defer func() { mb.a.quota.note(c.grown) }()
	// A file that another program has renamed is looked for, and changed then.
	for range openTries {
		lost, err := c.passes(uids)
		if err != nil || len(lost) == 0 {
			return err
		}
		mb.cur.ctime, mb.new.ctime = 0, 0
		if err := mb.sync(ctx, false); err != nil {
			return err
		}
		uids = lost
	}
	return fmt.Errorf("the files of %d messages do not stay under one name long enough", len(uids))
}

// passes is pass, part by part where the index has no room for all at once.
func (c *storing) passes(uids []imap.UID) (lost []imap.UID, err error) {
	for n := len(uids); len(uids) > 0; {
		n = min(n, len(uids))
		some, err := c.pass(uids[:n])
		if n > 1 && len(c.changed) == 0 && errors.Is(diskError(err), ErrNoSpace) {
			n /= 2
			continue
		}
		if err != nil {
			return nil, err
		}
		lost, uids = append(lost, some...), uids[n:]
	}
	return lost, nil
}

// pass changes the messages, but for those whose file is not where it should
// be.
func (c *storing) pass(uids []imap.UID) (lost []imap.UID, err error) {
	mb := c.mb
	now := mb.snap.Load()
	e := now.edit()
	modseq := now.modseq + 1
	c.changed, c.from = nil, nil
	inNew, grown := 0, c.grown
	err = mb.change(func() error {
		for _, uid := range uids {
			old := now.find(uid)
			if old == nil {
				c.missing = true
				continue
			}
			if old.modseq > c.since {
				c.modified = append(c.modified, uid)
				continue
			}
			r, err := c.one(old)
			if errors.Is(err, fs.ErrNotExist) {
				lost = append(lost, uid)
				continue
			}
			if err != nil {
				return err
			}
			if r.set == old.set {
				// Another session, or program, may have set them just now.
				c.names = c.names || c.sys != 0 || c.op == StoreSet
				c.keyworded = c.keyworded || len(c.keywords) > 0 || c.op == StoreSet
				continue
			}
			inNew += isNew(r.sub) - isNew(old.sub)
			r.modseq = modseq
			e.set(r)
			c.changed = append(c.changed, r)
			c.from = append(c.from, old.modseq)
		}
		return nil
	}, maildir.Cur, maildir.New)
	if len(c.changed) == 0 {
		return lost, err
	}
	// What has been renamed is so, whether or not all went well.
	e.s.modseq = modseq
	cerr := mb.commit(e.done(), false, c.v, func(conn *sqlite.Conn) error {
		return mb.putMessages(conn, c.changed)
	})
	if cerr != nil {
		mb.cur.ctime, mb.new.ctime = 0, 0 // the next sync sees the names that there are
		uerr := c.undo(now)
		if uerr == nil {
			c.grown = grown
		}
		c.changed = nil
		return nil, errors.Join(err, cerr, uerr)
	}
	mb.inNew += inNew
	for i, r := range c.changed {
		c.v.noteOwn(r.uid, c.from[i], modseq)
	}
	return lost, err
}

// undo gives the files of changed messages the names that they had before.
func (c *storing) undo(before *snapshot) error {
	mb := c.mb
	return mb.change(func() error {
		var errs []error
		for i := range c.changed {
			r, old := &c.changed[i], before.find(c.changed[i].uid)
			if r.set.suffix != old.set.suffix {
				errs = append(errs, mb.folder.Rename(r.sub, r.name(), mb.folder, old.sub, old.name()))
			}
		}
		return errors.Join(errs...)
	}, maildir.Cur, maildir.New)
}

// one changes one message's file and gives its new record.
func (c *storing) one(old *record) (record, error) {
	mb, r := c.mb, *old
	sys := r.set.sys&^c.mask.sys | c.combineSys(r.set.sys)&c.mask.sys
	keywords, err := c.combineKeywords(r.set.keywords)
	if err != nil {
		return r, err
	}
	suffix := r.set.suffix
	if sys != r.set.sys {
		suffix = maildir.WithFlags(suffix, sys)
	}
	r.set = mb.sets.get(suffix, keywords)
	if suffix != old.set.suffix {
		if err := mb.folder.Rename(old.sub, old.name(), mb.folder, maildir.Cur, r.name()); err != nil {
			return r, err
		}
		r.sub = maildir.Cur
		c.names = true
		c.grown = c.grown.Add(mb.counted([]*record{&r})).Add(mb.counted([]*record{old}).Negative())
	}
	if keywords != old.set.keywords {
		c.keyworded = true
	}
	return r, nil
}

func (c *storing) combineSys(old maildir.Flags) maildir.Flags {
	switch c.op {
	case StoreAdd:
		return old | c.sys
	case StoreRemove:
		return old &^ c.sys
	}
	return c.sys
}

func (c *storing) combineKeywords(old string) (string, error) {
	if !c.mask.keywords {
		return old, nil
	}
	var list []string
	switch c.op {
	case StoreAdd:
		list = append(strings.Fields(old), c.keywords...)
	case StoreRemove:
		list = slices.DeleteFunc(strings.Fields(old), func(k string) bool { return slices.Contains(c.keywords, k) })
	default:
		list = c.keywords
	}
	return c.mb.sets.canonical(list)
}
