package deliver

import (
	"errors"
	"io/fs"

	"mailstead/imapserver/config"
	"mailstead/imapserver/maildir"
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
	file := maildir.NewSizeFile(p.Maildir, d.ops)
	kept, err := openQuota(file, p.Quota)
	if err == nil && kept {
		err = enter(file, u)
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
		if err := file.Add(u.Negative()); err != nil {
			d.log("maildirsize shows a message that was not delivered", "maildir", p.Maildir, "err", err)
		}
	}, nil
}

// openQuota reads the file, and makes it where limits are given and nobody has
// counted. kept is false where nothing limits the mail.
func openQuota(file *maildir.SizeFile, want *config.Quota) (kept bool, err error) {
	var limits maildir.Limits
	if want != nil {
		limits = maildir.Limits{Octets: want.Storage, Messages: want.Messages}
	}
	err = file.Refresh()
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && limits == (maildir.Limits{}) {
		return false, nil
	}
	if !missing && (want == nil || want.Set) {
		limits = file.Limits
	}
	switch {
	case missing, errors.Is(err, maildir.ErrSizeFile), errors.Is(err, maildir.ErrIrregular):
		return true, file.Recount(limits)
	case err == nil && file.Limits != limits:
		return true, file.Compact(limits)
	}
	return true, err
}

// enter writes a line, unless there is no room even after a count.
func enter(file *maildir.SizeFile, u maildir.Usage) error {
	if l := file.Limits; l.Octets > 0 && u.Octets > l.Octets {
		return ErrTooLarge
	}
	if !file.Limits.Allow(file.Used.Add(u)) {
		if !file.Stale() {
			return ErrFull
		}
		if err := file.Recount(file.Limits); err != nil {
			return err
		}
		if !file.Limits.Allow(file.Used.Add(u)) {
			return ErrFull
		}
	}
	if err := file.Add(u); err != nil {
		return err
	}
	if err := file.Refresh(); err != nil || !file.Full() {
		return err
	}
	return file.Compact(file.Limits)
}
