package store

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// reopen takes in, when a mailbox is loaded from the index, what Courier has done
// to it meanwhile. known is false if Courier has begun it anew. mu is held.
func (mb *mailbox) reopen(snap *snapshot) (known bool, err error) {
	r, err := mb.readReturned(mb.row)
	if err != nil {
		return false, err
	}
	if r.anew {
		id := mb.row.id
		mb.sets = newFlagsets()
		return false, mb.a.index.update(func(conn *sqlite.Conn) error { return dropMailbox(conn, id) })
	}
	mb.setSnap(snap)
	if err := mb.takeReturned(snap, r); err != nil {
		return false, err
	}
	mb.settleCourier(r, mb.snap.Load())
	return true, nil
}

// returned is what Courier has done to a mailbox since its files last said what
// our index says.
type returned struct {
	db       *maildir.UIDDB // nil: nothing that concerns us
	keywords *maildir.CourierKeywords
	anew     bool       // it has begun the mailbox anew: another UIDVALIDITY
	touched  bool       // the files are not as we left them
	row      courierRow // the files as they are
}

// readReturned compares Courier's files with what is known of them. mu is held;
// row is the mailbox's.
func (mb *mailbox) readReturned(row mailboxRow) (r returned, err error) {
	c := &mb.courier
	err = mb.a.index.view(func(conn *sqlite.Conn) error {
		c.row, err = findCourier(conn, row.id)
		return err
	})
	if err != nil {
		return r, err
	}
	r.row = c.row
	if r.row.uids, err = sidecarTime(mb.folder, maildir.BesideCur, maildir.UIDDBFile); err != nil {
		return r, err
	}
	if r.row.uids != c.row.uids {
		r.touched = true
		if err := mb.readCourierUIDs(row, &r); err != nil || r.anew {
			return r, err
		}
	}
	r.row.keywords, err = sidecarTime(mb.folder, maildir.InKeywords, "")
	if err != nil || r.row.keywords == c.row.keywords {
		return r, err
	}
	r.touched = true
	if r.row.keywords == 0 {
		return r, nil
	}
	k, err := mb.folder.ReadKeywords()
	if err != nil {
		mb.a.log.Error("cannot read Courier's keywords; ours stay", "error", err)
		return r, nil
	}
	r.keywords = &k
	return r, nil
}

// readCourierUIDs reads a courierimapuiddb that is another one than we wrote. It
// is Courier's only if it goes on from ours: an older one has been put back by a
// restore, and says nothing new.
func (mb *mailbox) readCourierUIDs(row mailboxRow, r *returned) error {
	f := &foreign{server: "Courier", file: maildir.UIDDBFile}
	data, err := f.readFile(mb)
	if errors.Is(err, maildir.ErrIrregular) {
		mb.a.log.Error("courierimapuiddb cannot be read, nor written", "path", mb.path(), "error", err)
		return nil
	}
	if err != nil {
		return ignoreNotExist(err)
	}
	if r.row.digest = digest(data); r.row.digest == mb.courier.row.digest {
		return nil // copied, or put back
	}
	parsed, err := maildir.ParseUIDDB(data)
	if err == nil && imap.UID(parsed.Next) > maxForeignUID {
		err = errors.New("hardly a UID is left")
	}
	switch log := mb.a.log.With("path", mb.path()); {
	case err != nil:
		log.Error("courierimapuiddb is damaged; it is written anew", "error", err)
	case parsed.Ours && parsed.Validity == row.uidValidity:
		// of the time before a crash
	case parsed.Validity != row.uidValidity:
		log.Warn("Courier has given the mailbox another UIDVALIDITY, which it keeps", "was", row.uidValidity, "uidvalidity", parsed.Validity)
		r.anew = true
	case imap.UID(parsed.Next) < mb.courier.row.next:
		log.Warn("courierimapuiddb is older than ours; it is written anew", "uidnext", parsed.Next, "was", mb.courier.row.next)
	default:
		if mb.courier.row.next == 0 {
			mb.courier.row.next = row.uidMark // we have not written it yet
		}
		r.db, r.row.next = &parsed, imap.UID(parsed.Next)
	}
	return nil
}

// takeReturned gives the snapshot with what Courier has changed of the messages
// that we know; what it says of others waits in imports for the next sync. mu
// is held.
func (mb *mailbox) takeReturned(now *snapshot, r returned) error {
	if r.db == nil && r.keywords == nil {
		return nil
	}
	m := &merge{mb: mb, from: mb.courier.row, next: now.uidNext, modseq: now.modseq + 1, uids: make(map[string]imap.UID)}
	if r.db != nil {
		m.next = max(m.next, imap.UID(r.db.Next))
		for _, e := range r.db.Messages {
			m.uids[e.Base] = imap.UID(e.UID)
		}
	}
	if err := m.records(now, r); err != nil {
		return err
	}
	e := (&snapshot{uidValidity: now.uidValidity, uidNext: m.next, modseq: now.modseq}).edit()
	if len(m.changed) > 0 {
		e.s.modseq = m.modseq
	}
	e.addAll(m.all)
	mb.imports = &foreign{server: "Courier", file: maildir.UIDDBFile, uids: m.uids, next: m.next}
	if r.keywords != nil {
		mb.imports.keywords = r.keywords.Lists
		r.row.modseq = e.s.modseq
	}
	err := mb.commit(e.done(), true, nil, func(conn *sqlite.Conn) error {
		return errors.Join(mb.bury(conn, now, m.gone, m.modseq), dropMessages(conn, mb.row.id, m.gone), mb.putMessages(conn, m.changed),
			putCourier(conn, mb.row.id, r.row))
	})
	if err != nil {
		return err
	}
	mb.courier.row = r.row
	mb.setSnap(mb.snap.Load())
	mb.row.curTime, mb.row.newTime = 0, 0 // look at the Maildir
	mb.a.log.Info("Courier was here; took over what it did", "path", mb.path(), "uidnext", m.next, "changed", len(m.changed), "renumbered", len(m.gone))
	return nil
}

// merge takes Courier's word on messages that we know.
type merge struct {
	mb     *mailbox
	from   courierRow
	next   imap.UID
	modseq ModSeq
	uids   map[string]imap.UID // by base name; in the end, only of messages that we do not know

	all, changed []record
	gone         map[imap.UID]bool
}

func (m *merge) records(now *snapshot, r returned) (err error) {
	m.gone = make(map[imap.UID]bool)
	now.all(func(old *record) bool {
		rec := *old
		if r.db != nil {
			rec.uid = m.uid(old)
		}
		if r.keywords != nil {
			rec.set, err = m.keywords(old, r.keywords)
		}
		if rec.uid != old.uid || rec.set != old.set {
			rec.modseq = m.modseq
			m.changed = append(m.changed, rec)
		}
		if rec.uid != old.uid {
			m.gone[old.uid] = true
		}
		m.all = append(m.all, rec)
		return err == nil
	})
	slices.SortFunc(m.all, func(a, b record) int { return cmp.Compare(a.uid, b.uid) })
	for base, uid := range m.uids {
		if uid < m.from.next {
			delete(m.uids, base) // of a message that is gone, and came back
		}
	}
	return err
}

// uid gives the UID that a message has from now on. UIDs below from.next were
// ours to give; from there on, Courier gave them. What we gave there, because we
// died before we could tell Courier, is given up.
func (m *merge) uid(r *record) imap.UID {
	courier := m.uids[r.base]
	delete(m.uids, r.base)
	switch {
	case courier >= m.from.next:
		return courier
	case r.uid < m.from.next:
		return r.uid
	}
	m.next++
	return m.next - 1
}

// keywords gives the flagset with the keywords that a message has from now on:
// Courier's, unless we have changed the message since we wrote them.
func (m *merge) keywords(r *record, k *maildir.CourierKeywords) (*flagset, error) {
	if (k.Cut || r.modseq > m.from.modseq) && !k.Changed[r.base] {
		return r.set, nil
	}
	var names []string
	for _, name := range k.Lists[r.base] {
		if checkKeyword(name) == nil && len(names) < maxMsgKeywords {
			names = append(names, name)
		}
	}
	keywords, err := m.mb.sets.canonical(names)
	if errors.Is(err, ErrKeywords) {
		m.mb.a.log.Warn("keywords of a message are not taken over", "path", m.mb.path(), "name", r.name(), "error", err)
		return r.set, nil
	}
	if strings.Contains(r.base, ":") {
		return r.set, err // Courier's list cannot have it
	}
	return m.mb.sets.get(r.set.suffix, keywords), err
}

// settleCourier notes whether Courier's files say what the snapshot says. mu is
// held.
func (mb *mailbox) settleCourier(r returned, snap *snapshot) {
	if c := &mb.courier; !r.touched && c.row.next >= snap.uidNext && c.row.modseq == snap.modseq {
		c.written = snap
	} else {
		mb.noteCourier(false)
	}
}
