package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// trashName is the mailbox for what is expunged where none has that special use.
const trashName = "Trash"

// Discard is Expunge for those who want to have the messages in their trash
// rather than gone: the mailbox with the special use \Trash, which is made if it
// is missing. They lose \Deleted on the way and keep the rest. What is expunged in
// the trash itself is gone.
func (v *View) Discard(ctx context.Context, uids imap.UIDSet) error {
	if err := v.Refusal(); err != nil {
		return err
	}
	trash, err := v.mb.a.trash()
	if err != nil {
		return fmt.Errorf("expunge: %w", err)
	}
	if v.Name() == trash {
		return v.Expunge(ctx, uids)
	}
	if err = v.discard(ctx, uids, trash); errors.Is(err, ErrNotFound) {
		if err = v.mb.a.makeTrash(ctx, trash); err == nil {
			err = v.discard(ctx, uids, trash)
		}
	}
	if err != nil {
		return fmt.Errorf("expunge: %w", diskError(err))
	}
	return nil
}

// discard moves what has \Deleted, and still has it under the lock. How much mail
// there is does not matter: who is over quota must get at space.
func (v *View) discard(ctx context.Context, uids imap.UIDSet, trash string) error {
	var gone []imap.UID
	v.told.all(func(r *record) bool {
		if uids == nil || uids.Contains(r.uid) {
			gone = append(gone, r.uid)
		}
		return true
	})
	if v.mb.snap.Load().deleted == 0 {
		return nil
	}
	dst, err := v.mb.a.get(ctx, trash)
	if err != nil {
		return err
	}
	defer v.mb.a.put(dst)
	t := &transfer{src: v.mb, dst: dst, move: true, discard: true, passOver: true, rights: AllRights}
	return t.run(ctx, gone, v)
}

// trash gives the name of the mailbox for what is expunged.
func (a *Account) trash() (string, error) {
	uses, err := a.readUses()
	if err != nil {
		return "", err
	}
	for _, u := range uses {
		if u.Use == "trash" {
			return u.Name, nil
		}
	}
	return trashName, nil
}

// makeTrash makes the trash, and shows it to clients.
func (a *Account) makeTrash(ctx context.Context, name string) error {
	uses, err := a.readUses()
	if err != nil {
		return err
	}
	var use []imap.MailboxAttr
	if !slices.ContainsFunc(uses, func(u maildir.SpecialUse) bool { return u.Use == "trash" }) {
		use = append(use, imap.MailboxAttrTrash)
	}
	if err := a.Create(ctx, name, use...); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return a.Subscribe(ctx, name, true)
}

// wanted tells whether a transfer takes a message, which may be gone.
func (t *transfer) wanted(r *record, uid imap.UID) (bool, error) {
	switch {
	case r == nil && t.passOver:
		return false, nil
	case r == nil:
		return false, fmt.Errorf("%w: uid %d", ErrExpunged, uid)
	}
	return !t.discard || r.set.sys&maildir.Trashed != 0, nil
}
