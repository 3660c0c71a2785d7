package store

import (
	"bytes"
	"io"
	"maps"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
	"mailstead/imapserver/message"
)

// Removal is a message that has left a mailbox.
type Removal struct {
	UID        imap.UID
	MessageID  string   // as the header has it; "" where it has none or could not be read
	To         string   // the mailbox that it was moved to; "" where it is gone
	ToUID      imap.UID // and its UID there
	ToValidity uint32   // the UIDVALIDITY of that
}

// WatchRemovals has f be told of the messages that this view removes from now on,
// once that is durable, with no lock held.
func (v *View) WatchRemovals(f func([]Removal)) { v.removed = f }

// headerStart is how much of a message is read for its Message-ID: a header that
// has it further down is not worth more.
const headerStart = 16 << 10

// ids reads Message-IDs before the messages go: from the cache if they are in it,
// from the files otherwise. nil: nobody wants to know.
type ids struct {
	mb    *mailbox
	place place
	found map[imap.UID]string
	buf   []byte // where files are read to, one after the other
}

// newIDs is called without mb.mu, which its methods need.
func (v *View) newIDs() *ids {
	if v.removed == nil {
		return nil
	}
	i := &ids{mb: v.mb, found: map[imap.UID]string{}}
	if c := v.mb.cached(); c != nil && c.validity == v.told.uidValidity {
		i.place.cache, i.place.dir = c, c.dir.Load()
	}
	return i
}

// note reads the Message-ID of one that is still there.
func (i *ids) note(r *record) {
	if i != nil && !i.cached(r) {
		i.read(i.mb.folder, r.uid, r)
	}
}

// cached finds it in the cache.
func (i *ids) cached(r *record) bool {
	if i.place.cache == nil {
		return false
	}
	text, ok := i.place.find(r, baseHash(r.base), PartEnvelope)
	if !ok {
		return false
	}
	id, ok := message.EnvelopeID(text)
	if ok {
		i.found[r.uid] = id
	}
	return ok
}

// read reads it from the file of r.
func (i *ids) read(folder *maildir.Folder, uid imap.UID, r *record) {
	f, err := folder.Open(r.sub, r.name())
	if err != nil {
		return // another program has renamed or removed it just now
	}
	defer f.Close()
	if i.buf == nil {
		i.buf = make([]byte, headerStart)
	}
	// One call of the kernel for each: the lock of the mailbox is held.
	head := i.buf[:min(f.Stat().Size, headerStart)]
	if _, err := io.ReadFull(f, head); err == nil {
		i.found[uid] = message.HeaderID(headerOf(head))
	}
}

// headerOf is the header of what a message begins with, up to its empty line.
func headerOf(data []byte) []byte {
	for line := 0; ; {
		i := bytes.IndexByte(data[line:], '\n')
		if i < 0 {
			return data
		}
		if i == 0 || i == 1 && data[line] == '\r' {
			return data[:line]
		}
		line += i + 1
	}
}

// tellRemoved tells who wants to know of removed messages.
func (v *View) tellRemoved(i *ids, gone map[imap.UID]bool) {
	if i == nil || len(gone) == 0 {
		return
	}
	removals := make([]Removal, 0, len(gone))
	for uid := range gone {
		removals = append(removals, Removal{UID: uid, MessageID: i.found[uid]})
	}
	v.removed(removals)
}

// tellMoved tells who wants to know of moved ones, whose files are in their new
// place. The locks are free again.
func (v *View) tellMoved(t *transfer) {
	i := v.newIDs()
	if i == nil || len(t.records) == 0 {
		return
	}
	t.dst.mu.Lock()
	to, validity := t.dst.name(), t.dst.snap.Load().uidValidity
	t.dst.mu.Unlock()
	removals := make([]Removal, 0, len(t.records))
	for n, from := range t.from {
		if !i.cached(from) {
			i.read(t.dst.folder, from.uid, &t.records[n])
		}
		removals = append(removals, Removal{UID: from.uid, MessageID: i.found[from.uid], To: to, ToUID: t.records[n].uid, ToValidity: validity})
	}
	v.removed(removals)
}

// tellLost tells of messages that another program has removed.
func (l *look) tellLost() {
	mb := l.mb
	uids := slices.DeleteFunc(slices.Sorted(maps.Keys(l.gone)), func(uid imap.UID) bool { return mb.ghosts[uid] })
	maps.DeleteFunc(mb.ghosts, func(uid imap.UID, _ bool) bool { return l.gone[uid] })
	if len(uids) == 0 {
		return
	}
	mb.a.log.Info("another program has removed messages", "path", mb.path(), "messages", len(uids))
	if mb.a.lost != nil {
		mb.a.lost(mb.name(), uids)
	}
}
