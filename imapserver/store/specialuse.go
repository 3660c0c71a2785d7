package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// readUses reads which mailboxes have special uses.
func (a *Account) readUses() ([]maildir.SpecialUse, error) {
	if err := realDir(a.own); err != nil {
		return nil, fmt.Errorf("read special uses: %w", err)
	}
	data, err := maildir.ReadFile(a.own, maildir.SpecialUseFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read special uses: %w", err)
	}
	return maildir.ParseSpecialUse(data), nil
}

func (a *Account) writeUses(uses []maildir.SpecialUse) error {
	data, err := maildir.EncodeSpecialUse(uses)
	if err == nil {
		err = realDir(a.own)
	}
	if err != nil {
		return err
	}
	return a.ops.WriteFile(a.own, maildir.SpecialUseFile, maildir.FileMode, data)
}

// addUses gives the uses of the account with one more, of a mailbox that is
// about to be made. A mailbox has one use at most, and a use one mailbox: two of
// them would leave clients to choose. a.mu is held.
func (a *Account) addUses(name string, attrs []imap.MailboxAttr) ([]maildir.SpecialUse, error) {
	use := strings.ToLower(strings.TrimPrefix(string(attrs[0]), `\`))
	if _, known := useAttrs[use]; !known || len(attrs) > 1 {
		return nil, fmt.Errorf("%w: %v", ErrUse, attrs)
	}
	entries, err := a.List(context.Background())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Use == useAttrs[use] {
			return nil, fmt.Errorf("%w: %q has it", ErrUse, e.Name)
		}
	}
	uses, err := a.readUses()
	if err != nil {
		return nil, err
	}
	next := []maildir.SpecialUse{{Use: use, Name: name}}
	for _, u := range uses {
		if u.Name != name && u.Use != use { // of mailboxes that are gone
			next = append(next, u)
		}
	}
	return next, nil
}

// Use gives the special use of a mailbox, "" where it has none.
func (a *Account) Use(name string) (imap.MailboxAttr, error) {
	if _, err := a.existing(name); err != nil {
		return "", err
	}
	uses, err := a.readUses()
	for _, u := range uses {
		if u.Name == name {
			return useAttrs[u.Use], err
		}
	}
	return "", err
}

// SetUse gives a mailbox a special use in place of the one that it has, or with ""
// takes that away. Another mailbox keeps the use that it has: that is ErrUse.
func (a *Account) SetUse(name string, use imap.MailboxAttr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed
	}
	had, err := a.Use(name)
	if err != nil || strings.EqualFold(string(had), string(use)) {
		return err
	}
	var next []maildir.SpecialUse
	if use != "" {
		next, err = a.addUses(name, []imap.MailboxAttr{use})
	} else if next, err = a.readUses(); err == nil {
		next = slices.DeleteFunc(next, func(u maildir.SpecialUse) bool { return u.Name == name })
	}
	if err == nil {
		err = a.writeUses(next)
	}
	if err != nil {
		return fmt.Errorf("special use of %q: %w", name, diskError(err))
	}
	a.feeds.markList()
	return nil
}

// moveUses has special uses follow mailboxes that have been renamed. a.mu is
// held.
func (a *Account) moveUses(moved []Renamed) {
	uses, err := a.readUses()
	changed := false
	for i := range uses {
		for _, m := range moved {
			if uses[i].Name == m.From {
				uses[i].Name, changed = m.To, true
				break
			}
		}
	}
	if changed {
		err = a.writeUses(uses)
	}
	if err != nil {
		a.log.Warn("special uses have not followed a rename", "error", err)
	}
}
