package deliver

import (
	"errors"
	"io/fs"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/maildir"
)

// recountAfter and tries are those of the sessions: what other programs have
// removed they may not have told.
const (
	recountAfter = 15 * time.Minute
	tries        = 3
)

// claim writes down in maildirsize, by which everybody goes, that a message is
// about to come, if there is room for it. undo takes that back.
//
// A file that cannot be read or written keeps nobody from their mail.
func (d *Deliverer) claim(p Place, counts bool, u maildir.Usage) (undo func(), err error) {
	nothing := func() {}
	if !counts {
		return nothing, nil
	}
	q := quota{dir: p.Maildir, ops: d.ops, file: maildir.NewSizeFile(p.Maildir, d.ops)}
	kept, err := q.open(p.Quota)
	if err == nil && kept {
		err = q.enter(u)
	}
	var fault *Fault
	switch {
	case errors.As(err, &fault):
		return nil, fault
	case err != nil:
		d.log("maildirsize does not show a message", "maildir", p.Maildir, "err", err)
		return nothing, nil
	case !kept:
		return nothing, nil
	}
	return func() {
		if err := q.file.Add(u.Negative()); err != nil {
			d.log("maildirsize shows a message that was not delivered", "maildir", p.Maildir, "err", err)
		}
	}, nil
}

// quota is the file of one Maildir during a delivery.
type quota struct {
	dir  string
	ops  *maildir.Ops
	file *maildir.SizeFile
}

// open reads the file, and makes it where limits are given and nobody has
// counted. kept is false where nothing limits the mail.
func (q *quota) open(want *config.Quota) (kept bool, err error) {
	var limits maildir.Limits
	if want != nil {
		limits = maildir.Limits{Octets: want.Storage, Messages: want.Messages}
	}
	err = q.file.Refresh()
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && limits == (maildir.Limits{}) {
		return false, nil
	}
	if !missing && (want == nil || want.Set) {
		limits = q.file.Limits
	}
	switch {
	case missing, errors.Is(err, maildir.ErrSizeFile), errors.Is(err, maildir.ErrIrregular):
		return true, q.recount(limits)
	case err == nil && q.file.Limits != limits:
		return true, q.file.Replace(limits, q.file.Used)
	}
	return true, err
}

// enter writes a line, unless there is no room even after a count.
func (q *quota) enter(u maildir.Usage) error {
	if l := q.file.Limits; l.Octets > 0 && u.Octets > l.Octets {
		return ErrTooLarge
	}
	if !q.file.Limits.Allow(q.file.Used.Add(u)) {
		if q.file.Changes < 2 && time.Since(q.file.Written) < recountAfter {
			return ErrFull
		}
		if err := q.recount(q.file.Limits); err != nil {
			return err
		}
		if !q.file.Limits.Allow(q.file.Used.Add(u)) {
			return ErrFull
		}
	}
	if err := q.file.Add(u); err != nil {
		return err
	}
	if err := q.file.Refresh(); err != nil || !q.file.Full() {
		return err
	}
	return q.file.Replace(q.file.Limits, q.file.Used)
}

// recount counts all messages and writes the file anew; again, if others have
// written meanwhile.
func (q *quota) recount(l maildir.Limits) error {
	for try := 1; ; try++ {
		before := q.file.Used
		used, err := maildir.CountAll(q.dir, q.ops)
		if err != nil {
			return err
		}
		if err := q.file.Refresh(); err == nil && q.file.Used != before && try < tries {
			continue
		}
		return q.file.Replace(l, used)
	}
}
