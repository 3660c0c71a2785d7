package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// markStep is by how much the marks of UIDs and mod-sequences are raised.
const markStep = 1000

// mailbox is one mailbox of an account, as all of its views share it.
type mailbox struct {
	a     *Account
	order uint64                   // of locks: of two mailboxes, the lower one's is taken first
	snap  atomic.Pointer[snapshot] // nil until it is loaded; replaced under mu

	// Guarded by Account.mu.
	refs int
	used time.Time

	// textDue is the UIDNEXT from which on the text index is to be worked on; 0
	// where that is not known, the highest number where there is none.
	textDue atomic.Uint32

	begun  atomic.Uint64         // syncs that have begun; raised under mu
	cache  atomic.Pointer[cache] // nil until it is used; set under mu
	loaded atomic.Bool           // folder, sets and snap are there to stay; set under mu
	gone   atomic.Bool           // it is no more, as a whole or under its name; set under mu

	mu       sync.Mutex
	dir      string // relative to the top Maildir
	folder   *maildir.Folder
	row      mailboxRow // as the index has it, but for the times and counts
	sets     *flagsets
	bases    baseTable
	cur      dirState
	new      dirState
	looked   uint64                 // the number of the last sync that has done what it can
	inNew    int                    // messages that are in new
	stuck    int                    // of them, as last seen, those that cannot be moved from there
	suspect  map[imap.UID]time.Time // messages whose file was missing at the last look
	sizes    []*record              // whose size the index does not have yet
	ahead    bool                   // the index may have rows, of UIDNEXT and up, of messages that are not in cur yet
	ghosts   map[imap.UID]bool      // and these of messages that are gone, or may never have been
	imports  *foreign               // what another server knew, until the first sync
	courier  courierFiles
	views    map[*View]bool
	odds     map[string]bool // names that have been logged
	uncached bool            // there can be no cache
	curSync  *group          // makes the entries of cur durable
	newSync  *group          // and those of new
	floor    ModSeq          // since before it, it is not known what has changed
	graves   int             // rows of expunged, or -1: not counted yet
}

// newMailbox gives one that is not loaded. Account.mu is held.
func newMailbox(a *Account, dir string) *mailbox {
	a.made++
	mb := &mailbox{
		a: a, order: a.made, dir: dir,
		graves: -1, ghosts: make(map[imap.UID]bool), views: make(map[*View]bool), odds: make(map[string]bool),
	}
	mb.curSync = newGroup(func() error { return a.syncNames(mb.folder, maildir.Cur) }, a.synced)
	mb.newSync = newGroup(func() error { return a.syncNames(mb.folder, maildir.New) }, a.synced)
	return mb
}

// name is the mailbox's name; mu or Account.mu is held.
func (mb *mailbox) name() string {
	name, err := maildir.DecodeName(mb.dir, mb.a.enc)
	if err != nil {
		return mb.dir // cannot be: the directory came of a name
	}
	return name
}

func (mb *mailbox) path() string { return filepath.Join(mb.a.dir, mb.dir) }

// load opens the directory and reads the index. mu is held.
func (mb *mailbox) load(ctx context.Context) error {
	switch {
	case mb.gone.Load():
		return fmt.Errorf("%w: %q", ErrNotFound, mb.name())
	case mb.loaded.Load():
		return nil
	}
	folder, err := mb.openFolder()
	if err != nil {
		return err
	}
	mb.folder = folder
	if err := mb.loadIndex(ctx); err != nil {
		mb.reset()
		return err
	}
	mb.loaded.Store(true)
	return nil
}

// openFolder opens the directory. Deviation: a tmp or new that is missing is
// made; Courier serves such a mailbox badly or not at all.
func (mb *mailbox) openFolder() (*maildir.Folder, error) {
	folder, err := maildir.OpenFolder(mb.path(), mb.a.ops)
	if errors.Is(err, fs.ErrNotExist) {
		if st, serr := os.Lstat(filepath.Join(mb.path(), "cur")); serr != nil || !st.IsDir() {
			return nil, fmt.Errorf("%w: %q", ErrNotFound, mb.name())
		}
		mb.a.log.Warn("mailbox lacks a directory, which is made", "path", mb.path(), "error", err)
		if err := mb.a.ops.MakeTree(mb.path(), mb.dir != "."); err != nil {
			return nil, diskError(err)
		}
		folder, err = maildir.OpenFolder(mb.path(), mb.a.ops)
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: %q: %w", ErrNotFound, mb.name(), err)
	}
	return folder, err
}

func (mb *mailbox) loadIndex(ctx context.Context) error {
	mb.sets = newFlagsets()
	var known bool
	var snap *snapshot
	err := mb.a.index.view(func(conn *sqlite.Conn) (err error) {
		if mb.row, known, err = findMailbox(conn, mb.dir); err != nil || !known {
			return err
		}
		snap, err = loadMessages(conn, mb.row, mb.sets)
		return err
	})
	if err != nil {
		return err
	}
	mb.floor = floorOf(mb.row, mb.a.boot)
	if known {
		snap.all(func(r *record) bool {
			if r.modseq > mb.row.modseq { // written ahead, by a command that was not over
				mb.ghosts[r.uid] = true
			}
			return true
		})
	}
	if known && mb.a.keeper != nil {
		if known, err = mb.reopen(snap); err != nil {
			return err
		}
		snap = mb.snap.Load()
	}
	if known {
		mb.cur.ctime, mb.new.ctime = mb.row.curTime, mb.row.newTime
	} else if snap, err = mb.firstContact(); err != nil {
		return err
	}
	mb.setSnap(snap)
	mb.purge()
	if !known || mb.imports != nil {
		return mb.sync(ctx, false)
	}
	return nil
}

// setSnap takes a snapshot that did not come of an edit of the last one.
func (mb *mailbox) setSnap(s *snapshot) {
	mb.inNew = 0
	s.all(func(r *record) bool {
		if r.sub == maildir.New {
			mb.inNew++
		}
		return true
	})
	mb.bases = baseTable{}
	mb.snap.Store(s)
}

func (mb *mailbox) purge() {
	n, err := mb.folder.PurgeTmp(time.Now())
	if err != nil {
		mb.a.log.Warn("cannot remove old files", "error", err)
	}
	if n > 0 {
		mb.a.log.Info("removed old files", "path", filepath.Join(mb.path(), "tmp"), "files", n)
	}
	if mb.dir != "." {
		mb.a.purgeTemps(mb.path())
	}
}

func (mb *mailbox) irregular(s maildir.Sub, name string) {
	if mb.odd(s, name) {
		mb.a.log.Warn("not a message", "path", mb.path(), "name", s.String()+"/"+name, "reason", maildir.ErrIrregular)
	}
}

// odd tells whether a file of which something is to be logged is one of which nothing has been.
func (mb *mailbox) odd(s maildir.Sub, name string) bool {
	key := s.String() + "/" + name
	if len(mb.odds) >= 1000 || mb.odds[key] {
		return false
	}
	mb.odds[key] = true
	return true
}

// unload writes what the index has not, closes the directory and ends the
// views. mu is held, and the mailbox must not be used again.
func (mb *mailbox) unload() error {
	snap := mb.snap.Load()
	if snap == nil {
		return nil
	}
	var err error
	if !mb.gone.Load() && mb.row.id != 0 && mb.a.index.unwritten == nil {
		row := mb.row
		row.uidMark, row.modseqMark = snap.uidNext, snap.modseq
		err = mb.write(&row, snap, func(*sqlite.Conn) error { return nil })
	}
	mb.end()
	mb.folder.Close()
	mb.closeCache()
	return err
}

// end makes the mailbox one that is no more. Its views find that out when they
// next use it; the directory is closed with the last of them.
func (mb *mailbox) end() {
	mb.gone.Store(true)
	mb.a.watch.remove(mb)
	for v := range mb.views {
		v.poke()
	}
}

// reset makes the mailbox one that is not loaded.
func (mb *mailbox) reset() {
	mb.folder.Close()
	mb.folder = nil
	mb.snap.Store(nil)
}

// commit makes next the mailbox's snapshot: writes the rows that fn puts, and
// the mailbox's own, then shows it to the views. What next gives out past the
// marks is made durable before that, and so is everything if durable is set.
// mu is held. by is the view that made the change, or nil.
func (mb *mailbox) commit(next *snapshot, durable bool, by *View, fn func(*sqlite.Conn) error) error {
	row := mb.row
	lower, err := mb.markBefore()
	if err == nil {
		err = mb.raiseMarks(&row, next)
	}
	if err != nil {
		return err
	}
	durable = durable || row.uidMark > mb.row.uidMark || row.modseqMark > mb.row.modseqMark
	if err := mb.write(&row, next, fn); err != nil {
		return errors.Join(err, lower())
	}
	mb.row, mb.ahead = row, false
	if durable {
		if err := mb.a.index.durable(); err != nil {
			return err
		}
	}
	mb.snap.Store(next)
	mb.sets.forget(next)
	mb.noteCourier(false)
	mb.a.feeds.mark(mb.dir)
	mb.noteText(next.uidNext, false)
	for v := range mb.views {
		if v != by {
			v.poke()
		}
	}
	return nil
}

// raiseMarks raises the marks in row above what next gives out.
func (mb *mailbox) raiseMarks(row *mailboxRow, next *snapshot) (err error) {
	if next.uidNext > row.uidMark {
		row.uidMark, err = mb.raiseUIDs(next.uidNext)
	}
	if next.modseq > row.modseqMark {
		row.modseqMark = next.modseq + markStep
	}
	return err
}

// raiseUIDs gives a new mark above next. Where Courier's file could be read in
// place of a lost index, the mark stands beside it too.
func (mb *mailbox) raiseUIDs(next imap.UID) (imap.UID, error) {
	if next > math.MaxUint32-markStep {
		return 0, fmt.Errorf("mailbox %q: no UIDs are left", mb.name())
	}
	mark := next + markStep
	mb.noteCourier(true)
	if mb.row.uiddb {
		if err := mb.writeUIDNext(mark); err != nil {
			return 0, diskError(err)
		}
	}
	return mark, nil
}

// write commits rows in one transaction; sizes that have become known go along.
func (mb *mailbox) write(row *mailboxRow, s *snapshot, fn func(*sqlite.Conn) error) error {
	row.modseq, row.floor, row.boot = s.modseq, mb.floor, mb.a.boot
	row.messages, row.unseen, row.deleted = s.len, s.unseen, s.deleted
	row.curTime, row.newTime = mb.cur.lasting(), mb.new.lasting()
	if mb.ahead || len(mb.ghosts) > 0 {
		row.curTime, row.newTime = 0, 0 // whoever loads these rows must look
	}
	fresh := row.id == 0
	err := mb.a.index.update(func(conn *sqlite.Conn) error {
		if fresh { // never twice: who waits for the disk may go by that of a mailbox that is no more
			mb.a.index.lastID++
			row.id = mb.a.index.lastID
		}
		if err := putMailbox(conn, row); err != nil {
			return err
		}
		if fresh {
			mb.row.id = row.id
			mb.courier.row.modseq = s.modseq
			err := errors.Join(putValidity(conn, row.uidValidity), putCourier(conn, row.id, mb.courier.row))
			if err != nil {
				return err
			}
		}
		if mb.ahead { // of a command that has failed, or that writes them again
			if err := dropFrom(conn, row.id, mb.snap.Load().uidNext); err != nil {
				return err
			}
		}
		for _, r := range mb.sizes {
			if err := putSize(conn, row.id, r.uid, r.size.Load()); err != nil {
				return err
			}
		}
		return fn(conn)
	})
	if err != nil {
		if fresh {
			mb.row.id, row.id = 0, 0
		}
		return err
	}
	mb.sizes = nil
	return nil
}

// keepSize notes that the size of a message has become known.
func (mb *mailbox) keepSize(r *record) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.sizes = append(mb.sizes, r)
	if mb.gone.Load() || len(mb.sizes) < 1000 {
		return
	}
	row := mb.row
	if err := mb.write(&row, mb.snap.Load(), func(*sqlite.Conn) error { return nil }); err != nil {
		mb.a.log.Warn("cannot keep sizes of messages", "error", err)
		mb.sizes = nil // they will be counted again
	}
}

// courierUIDNext is the file, beside courierimapuiddb, with our mark.
const courierUIDNext = "mailstead-uidnext"

// markBefore gives what puts back the mark beside the file of a mailbox that is taken over,
// where its rows cannot be written: nobody has been given a UID yet, and each time that it is
// tried would go on above the mark of the last.
func (mb *mailbox) markBefore() (lower func() error, err error) {
	if mb.row.id != 0 || !mb.row.uiddb {
		return func() error { return nil }, nil
	}
	was, err := mb.readUIDNext(mb.row.uidValidity)
	return func() error {
		if was == 0 {
			return mb.folder.RemoveSidecars(maildir.BesideCur, courierUIDNext)
		}
		return mb.writeUIDNext(was)
	}, err
}

// writeUIDNext records, beside a courierimapuiddb whose UIDs we went on from,
// that UIDs below mark have been given out. Should the index be lost, Courier's
// file would otherwise have us give them out again.
func (mb *mailbox) writeUIDNext(mark imap.UID) error {
	return mb.a.ops.WriteFile(mb.path(), courierUIDNext, maildir.FileMode,
		fmt.Appendf(nil, "%d %d\n", mb.row.uidValidity, mark))
}

// readUIDNext gives the mark, or 0 where there is none for that UIDVALIDITY.
func (mb *mailbox) readUIDNext(validity uint32) (imap.UID, error) {
	data, err := mb.folder.ReadSidecar(courierUIDNext)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var v, mark uint32
	if _, err := fmt.Sscanf(string(data), "%d %d\n", &v, &mark); err != nil {
		return 0, fmt.Errorf("read %s/%s: %w", mb.path(), courierUIDNext, err)
	}
	if v != validity {
		return 0, nil
	}
	return imap.UID(mark), nil
}
