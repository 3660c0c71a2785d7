package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mailstead/imapserver/maildir"
)

// takeOver converts what Dovecot has for an account that the index does not
// know, to Courier's form, which is ours: subscriptions and rights. UIDs and
// keywords are taken over when a mailbox is first opened.
func (a *Account) takeOver(dirs []string, enc maildir.Encoding) error {
	dirs = append([]string{"."}, dirs...)
	if slices.ContainsFunc(dirs, a.hasDovecotACL) {
		for _, dir := range dirs {
			if err := a.takeOverACL(dir); err != nil {
				return fmt.Errorf("take over rights: %w", diskError(err))
			}
		}
	}
	return a.takeOverSubscriptions(enc)
}

func (a *Account) hasDovecotACL(dir string) bool {
	st, err := os.Lstat(filepath.Join(a.dir, dir, maildir.DovecotACLFile))
	return err == nil && st.Mode().IsRegular()
}

// takeOverACL writes the rights to a mailbox as Courier has them, unless they are
// there, and newer. They are the owner's alone where Dovecot has no file: it gives nothing of the
// rights to the names above.
func (a *Account) takeOverACL(dir string) error {
	dir = filepath.Join(a.dir, dir)
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		return nil
	}
	data, err := maildir.ReadFile(dir, maildir.DovecotACLFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, maildir.ErrIrregular) {
		return err
	}
	said := err == nil
	if ours, err := os.Lstat(filepath.Join(dir, maildir.ACLFile)); err == nil {
		theirs, err := os.Lstat(filepath.Join(dir, maildir.DovecotACLFile))
		if !said || err != nil || !ours.ModTime().Before(theirs.ModTime()) {
			return ignoreNotExist(err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	acl, dropped := maildir.ParseDovecotACL(data[:min(len(data), maildir.MaxACL)])
	if data, err = maildir.EncodeACL(acl); err != nil {
		a.log.Error("Dovecot's rights are not taken over; the owner alone has some", "path", dir, "error", err)
		said = false
		if data, err = maildir.EncodeACL(maildir.DefaultACL()); err != nil {
			return err
		}
	}
	if err := a.ops.WriteFile(dir, maildir.ACLFile, maildir.FileMode, data); err != nil {
		return err
	}
	if said {
		a.log.Info("took over Dovecot's rights", "path", dir, "lines without an equivalent", dropped)
	}
	return nil
}

func (a *Account) takeOverSubscriptions(enc maildir.Encoding) error {
	dovecot, err := os.Lstat(filepath.Join(a.dir, maildir.DovecotSubscriptionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ours, err := os.Lstat(filepath.Join(a.dir, maildir.SubscriptionsFile))
	if err == nil && !ours.ModTime().Before(dovecot.ModTime()) {
		a.log.Warn("Dovecot's subscriptions are not taken over, since Courier's are newer")
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := maildir.ReadFile(a.dir, maildir.DovecotSubscriptionsFile)
	if errors.Is(err, maildir.ErrIrregular) {
		return nil
	}
	if err != nil {
		return err
	}
	parsed, dropped := maildir.ParseDovecotSubscriptions(data)
	var subs maildir.Subscriptions
	for _, name := range parsed.Names() {
		if _, err := maildir.EncodeName(name, enc); err != nil {
			dropped++
			continue
		}
		subs.Set(name, true)
	}
	if data, err = maildir.EncodeSubscriptions(subs, enc); err != nil {
		return fmt.Errorf("take over subscriptions: %w", err)
	}
	if err := a.ops.WriteFile(a.dir, maildir.SubscriptionsFile, a.subscriptionsMode(), data); err != nil {
		return fmt.Errorf("take over subscriptions: %w", diskError(err))
	}
	a.log.Info("took over Dovecot's subscriptions", "names", len(subs.Names()), "lines that name nothing", dropped)
	return nil
}
