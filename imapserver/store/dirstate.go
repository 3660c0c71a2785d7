package store

import (
	"time"

	"mailstead/imapserver/maildir"
)

// Bounds for trusting the time of a directory. It is the time of its last change
// (ctime), which nobody can set: a restore that sets the modification time back
// to what it was hides nothing. A change within one tick of the kernel's clock
// after another does not alter it.
const (
	clockTick  = 50 * time.Millisecond
	coarseTick = 2 * time.Second // file systems that count whole seconds
)

// ownRelookCost is after how many times what a look takes we look at what only
// we have changed: a change by another program, in the same tick as ours, may
// hide behind it.
const ownRelookCost = 20

// dirState is what we know of cur or new of a mailbox without looking into it.
type dirState struct {
	ctime int64     // ns, of the directory as the snapshot has it; 0 unknown
	own   bool      // it was not seen since a change of ours
	since time.Time // of the first such change
	cost  time.Duration
}

// stale tells whether the directory, which has that time, must be listed.
func (d *dirState) stale(ctime int64, now time.Time) bool {
	return d.ctime == 0 || d.ctime != ctime || d.own && now.After(d.due())
}

// due is when a directory that only we have changed is to be listed.
func (d *dirState) due() time.Time {
	return d.since.Add(max(clockTick, ownRelookCost*d.cost))
}

// changed notes a change of ours.
func (d *dirState) changed() {
	if !d.own {
		d.own, d.since = true, time.Now()
	}
}

// listed notes a look that began at start, when the directory had that time.
func (d *dirState) listed(ctime int64, start time.Time) {
	age := start.Sub(time.Unix(0, ctime))
	if age < clockTick || ctime%int64(time.Second) == 0 && age < coarseTick {
		ctime = 0
	}
	*d = dirState{ctime: ctime, cost: time.Since(start)}
}

// lasting is the time that may be trusted after a restart; 0 none.
func (d *dirState) lasting() int64 {
	if d.own {
		return 0
	}
	return d.ctime
}

// ctime reads the time of a directory of the mailbox.
func (mb *mailbox) ctime(s maildir.Sub) (int64, error) {
	st, err := mb.folder.Stat(s, "")
	if err != nil {
		return 0, err
	}
	return st.Change.UnixNano(), nil
}

func (mb *mailbox) state(s maildir.Sub) *dirState {
	if s == maildir.Cur {
		return &mb.cur
	}
	return &mb.new
}

// change runs fn, which changes these directories of the mailbox, and keeps
// their states true. Where fn fails, no one knows what it has changed.
func (mb *mailbox) change(fn func() error, subs ...maildir.Sub) error {
	var clean [2]bool
	for i, s := range subs {
		d := mb.state(s)
		before, err := mb.ctime(s)
		clean[i] = err == nil && d.ctime != 0 && before == d.ctime
	}
	err := fn()
	for i, s := range subs {
		d := mb.state(s)
		after, serr := mb.ctime(s)
		if !clean[i] || err != nil || serr != nil {
			d.ctime = 0
		} else if after != d.ctime {
			d.ctime = after
			d.changed()
		}
	}
	return err
}
