package store

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// View is one session's view of a mailbox: the messages with their sequence
// numbers as this session has been told. It changes only in Poll and PollFlags. One
// goroutine owns a View; Wake may be used from another, and so may what reads
// messages while the owner does nothing else with it.
type View struct {
	mb       *mailbox
	readOnly bool
	disk     bool   // since its file system is read-only
	rights   Rights // of its user, as far as they are about flags
	wake     chan struct{}
	closed   bool

	told    *snapshot              // as the session has been told
	sure    ModSeq                 // all up to it has been told, but for flags from
	omitted ModSeq                 // on; 0: those too
	recent  []uidRange             // of messages that are \Recent here; ascending
	own     map[imap.UID]ownChange // changes by Store that Poll has not told

	removed func([]Removal) // is told of them; may be nil
}

// uidRange is the UIDs from lo up to, not including, hi.
type uidRange struct{ lo, hi imap.UID }

// Select opens a mailbox: brings the index up to date with the Maildir and
// gives a View of it. Unless it is read-only, this View takes the \Recent
// messages; a later one will not see them as recent.
func (a *Account) Select(ctx context.Context, name string, readOnly bool) (*View, error) {
	mb, err := a.get(ctx, name)
	if err != nil {
		return nil, err
	}
	disk := !readOnly && (a.index.unwritten != nil || readOnlyDisk(a.own))
	readOnly = readOnly || disk
	v := &View{mb: mb, readOnly: readOnly, disk: disk, rights: AllRights, wake: make(chan struct{}, 1), own: make(map[imap.UID]ownChange)}
	mb.mu.Lock()
	mb.views[v] = true
	if !mb.gone.Load() {
		a.watch.add(mb, mb.path())
	}
	mb.mu.Unlock()
	if err := mb.refresh(ctx, !readOnly); err != nil {
		v.Close()
		return nil, err
	}
	mb.mu.Lock()
	v.told = mb.snap.Load()
	v.sure = v.told.modseq
	v.takeRecent(v.told)
	a.fill.ask(mb.dir)
	mb.noteText(v.told.uidNext, true)
	mb.mu.Unlock()
	return v, nil
}

// Close gives the view back.
func (v *View) Close() {
	if v.closed {
		return
	}
	v.closed = true
	v.mb.mu.Lock()
	delete(v.mb.views, v)
	v.mb.mu.Unlock()
	v.mb.a.put(v.mb)
}

// refresh syncs, unless another session has begun to do so since it was called:
// fifty who ask at once need one look at the Maildir, not fifty one after the
// other. With the disk full or at fault, what is known already is served on, unless a
// sync has failed.
func (mb *mailbox) refresh(ctx context.Context, move bool) error {
	begun := mb.begun.Load()
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.gone.Load() {
		return fmt.Errorf("%w: %q", ErrNotFound, mb.name())
	}
	if mb.folder.Moved(mb.path()) {
		mb.end()
		return fmt.Errorf("%w: %q: its directory is gone", ErrNotFound, mb.name())
	}
	if mb.looked > begun && !(move && mb.inNew > mb.stuck) {
		return nil
	}
	err := mb.sync(ctx, move)
	if atDisk(err) && mb.row.id != 0 && mb.a.index.working() == nil {
		mb.a.Trouble(err)
		return nil
	}
	return err
}

// poke wakes the session.
func (v *View) poke() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// takeRecent makes the messages of s that no read-write view has had \Recent in
// this one. A read-only view shows them too, but leaves them to the next.
// mailbox.mu is held.
func (v *View) takeRecent(s *snapshot) {
	from := v.mb.row.recent
	if !v.readOnly {
		v.mb.row.recent = s.uidNext
	}
	n := len(v.recent)
	if n > 0 {
		from = max(from, v.recent[n-1].hi)
	}
	switch {
	case from >= s.uidNext:
	case n > 0 && v.recent[n-1].hi == from:
		v.recent[n-1].hi = s.uidNext
	default:
		v.recent = append(v.recent, uidRange{from, s.uidNext})
	}
}

func (v *View) isRecent(uid imap.UID) bool {
	i := sort.Search(len(v.recent), func(i int) bool { return v.recent[i].hi > uid })
	return i < len(v.recent) && v.recent[i].lo <= uid
}

// Name is the mailbox's name; a RENAME by another session changes it.
func (v *View) Name() string {
	v.mb.mu.Lock()
	defer v.mb.mu.Unlock()
	return v.mb.name()
}

// UIDValidity is the mailbox's.
func (v *View) UIDValidity() uint32 { return v.told.uidValidity }

// UIDNext is the mailbox's as of the last Poll.
func (v *View) UIDNext() imap.UID { return v.told.uidNext }

// ReadOnly tells whether the view may change messages.
func (v *View) ReadOnly() bool { return v.readOnly }

// Refusal says why nothing may be changed in the view; nil: it may.
func (v *View) Refusal() error {
	switch {
	case v.disk:
		return fmt.Errorf("%w: its file system is read-only", ErrDisk)
	case v.readOnly:
		return ErrReadOnly
	}
	return nil
}

// Restrict says which rights the view's user has: Store leaves the other flags
// as they are.
func (v *View) Restrict(r Rights) { v.rights = r }

// Len is the number of messages (EXISTS).
func (v *View) Len() int { return v.told.len }

// FirstUnseen is the first message without \Seen, 0 if there is none.
func (v *View) FirstUnseen() SeqNum {
	if v.told.unseen == 0 {
		return 0
	}
	n := SeqNum(0)
	v.told.all(func(r *record) bool {
		n++
		return r.set.sys&maildir.Seen != 0
	})
	return n
}

// Recent is the number of messages that are \Recent in this view (RECENT).
func (v *View) Recent() int {
	n := 0
	for _, r := range v.recent {
		lo, _ := v.told.index(r.lo)
		hi, _ := v.told.index(r.hi)
		n += hi - lo
	}
	return n
}

// Keywords are those that messages of the mailbox have, or have had since it
// was loaded, sorted.
func (v *View) Keywords() []imap.Flag {
	return v.sets().names()
}

// KeywordsFull tells whether the mailbox has as many keywords as it may have.
func (v *View) KeywordsFull() bool { return v.sets().full() }

func (v *View) sets() *flagsets {
	v.mb.mu.Lock()
	defer v.mb.mu.Unlock()
	return v.mb.sets
}

// At gives message n, 1 <= n <= Len.
func (v *View) At(n SeqNum) Message {
	r := v.told.at(int(n) - 1)
	return Message{
		UID: r.uid, ModSeq: r.modseq, Flags: r.set.flags, InternalDate: time.Unix(r.date, 0), Recent: v.isRecent(r.uid),
	}
}

// UIDAt gives the UID of message n without making a Message.
func (v *View) UIDAt(n SeqNum) imap.UID { return v.told.at(int(n) - 1).uid }

// Seq finds the sequence number of a UID. Where there is none, it gives the
// number of the next higher UID (Len+1 at the end) and false.
func (v *View) Seq(uid imap.UID) (SeqNum, bool) {
	i, ok := v.told.index(uid)
	return SeqNum(i + 1), ok
}

// Gone tells whether message n has been expunged, which Poll has not told yet.
func (v *View) Gone(n SeqNum) bool { return v.mb.snap.Load().find(v.UIDAt(n)) == nil }

// Size is the RFC822.SIZE of message n: octets with CRLF line ends. It is read
// from the message once and then kept.
func (v *View) Size(ctx context.Context, n SeqNum) (int64, error) {
	return v.mb.size(ctx, v.told.at(int(n)-1))
}

// Read gives message n whole, with CRLF line ends. ErrExpunged where another
// session has removed it.
func (v *View) Read(ctx context.Context, n SeqNum) ([]byte, error) {
	return v.mb.read(ctx, v.told.at(int(n)-1))
}

// Wake receives once after one or more changes that Poll has not yet told.
func (v *View) Wake() <-chan struct{} { return v.wake }
