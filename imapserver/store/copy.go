package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// freshFile is the age up to which a file may not be on disk yet: the kernel
// writes back what is older than 30 seconds.
const freshFile = time.Minute

// Target is where Copy and Move put messages.
type Target struct {
	Account  *Account // whose mailbox it is; one that has the same uid
	Mailbox  string
	Rights   Rights // of who copies: flags that they may not set are lost (RFC 4314 §4)
	PassOver bool   // what is gone is passed over, where all would fail with ErrExpunged
}

// Copy copies messages by hard link, flags and dates included. All or none, but
// for what to passes over.
func (v *View) Copy(ctx context.Context, seqs []SeqNum, to Target) (CopyResult, error) {
	res, err := v.transfer(ctx, seqs, to, false)
	if err != nil {
		return CopyResult{}, fmt.Errorf("copy to %q: %w", to.Mailbox, diskError(err))
	}
	return res, nil
}

// Move moves messages by rename; Poll then tells their expunge.
func (v *View) Move(ctx context.Context, seqs []SeqNum, to Target) (CopyResult, error) {
	if err := v.Refusal(); err != nil {
		return CopyResult{}, err
	}
	res, err := v.transfer(ctx, seqs, to, true)
	if err != nil {
		return CopyResult{}, fmt.Errorf("move to %q: %w", to.Mailbox, diskError(err))
	}
	return res, nil
}

// transfer is one COPY or MOVE.
type transfer struct {
	src, dst *mailbox
	move     bool
	discard  bool      // only what has \Deleted, which it loses
	passOver bool      // what is gone
	rights   Rights    // to dst
	from     []*record // in src
	records  []record  // in dst, as many
	copied   []bool    // not linked or renamed, but written anew
}

func (v *View) transfer(ctx context.Context, seqs []SeqNum, to Target, move bool) (CopyResult, error) {
	dst, err := to.Account.get(ctx, to.Mailbox)
	if err != nil {
		return CopyResult{}, err
	}
	defer to.Account.put(dst)
	uids := make([]imap.UID, len(seqs))
	for i, n := range seqs {
		uids[i] = v.told.at(int(n) - 1).uid
	}
	t := &transfer{src: v.mb, dst: dst, move: move, passOver: to.PassOver, rights: to.Rights}
	if err := t.run(ctx, uids, v); err != nil || len(uids) == 0 {
		return CopyResult{}, err
	}
	res := CopyResult{UIDValidity: dst.snap.Load().uidValidity}
	for i := range t.records {
		res.Source = append(res.Source, t.from[i].uid)
		res.Dest = append(res.Dest, t.records[i].uid)
	}
	return res, nil
}

// lock takes the locks of both mailboxes in their order.
func (t *transfer) lock() (unlock func()) {
	a, b := t.src, t.dst
	if a == b {
		a.mu.Lock()
		return a.mu.Unlock
	}
	if b.before(a) {
		a, b = b, a
	}
	a.mu.Lock()
	b.mu.Lock()
	return func() {
		b.mu.Unlock()
		a.mu.Unlock()
	}
}

// before tells which lock of two is taken first: of one account, that of the
// mailbox that was made first.
func (mb *mailbox) before(other *mailbox) bool {
	if mb.a != other.a {
		return mb.a.dir < other.a.dir
	}
	return mb.order < other.order
}

func (t *transfer) run(ctx context.Context, uids []imap.UID, v *View) error {
	if err := t.attempts(ctx, uids, v); err != nil {
		return err
	}
	// The new names before the loss of the old ones.
	if err := t.dst.durable(); err != nil {
		return err
	}
	if !t.move {
		return nil
	}
	gone := removed{uids: make(map[imap.UID]bool)}
	for _, r := range t.from {
		gone.uids[r.uid] = true
		gone.inNew = gone.inNew || r.sub == maildir.New
	}
	err := t.src.dropGone(&gone)
	v.tellMoved(t)
	return err
}

// attempts tries until no file is renamed by another program meanwhile.
func (t *transfer) attempts(ctx context.Context, uids []imap.UID, v *View) error {
	defer t.lock()()
	for _, mb := range []*mailbox{t.src, t.dst} {
		if mb.gone.Load() {
			return fmt.Errorf("%w: %q", ErrNotFound, mb.name())
		}
	}
	for range openTries {
		err := t.attempt(ctx, uids, v)
		if !missing(err) {
			return err
		}
		t.src.cur.ctime, t.src.new.ctime = 0, 0
		if err := t.src.sync(ctx, false); err != nil {
			return err
		}
	}
	return errors.New("files do not stay under one name long enough")
}

// attempt is all or nothing.
func (t *transfer) attempt(ctx context.Context, uids []imap.UID, v *View) error {
	if err := t.prepare(ctx, uids); err != nil {
		return err
	}
	if len(t.records) == 0 {
		return nil
	}
	e := t.dst.snap.Load().edit()
	e.s.modseq++
	for i := range t.records {
		r := &t.records[i]
		r.uid, r.modseq = e.s.uidNext, e.s.modseq
		e.s.uidNext++
		e.add(*r)
	}
	origins, err := t.src.origins(t.from)
	if err != nil {
		return err
	}
	p := &placing{dest: t.dst, forced: t.discard, records: t.records, origins: origins, place: t.place, undo: t.undo}
	place := func() error { return p.run(e.done()) }
	if !t.move {
		return place()
	}
	p.leaving = t.src.counted(t.from)
	if t.src.a != t.dst.a {
		p.source = &t.src.a.quota
	}
	if err := t.src.change(place, maildir.Cur, maildir.New); err != nil {
		return err
	}
	if err := t.unlinkCopied(); err != nil {
		return err
	}
	gone := make(map[imap.UID]bool)
	for _, r := range t.from {
		gone[r.uid] = true
	}
	return t.src.removeGone(gone, v)
}

// unlinkCopied removes what was moved by writing it anew.
func (t *transfer) unlinkCopied() error {
	if !slices.Contains(t.copied, true) {
		return nil
	}
	if err := t.dst.folder.Sync(maildir.Cur); err != nil {
		return t.dst.a.index.fail(err)
	}
	return t.src.change(func() error {
		for i, r := range t.from {
			if !t.copied[i] {
				continue
			}
			if err := ignoreNotExist(t.src.folder.Unlink(r.sub, r.name())); err != nil {
				return err
			}
		}
		return nil
	}, maildir.Cur, maildir.New)
}

// prepare looks up the messages and makes the records that they will have.
func (t *transfer) prepare(ctx context.Context, uids []imap.UID) error {
	now := t.src.snap.Load()
	t.from, t.records, t.copied = nil, nil, make([]bool, len(uids))
	for _, uid := range uids {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := now.find(uid)
		if ok, err := t.wanted(r, uid); err != nil {
			return err
		} else if !ok {
			continue
		}
		st, err := t.src.folder.Stat(r.sub, r.name())
		if err != nil {
			return err
		}
		if err := t.src.syncFresh(r, st); err != nil {
			return err
		}
		suffix, names := r.set.suffix, r.set.keywords
		if suffix == "" {
			suffix = maildir.WithFlags("", 0)
		}
		if mask := maskOf(t.rights); mask != allFlags {
			suffix = maildir.WithFlags(suffix, r.set.sys&mask.sys)
			if !mask.keywords {
				names = ""
			}
		}
		if t.discard {
			suffix = maildir.WithFlags(suffix, r.set.sys&^maildir.Trashed)
		}
		keywords, err := t.dst.sets.canonical(strings.Fields(names))
		if err != nil {
			return err
		}
		t.from = append(t.from, r)
		t.records = append(t.records, record{
			sub: maildir.Cur, date: r.date, base: t.dst.a.namer.Next().Base(st.Dev, st.Ino, st.Size),
			set: t.dst.sets.get(suffix, keywords), size: newSize(r.size.Load()),
		})
	}
	return nil
}

// isFresh tells whether a message's file was made or written a short while ago. A
// link or another name that it has been given is no reason to sync what it
// holds: for each file that would have the disk empty its cache.
func isFresh(dir *maildir.Folder, sub maildir.Sub, name string, st maildir.Stat) bool {
	if time.Since(st.Change) >= freshFile {
		return false
	}
	if time.Since(st.ModTime) < freshFile {
		return true
	}
	born, err := dir.Born(sub, name)
	return err != nil || born.IsZero() || time.Since(born) < freshFile
}

// syncFresh makes a message durable that may not be on disk yet.
func (mb *mailbox) syncFresh(r *record, st maildir.Stat) error {
	if !isFresh(mb.folder, r.sub, r.name(), st) {
		return nil
	}
	return mb.a.syncMessage(mb.folder, r.sub, r.name())
}

func (a *Account) syncMessage(dir *maildir.Folder, sub maildir.Sub, name string) error {
	f, err := dir.Open(sub, name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := a.ops.SyncMessage(f); err != nil {
		return a.index.fail(err)
	}
	return nil
}

func (t *transfer) place(i int) error {
	from, to := t.from[i], t.records[i].name()
	src, dst := t.src.folder, t.dst.folder
	var err error
	if t.move {
		err = src.Rename(from.sub, from.name(), dst, maildir.Cur, to)
	} else {
		err = src.Link(from.sub, from.name(), dst, maildir.Cur, to)
	}
	switch {
	case errors.Is(err, unix.EXDEV), !t.move && (errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM)):
		t.copied[i] = true
		return t.dst.a.copyFile(src, from, dst, to)
	}
	return err
}

func (t *transfer) undo(i int) error {
	from, to := t.from[i], t.records[i].name()
	if t.move && !t.copied[i] {
		return t.dst.folder.Rename(maildir.Cur, to, t.src.folder, from.sub, from.name())
	}
	return t.dst.folder.Unlink(maildir.Cur, to)
}

// copyFile writes a message of another folder anew, under a name in cur of dst, which
// is the account's. What it holds is durable; its name is not yet.
func (a *Account) copyFile(src *maildir.Folder, r *record, dst *maildir.Folder, name string) error {
	in, err := src.Open(r.sub, r.name())
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := a.namer.Next().Tmp()
	out, err := dst.Create(tmp)
	if err != nil {
		return err
	}
	if _, err = io.Copy(a.ops.Writer(out), in); err == nil {
		err = dst.SetTime(maildir.Tmp, tmp, time.Unix(r.date, 0))
	}
	if err == nil {
		err = a.ops.SyncFile(out)
	}
	if err == nil {
		err = dst.Rename(maildir.Tmp, tmp, dst, maildir.Cur, name)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(err, ignoreNotExist(dst.Unlink(maildir.Tmp, tmp)))
	}
	return nil
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
