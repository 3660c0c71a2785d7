package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// ownChange is what Store did to one message, as long as nothing else was done
// to it.
type ownChange struct{ to ModSeq }

// noteOwn notes a change by Store from one mod-sequence to another. If the
// session has not been told of the state before, someone else's change hides in
// it, and it must be told of both.
func (v *View) noteOwn(uid imap.UID, from, to ModSeq) {
	if own, ok := v.own[uid]; ok && own.to == from {
		v.own[uid] = ownChange{to}
		return
	}
	if r := v.told.find(uid); r != nil && r.modseq == from {
		v.own[uid] = ownChange{to}
		return
	}
	delete(v.own, uid)
}

// Poll brings the view up to the mailbox's present state. Without expunge, it
// keeps expunged messages in place (RFC 9051 §7.5.1) and tells them later.
// scan asks for a look at the Maildir even if nothing woke us (NOOP, CHECK).
// ErrNotFound once the mailbox has been deleted.
func (v *View) Poll(ctx context.Context, expunge, scan bool) ([]Update, error) {
	now, err := v.look(ctx, scan)
	if err != nil {
		return nil, err
	}
	return v.tell(now, expunge, true), nil
}

// PollFlags brings the flags of the messages that the session has been told of up
// to date: what has come and gone is told by a later Poll.
func (v *View) PollFlags(ctx context.Context) ([]Update, error) {
	now, err := v.look(ctx, false)
	if err != nil {
		return nil, err
	}
	return v.tell(now, false, false), nil
}

// look gives the mailbox's present state.
func (v *View) look(ctx context.Context, scan bool) (*snapshot, error) {
	select {
	case <-v.wake:
	default:
	}
	if scan {
		if err := v.mb.refresh(ctx, !v.readOnly); err != nil {
			return nil, err
		}
	}
	v.mb.mu.Lock()
	if v.mb.gone.Load() {
		v.mb.mu.Unlock()
		return nil, fmt.Errorf("%w: %q", ErrNotFound, v.mb.name())
	}
	now := v.mb.snap.Load()
	v.takeRecent(now)
	v.mb.mu.Unlock()
	return now, nil
}

// tell makes now what the session has been told, and gives what that takes: without
// expunge and come, all but the messages that have gone or come.
func (v *View) tell(now *snapshot, expunge, come bool) []Update {
	if v.told == now {
		return nil
	}
	d := diff(v.told, now)
	uidNext := now.uidNext
	held := !expunge && len(d.gone) > 0 || !come && len(d.added) > 0
	if !come {
		d.added, uidNext = nil, v.told.uidNext
	}
	var updates []Update
	if !held {
		// From the end, so that each number is right when it is told.
		for _, n := range slices.Backward(d.gone) {
			updates = append(updates, Update{Kind: UpdateExpunge, Seq: SeqNum(n + 1), UID: v.told.at(n).uid})
		}
		v.told, v.sure = now, now.modseq
	} else {
		v.told = withhold(v.told, d)
		v.told.uidNext, v.told.modseq = uidNext, now.modseq
	}
	if len(d.added) > 0 {
		updates = append(updates, Update{Kind: UpdateExists, Seq: SeqNum(v.told.len)})
	}
	for _, r := range d.changed {
		n, _ := v.told.index(r.uid)
		own := v.own[r.uid]
		updates = append(updates, Update{Kind: UpdateFlags, Seq: SeqNum(n + 1), UID: r.uid, Own: own.to == r.modseq})
	}
	clear(v.own)
	return updates
}

// withhold gives a snapshot with all that is new but the removals.
func withhold(old *snapshot, d difference) *snapshot {
	e := old.edit()
	for _, r := range d.changed {
		e.set(*r)
	}
	for _, r := range d.added {
		e.add(*r)
	}
	return e.done()
}
