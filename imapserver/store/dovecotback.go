package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// UnfitForDovecot lists what Dovecot's files cannot represent. Nothing of it gets
// another name.
func (a *Account) UnfitForDovecot(ctx context.Context) (all []Unfit, err error) {
	err = a.eachBox(ctx, func(mb *mailbox) error {
		name := mb.name()
		unfit := func(why string, args ...any) { all = append(all, Unfit{Name: name, Why: fmt.Sprintf(why, args...)}) }
		if strings.HasPrefix(name, "~") {
			unfit("Dovecot opens no mailbox whose name begins with a tilde")
		}
		if _, err := maildir.EncodeName(name, maildir.ModifiedUTF7); err != nil {
			unfit("in modified UTF-7 its name is too long, and has to be shortened before: %v", err)
		}
		k := lettersOf(mb.snap.Load(), nil)
		for _, keyword := range k.without {
			unfit("the keyword %q is one more than the 26 that Dovecot's files have of a mailbox", keyword)
		}
		mb.snap.Load().all(func(r *record) bool {
			if strings.ContainsAny(r.base, "\r\n") {
				unfit("the message in the file %q gets another UID, as its name has a line end", r.base)
			} else if letters := maildir.WithLetters(r.set.suffix, k.Letters(strings.Fields(r.set.keywords))); letters != r.set.suffix && len(r.base+letters) > unix.NAME_MAX {
				unfit("the message in the file %q loses its keywords, for which its name is too long", r.base)
			}
			return true
		})
		return nil
	})
	return all, err
}

// HandbackToDovecot writes Dovecot's lists of UIDs and keywords, its rights and its
// subscriptions as everything is, with the names of directories that Dovecot has, and
// removes what it makes anew from them. Mail in new moves to cur. The account must have
// no other use. Once it has been closed it is as if we never had been there, for what
// our index says will soon be wrong: who comes back takes over Dovecot's files.
func (a *Account) HandbackToDovecot(ctx context.Context) (HandedBack, error) {
	s := spelling{enc: maildir.ModifiedUTF7, fit: func(name string) string { return name }}
	done, err := a.handback(ctx, s, false, func(mb *mailbox) error { return mb.writeDovecot(ctx) })
	if err == nil {
		err = a.writeDovecotSubscriptions()
	}
	if err == nil { // the lists say everything now, without the marks beside them
		err = a.eachBox(ctx, func(mb *mailbox) error { return mb.folder.RemoveSidecars(maildir.BesideCur, courierUIDNext) })
	}
	a.index.over = err == nil
	return done, err
}

func (a *Account) writeDovecotSubscriptions() error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	old, err := maildir.ReadFile(a.dir, maildir.DovecotSubscriptionsFile)
	if ignoreNotExist(err) != nil {
		return fmt.Errorf("hand back subscriptions: %w", err)
	}
	if said, _ := maildir.ParseDovecotSubscriptions(old); slices.Equal(said.Names(), subs.Names()) {
		return nil
	}
	data, err := maildir.EncodeDovecotSubscriptions(subs)
	if err == nil {
		err = a.ops.WriteFile(a.dir, maildir.DovecotSubscriptionsFile, a.subscriptionsMode(), data)
	}
	return err
}

// writeDovecot writes what Dovecot has of a mailbox.
func (mb *mailbox) writeDovecot(ctx context.Context) error {
	k := lettersOf(mb.snap.Load(), mb.dovecotLetters())
	if err := mb.writeLetters(k); err != nil {
		return err
	}
	if err := mb.writeDovecotACL(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, courierLockWait)
	defer cancel()
	unlock, err := mb.folder.LockDovecot(ctx)
	if err != nil {
		return err
	}
	return errors.Join(mb.writeDovecotLists(k), unlock())
}

// writeDovecotLists replaces the lists of UIDs and keywords, under Dovecot's lock. The last of
// them makes durable what was removed, too. It says itself which UIDs have been given.
func (mb *mailbox) writeDovecotLists(k letters) error {
	f, snap := mb.folder, mb.snap.Load()
	entries, err := os.ReadDir(mb.path())
	if err != nil {
		return err
	}
	var gone []string
	for _, e := range entries {
		if maildir.RemadeByDovecot(e.Name()) {
			gone = append(gone, e.Name())
		}
	}
	if err := f.RemoveSidecars(maildir.BesideCur, gone...); err != nil {
		return err
	}
	if err := f.ReplaceSidecar(maildir.BesideCur, maildir.DovecotKeywordsFile, mb.a.namer, k.Encode()); err != nil {
		return err
	}
	old, err := f.ReadSidecar(maildir.DovecotUIDListFile)
	if ignoreNotExist(err) != nil {
		return err
	}
	messages := func(yield func(maildir.UIDDBMessage, int64) bool) {
		snap.all(func(r *record) bool {
			return yield(maildir.UIDDBMessage{UID: uint32(r.uid), Base: r.base}, r.size.Load())
		})
	}
	if err := mb.markBeside(); err != nil {
		return err
	}
	data := maildir.EncodeDovecotUIDList(snap.uidValidity, uint32(snap.uidNext), messages, old)
	return f.ReplaceSidecar(maildir.BesideCur, maildir.DovecotUIDListFile, mb.a.namer, data)
}

// markBeside keeps the mark beside the list from now on, until all is handed back: should
// that fail, we give out UIDs that the list does not know of.
func (mb *mailbox) markBeside() error {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.row.uiddb = true
	if err := mb.writeUIDNext(mb.row.uidMark); err != nil {
		return err
	}
	return mb.a.index.update(func(conn *sqlite.Conn) error { return putMailbox(conn, &mb.row) })
}

// writeDovecotACL writes the rights, unless Dovecot's file says the same: it may have lines
// that have no equivalent here. Dovecot has no rights from the names above.
func (mb *mailbox) writeDovecotACL() error {
	acl, err := mb.a.acls.of(mb.dir)
	if err != nil {
		return err
	}
	old, err := mb.folder.ReadSidecar(maildir.DovecotACLFile)
	if ignoreNotExist(err) != nil {
		return err
	}
	said, _ := maildir.ParseDovecotACL(old)
	if was, err := maildir.EncodeACL(said); err == nil {
		if now, err := maildir.EncodeACL(acl); err != nil || string(now) == string(was) {
			return err
		}
	}
	return mb.folder.ReplaceSidecar(maildir.BesideCur, maildir.DovecotACLFile, mb.a.namer, maildir.EncodeDovecotACL(acl))
}

// letters are Dovecot's letters of the keywords of a mailbox, and the keywords for which
// there is none left.
type letters struct {
	maildir.DovecotKeywords
	without []string
}

// lettersOf gives letters to the keywords that most messages have: that which they had, if
// they had one.
func lettersOf(s *snapshot, old *maildir.DovecotKeywords) (k letters) {
	sets := make(map[*flagset]int)
	s.all(func(r *record) bool { sets[r.set]++; return true })
	messages := make(map[string]int)
	for set, n := range sets {
		for name := range strings.FieldsSeq(set.keywords) {
			messages[name] += n
		}
	}
	var names []string
	for name := range messages {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(messages[b]-messages[a], strings.Compare(a, b)) })
	most := min(len(names), len(k.DovecotKeywords))
	names, k.without = names[:most], names[most:]
	var fresh []string
	for _, name := range names {
		at := -1
		if old != nil {
			at = slices.IndexFunc(old[:], func(o string) bool { return strings.EqualFold(o, name) })
		}
		if at >= 0 {
			k.DovecotKeywords[at] = name
		} else {
			fresh = append(fresh, name)
		}
	}
	for i := range k.DovecotKeywords {
		if k.DovecotKeywords[i] == "" && len(fresh) > 0 {
			k.DovecotKeywords[i], fresh = fresh[0], fresh[1:]
		}
	}
	return k
}

// writeLetters has the names of files tell the keywords.
func (mb *mailbox) writeLetters(k letters) error {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	suffixes := make(map[*flagset]string)
	renamed := false
	err := mb.change(func() (err error) {
		mb.snap.Load().all(func(r *record) bool {
			suffix, known := suffixes[r.set]
			if !known {
				suffix = maildir.WithLetters(r.set.suffix, k.Letters(strings.Fields(r.set.keywords)))
				suffixes[r.set] = suffix
			}
			if suffix != r.set.suffix {
				renamed = true
				if err = mb.folder.Rename(r.sub, r.name(), mb.folder, maildir.Cur, r.base+suffix); errors.Is(err, unix.ENAMETOOLONG) {
					err = nil // as with keywords that get no letter
				}
			}
			return err == nil
		})
		return err
	}, maildir.Cur, maildir.New)
	if renamed {
		mb.cur.ctime = 0 // the next sync sees the names that there are
		err = errors.Join(err, mb.folder.Sync(maildir.Cur))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("another program changes the mailbox: %w", err)
	}
	return err
}
