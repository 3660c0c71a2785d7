package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// maxLooks is how often one sync looks at a mailbox that does not hold still.
// What it then has not settled is left to the next.
const maxLooks = 6

// missingWait is how long a message must be missing where a look at a directory
// is not a snapshot.
const missingWait = 2 * time.Second

// sync brings the snapshot up to the Maildir; with move, it moves messages from
// new to cur. mu is held.
func (mb *mailbox) sync(ctx context.Context, move bool) error {
	number := mb.begun.Add(1)
	for n := range maxLooks {
		if err := ctx.Err(); err != nil {
			return err
		}
		settled, err := mb.syncOnce(move, n == maxLooks-1)
		if err != nil {
			// What was seen has not been taken in.
			mb.cur.ctime, mb.new.ctime = 0, 0
			return fmt.Errorf("sync %s: %w", mb.path(), diskError(err))
		}
		if settled {
			break
		}
	}
	mb.looked = number
	return nil
}

// syncOnce looks once. It is settled when another look would not tell more. At
// first contact nothing is taken in before that, since another server's UIDs
// cannot be given any more once later ones have been; unless it is the last look.
func (mb *mailbox) syncOnce(move, last bool) (settled bool, err error) {
	now := time.Now()
	newTime, err := mb.ctime(maildir.New)
	if err != nil {
		return false, err
	}
	curTime, err := mb.ctime(maildir.Cur)
	if err != nil {
		return false, err
	}
	listNew := mb.new.stale(newTime, now) || move && mb.inNew > mb.stuck
	listCur := mb.cur.stale(curTime, now)
	if !listNew && !listCur {
		return true, nil
	}
	l := &look{mb: mb, snap: mb.snap.Load(), move: move, changed: make(map[string]found), fresh: make(map[string]*found), settled: true}
	var inNew []found
	if listNew {
		// new before cur: a message that another program moves in between is
		// then seen twice and not never.
		if inNew, err = l.listNew(newTime, now); err != nil {
			return false, err
		}
	}
	if listCur || mb.inNew > 0 {
		if err := l.listCur(); err != nil {
			return false, err
		}
	}
	for _, f := range inNew {
		l.see(f)
	}
	if err := l.examine(); err != nil {
		return false, err
	}
	if !l.settled {
		mb.cur.ctime, mb.new.ctime = 0, 0
	}
	if l.settled || last || mb.imports == nil {
		return l.settled, l.apply()
	}
	return false, nil
}

// manyRuns is so many that have come at once, 100,000 messages, that what was needed to
// see them, twice what stays, is given back at once: the runtime would take its time.
const manyRuns = 100_000 / chunkLen

// found is a message file that a look has seen.
type found struct {
	sub          maildir.Sub
	base, suffix string
	ino          uint64
	date         int64 // of fresh ones
}

func (f *found) name() string { return f.base + f.suffix }

// look is one look at a mailbox and what has come of it.
type look struct {
	mb       *mailbox
	snap     *snapshot
	move     bool
	seen     []bool            // by position in snap; nil if cur was not listed
	changed  map[string]found  // known messages under another name, by base
	fresh    map[string]*found // unknown ones, by base
	doubles  []found           // files with the base of another one
	rebased  []rebased
	gone     map[imap.UID]bool
	snapshot bool // every list was of one moment
	settled  bool
}

// listNew lists new and, if the mailbox is to be moved, moves what is there to
// cur. It gives what was there, under its present names.
func (l *look) listNew(ctime int64, now time.Time) ([]found, error) {
	list, err := l.mb.folder.List(maildir.New)
	if err != nil {
		return nil, err
	}
	defer list.Release()
	l.mb.new.listed(ctime, now)
	l.mb.stuck = 0
	var all []found
	files := gathering{list: list, sub: maildir.New, see: func(f found) { all = append(all, f) }}
	for i := range list.Len() {
		if l.usable(list, i, maildir.New) {
			files.add(i)
		}
	}
	files.flush()
	if l.move && len(all) > 0 {
		err = l.mb.change(func() error { return l.moveNew(all) }, maildir.New, maildir.Cur)
	}
	return all, err
}

// moveNew moves messages to cur, as every reader of a Maildir does with those
// it has seen. One that cannot be moved, since its name would be too long or may not
// be changed, is served from new.
func (l *look) moveNew(all []found) error {
	f := l.mb.folder
	for i := range all {
		m := &all[i]
		suffix := m.suffix
		if suffix == "" {
			suffix = maildir.WithFlags("", 0)
		}
		err := f.Rename(maildir.New, m.name(), f, maildir.Cur, m.base+suffix)
		switch {
		case err == nil:
			m.sub, m.suffix = maildir.Cur, suffix
		case errors.Is(err, fs.ErrExist):
			// Two files of one name; see to that when both have been seen.
		default:
			l.mb.stuck++
			if err := l.stays(m, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// stays takes in that a file has not been renamed. What is no fault of the disk keeps
// nobody from the other messages.
func (l *look) stays(f *found, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.settled = false // another program was faster
	case atDisk(diskError(err)):
		return err
	case l.mb.odd(f.sub, f.name()):
		l.mb.a.log.Warn("a message cannot be renamed", "error", err)
	}
	return nil
}

func (l *look) listCur() error {
	mb := l.mb
	now := time.Now()
	ctime, err := mb.ctime(maildir.Cur)
	if err != nil {
		return err
	}
	list, err := mb.folder.List(maildir.Cur)
	if err != nil {
		return err
	}
	defer list.Release()
	l.snapshot = list.Snapshot
	l.seen = make([]bool, l.snap.len)
	files := gathering{list: list, sub: maildir.Cur, see: l.see}
	for i, n := range l.locateAll(list) {
		if n >= 0 {
			if l.seen[n] {
				// It was seen under another name before. This one is ours.
				l.swap(l.snap.at(n))
			}
			l.seen[n] = true
		} else if l.usable(list, i, maildir.Cur) {
			files.add(i)
		}
	}
	files.flush()
	mb.cur.listed(ctime, now)
	return nil
}

// locateAll gives, for each entry of a list of cur, the position of the message
// that is known under that very name, or -1.
func (l *look) locateAll(list *maildir.Listing) []int {
	l.mb.bases.fill(l.snap)
	positions := make([]int, list.Len())
	share(len(positions), func(i int) {
		positions[i] = -1
		if list.Name(i)[0] == '.' || list.Type(i) == maildir.TypeOther {
			return
		}
		base, suffix := maildir.SplitNameBytes(list.Name(i))
		r, n := l.mb.bases.locate(l.snap, base)
		if r != nil && r.sub == maildir.Cur && r.set.suffix == string(suffix) {
			positions[i] = n
		}
	})
	return positions
}

// swap makes a double of the name under which a known message was seen before
// it was seen under the name that it is known by.
func (l *look) swap(r *record) {
	if f, ok := l.changed[r.base]; ok {
		l.doubles = append(l.doubles, f)
		delete(l.changed, r.base)
	}
}

// usable tells whether an entry of a directory may be a message. What is none
// is logged once.
func (l *look) usable(list *maildir.Listing, i int, s maildir.Sub) bool {
	name := list.Name(i)
	if name[0] == '.' {
		return false
	}
	if list.Type(i) == maildir.TypeOther {
		l.mb.irregular(s, string(name))
		return false
	}
	return true
}

// see takes note of one file.
func (l *look) see(f found) {
	if first := l.fresh[f.base]; first != nil {
		if first.sub != f.sub || first.suffix != f.suffix {
			l.doubles = append(l.doubles, f)
		}
		return
	}
	r := l.mb.bases.find(l.snap, []byte(f.base))
	if r == nil {
		l.fresh[f.base] = &f
		return
	}
	if l.seen != nil {
		n, _ := l.snap.index(r.uid)
		if l.seen[n] {
			if !l.isCurrent(r, f) {
				l.doubles = append(l.doubles, f)
			}
			return
		}
		l.seen[n] = true
	}
	if r.sub != f.sub || r.set.suffix != f.suffix {
		l.changed[f.base] = f
	}
}

// isCurrent tells whether f is the name that the message was seen under in this
// look already.
func (l *look) isCurrent(r *record, f found) bool {
	if c, ok := l.changed[f.base]; ok {
		return c.sub == f.sub && c.suffix == f.suffix
	}
	return r.sub == f.sub && r.set.suffix == f.suffix
}

// examine looks at the files that need it, one by one, and decides on those
// that are missing.
func (l *look) examine() error {
	for _, f := range l.doubles {
		if err := l.double(f); err != nil {
			return err
		}
	}
	lost := make(map[string]bool)
	all := l.byInode()
	for i, err := range l.statAll(all) {
		if err := l.judge(all[i], err, lost); err != nil {
			return err
		}
	}
	for try := 0; len(lost) > 0 && try < maxLooks; try++ {
		if err := l.search(lost); err != nil {
			return err
		}
	}
	l.rebase()
	l.missing()
	return nil
}

// byInode gives the fresh messages in the order in which they are read fastest.
func (l *look) byInode() []*found {
	all := slices.AppendSeq(make([]*found, 0, len(l.fresh)), maps.Values(l.fresh))
	slices.SortFunc(all, func(a, b *found) int { return cmp.Compare(a.ino, b.ino) })
	return all
}

// statAll looks at files, and gives what became of each.
func (l *look) statAll(all []*found) []error {
	errs := make([]error, len(all))
	share(len(all), func(i int) { errs[i] = l.statOne(all[i]) })
	return errs
}

// errOdd is of what is no regular file.
var errOdd = errors.New("not a regular file")

func (l *look) statOne(f *found) error {
	st, err := l.mb.folder.Stat(f.sub, f.name())
	if err == nil && !st.Regular {
		err = errOdd
	}
	f.date = st.ModTime.Unix()
	return err
}

// stat looks at one fresh message.
func (l *look) stat(f *found, lost map[string]bool) error {
	return l.judge(f, l.statOne(f), lost)
}

// judge takes in what a look at a fresh message gave. Where it is not there any
// more, it is taken out and entered in lost.
func (l *look) judge(f *found, err error, lost map[string]bool) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		delete(l.fresh, f.base)
		lost[f.base] = true
	case errors.Is(err, errOdd):
		delete(l.fresh, f.base)
		l.mb.irregular(f.sub, f.name())
	case err != nil:
		return err
	default:
		l.fresh[f.base] = f
	}
	return nil
}

// search looks for messages that were renamed, or removed, before they could be
// looked at. What is found now, or is not there at all, is not lost any more.
func (l *look) search(lost map[string]bool) error {
	still := make(map[string]bool)
	there := make(map[string]bool)
	for _, s := range []maildir.Sub{maildir.New, maildir.Cur} {
		list, err := l.mb.folder.List(s)
		if err != nil {
			return err
		}
		for i := range list.Len() {
			base, suffix := maildir.SplitNameBytes(list.Name(i))
			if !lost[string(base)] || there[string(base)] || !l.usable(list, i, s) {
				continue
			}
			if err := l.stat(&found{sub: s, base: string(base), suffix: string(suffix)}, still); err != nil {
				list.Release()
				return err
			}
			there[string(base)] = !still[string(base)]
		}
		list.Release()
	}
	for base := range lost {
		if there[base] || !still[base] {
			delete(lost, base)
		}
	}
	return nil
}

// double decides on a file whose base another file has too.
func (l *look) double(f found) error {
	mb := l.mb
	st, err := mb.folder.Stat(f.sub, f.name())
	if errors.Is(err, fs.ErrNotExist) {
		l.settled = false // it has been renamed between two looks
		return nil
	}
	if err != nil {
		return err
	}
	other := l.namesake(f.base)
	ost, err := mb.folder.Stat(other.sub, other.name())
	if errors.Is(err, fs.ErrNotExist) {
		l.settled = false
		l.instead(f)
		return nil
	}
	if err != nil {
		return err
	}
	if !st.Regular || st.Ino == ost.Ino && st.Dev == ost.Dev {
		return nil // two names of one message: being moved by link and unlink
	}
	if !l.move {
		return nil // not ours to rename while no one may write
	}
	name := mb.a.namer.Next().Base(st.Dev, st.Ino, st.Size)
	suffix := f.suffix
	if suffix == "" {
		suffix = maildir.WithFlags("", 0)
	}
	done := false
	err = mb.change(func() error {
		err := mb.folder.Rename(f.sub, f.name(), mb.folder, maildir.Cur, name+suffix)
		if done = err == nil; done {
			return nil
		}
		return l.stays(&f, err)
	}, f.sub, maildir.Cur)
	if !done {
		return err
	}
	mb.a.log.Warn("two messages had one name; the second got another", "path", mb.path(), "name", f.name(), "new", name+suffix)
	l.fresh[name] = &found{sub: maildir.Cur, base: name, suffix: suffix}
	return nil
}

// instead takes a file for the one with that base that was seen first.
func (l *look) instead(f found) {
	if l.fresh[f.base] != nil {
		l.fresh[f.base] = &f
		return
	}
	l.changed[f.base] = f
}

// namesake gives the file with that base that was seen first.
func (l *look) namesake(base string) found {
	if f := l.fresh[base]; f != nil {
		return *f
	}
	if f, ok := l.changed[base]; ok {
		return f
	}
	r := l.mb.bases.find(l.snap, []byte(base))
	return found{sub: r.sub, base: base, suffix: r.set.suffix}
}

// missing decides on the messages whose files this look has not seen. A message
// is gone only if it was not there at two looks.
func (l *look) missing() {
	l.gone = make(map[imap.UID]bool)
	if l.seen == nil {
		return
	}
	now := time.Now()
	suspect := make(map[imap.UID]time.Time)
	for n, ok := range l.seen {
		if ok {
			continue
		}
		uid := l.snap.at(n).uid
		first, again := l.mb.suspect[uid]
		if again && (l.snapshot || now.Sub(first) >= missingWait) {
			l.gone[uid] = true
			continue
		}
		if !again {
			first = now
		}
		suspect[uid] = first
		l.settled = false
	}
	l.mb.suspect = suspect
	maps.DeleteFunc(l.mb.ghosts, func(uid imap.UID, _ bool) bool {
		n, ok := l.snap.index(uid)
		return ok && l.seen[n]
	})
}

// apply makes the next snapshot.
func (l *look) apply() error {
	mb := l.mb
	if len(l.changed)+len(l.rebased)+len(l.fresh)+len(l.gone) == 0 && mb.row.id != 0 {
		mb.imports = nil
		return nil
	}
	e := l.snap.edit()
	modseq := l.snap.modseq + 1
	put, inNew := l.rename(e, modseq)
	added, err := l.number(e, modseq)
	if err != nil {
		return err
	}
	e.addRuns(added)
	if len(added) >= manyRuns {
		debug.FreeOSMemory()
	}
	for _, run := range added {
		for i := range run {
			inNew += isNew(run[i].sub)
		}
	}
	if len(l.gone) > 0 {
		for uid := range l.gone {
			inNew -= isNew(l.snap.find(uid).sub)
		}
		e.remove(l.gone)
		e.s.modseq = modseq
	}
	err = mb.commit(e.done(), len(added) > 0 || mb.row.id == 0, nil, func(conn *sqlite.Conn) error {
		if err := mb.bury(conn, l.snap, l.gone, modseq); err != nil {
			return err
		}
		for _, run := range added {
			if err := mb.putMessages(conn, run); err != nil {
				return err
			}
		}
		for _, m := range l.rebased {
			if err := keepOrigin(conn, mb.row.id, l.snap.find(m.uid)); err != nil {
				return err
			}
		}
		return errors.Join(mb.putMessages(conn, put), dropMessages(conn, mb.row.id, l.gone))
	})
	if err != nil {
		return err
	}
	l.tellLost()
	for _, run := range added {
		for i := range run {
			mb.bases.add(run[i].base, run[i].uid)
		}
	}
	for _, m := range l.rebased {
		mb.bases.add(m.to.base, m.uid)
		mb.courier.renamed = true
	}
	mb.inNew = inNew
	if s := mb.snap.Load(); mb.imports.says(s) {
		mb.courier.written = s
	}
	mb.imports = nil
	return nil
}

// rename enters the names that other programs have given to known messages. It
// gives their records, and how many messages are in new then.
func (l *look) rename(e *edit, modseq ModSeq) (put []record, inNew int) {
	inNew = l.mb.inNew
	enter := func(old *record, f *found) {
		r := *old
		if f.base != old.base {
			r.base = strings.Clone(f.base)
		}
		r.sub, r.set = f.sub, l.mb.sets.get(f.suffix, old.set.keywords)
		if r.set.sys != old.set.sys {
			r.modseq = modseq
			e.s.modseq = modseq
		}
		inNew += isNew(r.sub) - isNew(old.sub)
		e.set(r)
		put = append(put, r)
	}
	for base, f := range l.changed {
		enter(l.mb.bases.find(l.snap, []byte(base)), &f)
	}
	for _, m := range l.rebased {
		enter(l.snap.find(m.uid), m.to)
	}
	return put, inNew
}

func isNew(s maildir.Sub) int {
	if s == maildir.New {
		return 1
	}
	return 0
}

// numbered is a fresh message with what decides on its place.
type numbered struct {
	*found
	uid imap.UID // as another server had it, or 0
	key maildir.Key
}

func (a numbered) compare(b numbered) int {
	switch {
	case a.uid != 0 && b.uid != 0:
		return cmp.Compare(a.uid, b.uid)
	case a.uid != 0:
		return -1
	case b.uid != 0:
		return 1
	}
	return a.key.Compare(b.key)
}

// number gives the fresh messages UIDs, in Courier's order behind those that
// another server has numbered. They are fresh no longer: of very many that have come at
// once, what has been seen of them need not be kept beside their records.
func (l *look) number(e *edit, modseq ModSeq) ([][]record, error) {
	if len(l.fresh) == 0 {
		return nil, nil
	}
	fresh := make([]numbered, 0, len(l.fresh))
	for _, f := range l.fresh {
		fresh = append(fresh, numbered{found: f, key: maildir.SortKey(f.base)})
	}
	l.fresh = nil
	l.mb.imports.number(fresh)
	if l.mb.imports != nil {
		e.s.uidNext = max(e.s.uidNext, l.mb.imports.next)
	}
	slices.SortFunc(fresh, numbered.compare)
	runs := make([][]record, 0, (len(fresh)+chunkLen-1)/chunkLen+1)
	var names nameRun
	for run := range slices.Chunk(fresh, chunkLen) {
		records, err := l.records(e, modseq, run, &names)
		if err != nil {
			return nil, err
		}
		runs = append(runs, records)
	}
	e.s.modseq = modseq
	return runs, nil
}

// records makes those of a run of messages, each of which gets a UID if it has none, and
// lets go of what was seen of them. names is empty.
func (l *look) records(e *edit, modseq ModSeq, run []numbered, names *nameRun) ([]record, error) {
	sizes := newSizes(len(run))
	records := make([]record, 0, len(run))
	for i, f := range run {
		uid := f.uid
		if uid == 0 {
			if e.s.uidNext == 0 || uint64(e.s.uidNext) >= 1<<32-1 {
				return nil, errors.New("no UIDs are left")
			}
			uid = e.s.uidNext
			e.s.uidNext++
		}
		keywords, err := l.mb.sets.canonical(l.mb.imports.keywordsOf(f.base, f.suffix))
		if err != nil {
			l.mb.a.log.Warn("keywords of a message are lost", "path", l.mb.path(), "name", f.name(), "error", err)
		}
		records = append(records, record{
			uid: uid, sub: f.sub, modseq: modseq, date: f.date,
			set: l.mb.sets.get(f.suffix, keywords), size: &sizes[i],
		})
		addName(names, f.base)
		run[i] = numbered{}
	}
	for i, base := range names.strings() {
		records[i].base = base
	}
	return records, nil
}
