package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/limit"
	"mailstead/imapserver/maildir"
)

// useAttrs are the special uses by their names in the special-use file.
var useAttrs = map[string]imap.MailboxAttr{
	"archive": imap.MailboxAttrArchive,
	"drafts":  imap.MailboxAttrDrafts,
	"junk":    imap.MailboxAttrJunk,
	"sent":    imap.MailboxAttrSent,
	"trash":   imap.MailboxAttrTrash,
}

// folderDirs gives the names in the top Maildir that start with a dot.
func (a *Account) folderDirs() ([]string, error) { return maildir.FolderDirs(a.dir) }

// List gives every mailbox and every subscribed name, sorted with INBOX first.
// Names that exist only as parents of others are included (Exists false).
func (a *Account) List(ctx context.Context) ([]Entry, error) {
	dirs, err := a.folderDirs()
	if err != nil {
		return nil, fmt.Errorf("list mailboxes: %w", err)
	}
	entries := map[string]*Entry{maildir.Inbox: {Name: maildir.Inbox, Exists: true, Selectable: true}}
	entry := func(name string) *Entry {
		e := entries[name]
		if e == nil {
			e = &Entry{Name: name}
			entries[name] = e
		}
		return e
	}
	var nameless []string
	for _, dir := range dirs {
		name, err := maildir.DecodeName(dir, a.enc)
		if err != nil {
			nameless = append(nameless, dir)
			continue
		}
		if st, err := os.Lstat(filepath.Join(a.dir, dir)); err != nil || !st.IsDir() {
			continue
		}
		e := entry(name)
		e.Exists = true
		st, err := os.Lstat(filepath.Join(a.dir, dir, "cur"))
		e.Selectable = err == nil && st.IsDir()
	}
	if len(nameless) > 0 {
		a.nameless.Do(func() {
			a.log.Warn("entries whose names no mailbox can have are not shown", "count", len(nameless), "first", nameless[0])
		})
	}
	subs, err := a.subscriptions()
	if err != nil {
		return nil, err
	}
	for _, name := range subs.Names() {
		entry(name).Subscribed = true
	}
	a.markUses(entries)
	for name, e := range entries {
		if e.Exists {
			for i := range len(name) {
				if name[i] == '.' {
					entry(name[:i])
				}
			}
		}
	}
	list := make([]Entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(x, y Entry) int {
		if xi, yi := x.Name == maildir.Inbox, y.Name == maildir.Inbox; xi != yi {
			if xi {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.Name, y.Name)
	})
	return list, ctx.Err()
}

// markUses enters the special uses of mailboxes that exist.
func (a *Account) markUses(entries map[string]*Entry) {
	uses, err := a.readUses()
	if err != nil {
		a.log.Warn("special uses are not shown", "error", err)
	}
	for _, u := range uses {
		if e := entries[u.Name]; e != nil && e.Exists && e.Use == "" {
			e.Use = useAttrs[u.Use]
		}
	}
}

func (a *Account) subscriptions() (maildir.Subscriptions, error) {
	data, err := maildir.ReadFile(a.dir, maildir.SubscriptionsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return maildir.Subscriptions{}, fmt.Errorf("read subscriptions: %w", err)
	}
	return maildir.ParseSubscriptions(data, a.enc), nil
}

// subscriptionsMode is the mode that the file has: another program may have it
// shared.
func (a *Account) subscriptionsMode() fs.FileMode {
	st, err := os.Lstat(filepath.Join(a.dir, maildir.SubscriptionsFile))
	if err != nil || !st.Mode().IsRegular() {
		return maildir.FileMode
	}
	return st.Mode().Perm()
}

// Subscribe adds the name to the subscriptions, or removes it. The mailbox
// need not exist.
func (a *Account) Subscribe(ctx context.Context, name string, on bool) error {
	if strings.EqualFold(name, maildir.Inbox) {
		name = maildir.Inbox
	}
	return a.subscribe(name, func(s *maildir.Subscriptions) bool { return s.Set(name, on) })
}

// SubscribeOther is Subscribe for a mailbox of another user, by its full name,
// which begins with "#".
func (a *Account) SubscribeOther(ctx context.Context, name string, on bool) error {
	return a.subscribe(name, func(s *maildir.Subscriptions) bool { return s.SetOther(name, on) })
}

// SubscribedOthers gives the subscribed mailboxes of other users.
func (a *Account) SubscribedOthers(ctx context.Context) ([]string, error) {
	subs, err := a.subscriptions()
	if err != nil {
		return nil, err
	}
	return subs.Others(), ctx.Err()
}

// subscribe changes the subscriptions; set tells whether it has.
func (a *Account) subscribe(name string, set func(*maildir.Subscriptions) bool) error {
	if _, err := a.dirOf(name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed
	}
	subs, err := a.subscriptions()
	had := subs.Len()
	if err != nil || !set(&subs) {
		return err
	}
	if n := subs.Len(); n > had && n > limit.Default().Worker.Subscriptions {
		return fmt.Errorf("subscribe %q: %w", name, ErrSubscriptions)
	}
	data, err := maildir.EncodeSubscriptions(subs, a.enc)
	if err == nil {
		err = a.ops.WriteFile(a.dir, maildir.SubscriptionsFile, a.subscriptionsMode(), data)
	}
	if err != nil {
		return fmt.Errorf("subscribe %q: %w", name, diskError(err))
	}
	a.feeds.markList()
	return nil
}
