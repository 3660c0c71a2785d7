package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// When Courier's files follow: a while after the first change since they were
// written, and sooner when UIDs are being given out that Courier might give to
// others if this process died now.
const (
	courierDelay = 20 * time.Second
	courierSoon  = time.Second
)

// courierLockWait is how long one of Courier's processes may keep us waiting.
const courierLockWait = 10 * time.Second

// courierRow is a row of the table courier: Courier's files of a mailbox as they
// were when they said what the index says.
type courierRow struct {
	next     imap.UID // in courierimapuiddb; UIDs from here on are Courier's to give. 0: there is no such file
	uids     int64    // ctime of courierimapuiddb, ns
	digest   int64    // of its content
	modseq   ModSeq   // of the keywords in courierimapkeywords
	keywords int64    // ctime of courierimapkeywords, ns; 0: there is none
}

// courierFiles are Courier's files of a mailbox, as the mailbox's writer knows
// them.
type courierFiles struct {
	writing sync.Mutex  // one writer at a time; taken before mailbox.mu
	pending atomic.Bool // the keeper is going to write
	busy    atomic.Bool // it is writing

	// Guarded by mailbox.mu.
	row     courierRow
	written *snapshot // what the files say; nil: not known
	renamed bool      // a message has another base name than in the files
	foreign bool      // that others write, too, has been logged
}

func findCourier(conn *sqlite.Conn, mailbox int64) (row courierRow, err error) {
	err = sqlitex.Execute(conn, "SELECT next, uids_ctime, uids_digest, modseq, keywords_ctime FROM courier WHERE mailbox = ?", &sqlitex.ExecOptions{
		Args: []any{mailbox},
		ResultFunc: func(stmt *sqlite.Stmt) error {
			row = courierRow{
				next: imap.UID(stmt.ColumnInt64(0)), uids: stmt.ColumnInt64(1), digest: stmt.ColumnInt64(2),
				modseq: ModSeq(stmt.ColumnInt64(3)), keywords: stmt.ColumnInt64(4),
			}
			return nil
		},
	})
	return row, err
}

// putCourier writes the row of a mailbox, unless that is no more.
func putCourier(conn *sqlite.Conn, mailbox int64, row courierRow) error {
	return sqlitex.Execute(conn, "INSERT OR REPLACE INTO courier (mailbox, next, uids_ctime, uids_digest, modseq, keywords_ctime)"+
		" SELECT id, ?, ?, ?, ?, ? FROM mailbox WHERE id = ?",
		&sqlitex.ExecOptions{Args: []any{int64(row.next), row.uids, row.digest, int64(row.modseq), row.keywords, mailbox}})
}

// hasCourier tells whether Courier has been at work in a tree.
func (a *Account) hasCourier(dirs []string) bool {
	for _, dir := range append([]string{"."}, dirs...) {
		if st, err := os.Lstat(filepath.Join(a.dir, dir, maildir.UIDDBFile)); err == nil && st.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// keeper keeps Courier's files of an account's mailboxes. Its mutex is taken
// after those of mailboxes.
type keeper struct {
	log   func(mb *mailbox, err error)
	delay time.Duration
	wake  chan struct{}
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu  sync.Mutex
	due map[*mailbox]time.Time
}

func newKeeper(delay time.Duration, log func(mb *mailbox, err error)) *keeper {
	ctx, stop := context.WithCancel(context.Background())
	k := &keeper{delay: delay, log: log, wake: make(chan struct{}, 1), stop: stop, due: make(map[*mailbox]time.Time)}
	k.done.Go(func() { k.run(ctx) })
	return k
}

// close ends the keeper; nothing is being written any more.
func (k *keeper) close() {
	k.stop()
	k.done.Wait()
}

// note has the files of a mailbox written after the delay, or soon.
func (k *keeper) note(mb *mailbox, soon bool) {
	if mb.courier.pending.Swap(true) && !soon {
		return
	}
	at := time.Now().Add(k.delay)
	if soon {
		at = time.Now().Add(min(courierSoon, k.delay))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.due) >= maxIdleMailboxes {
		at = time.Now() // each of them is kept loaded
	}
	if old, ok := k.due[mb]; ok && !at.Before(old) {
		return
	}
	k.due[mb] = at
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		mb, wait := k.next()
		if mb != nil {
			err := mb.writeCourier(ctx, false)
			mb.courier.busy.Store(false)
			if err != nil {
				if ctx.Err() != nil {
					return
				}
				k.log(mb, err)
				k.note(mb, false)
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
	}
}

// next takes a mailbox off the list whose time has come, or tells how long
// there is none.
func (k *keeper) next() (mb *mailbox, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	wait = time.Hour
	now := time.Now()
	for m, at := range k.due {
		if !at.After(now) {
			delete(k.due, m)
			m.courier.busy.Store(true) // from now on, instead of pending, it keeps the mailbox loaded
			return m, 0
		}
		wait = min(wait, at.Sub(now))
	}
	return nil, wait
}

// noteCourier has Courier's files follow a change, if they are kept.
func (mb *mailbox) noteCourier(soon bool) {
	if mb.a.keeper != nil {
		mb.a.keeper.note(mb, soon)
	}
}

// courierWrite is one writing of Courier's files.
type courierWrite struct {
	mb           *mailbox
	snap         *snapshot
	row          courierRow
	next         imap.UID
	uids, labels bool // what has to be written: courierimapuiddb, courierimapkeywords
	exact        bool
}

// writeCourier brings Courier's files up to the snapshot. While we go on, the
// next UID in courierimapuiddb is ahead of those that we may give out before it
// is next written, so that Courier, after a crash of ours, would give none of
// them; with exact, it is what it is. No lock is held meanwhile that anyone
// waits for.
func (mb *mailbox) writeCourier(ctx context.Context, exact bool) error {
	mb.courier.writing.Lock()
	defer mb.courier.writing.Unlock()
	w := mb.planCourier(exact)
	if w == nil {
		return nil
	}
	before := w.row
	if err := w.write(ctx); err != nil {
		mb.mu.Lock()
		mb.courier.written = nil // who knows what the files say
		mb.mu.Unlock()
		return err
	}
	w.row.modseq = w.snap.modseq
	mb.mu.Lock()
	mb.courier.row, mb.courier.written = w.row, w.snap
	mb.row.uiddb = true
	id := mb.row.id
	mb.mu.Unlock()
	if w.row == before {
		return nil
	}
	return mb.a.index.update(func(conn *sqlite.Conn) error { return putCourier(conn, id, w.row) })
}

// write writes what has to be written.
func (w *courierWrite) write(ctx context.Context) error {
	if w.uids {
		if err := w.writeUIDs(ctx); err != nil {
			return err
		}
	}
	if w.labels {
		return w.writeKeywords()
	}
	return nil
}

// planCourier tells what has to be written; nil if the mailbox is no more.
func (mb *mailbox) planCourier(exact bool) *courierWrite {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.courier.pending.Store(false)
	snap := mb.snap.Load()
	if snap == nil || mb.gone.Load() || mb.row.id == 0 {
		return nil
	}
	c := &mb.courier
	w := &courierWrite{mb: mb, snap: snap, row: c.row, exact: exact, next: snap.uidNext}
	if !exact {
		w.next = max(mb.row.uidMark, snap.uidNext) + markStep
	}
	if c.written == nil || c.renamed {
		w.uids, w.labels = true, true
		c.renamed = false
		return w
	}
	d := diff(c.written, snap)
	w.uids = len(d.gone)+len(d.added) > 0 || mb.row.uidMark > c.row.next || exact && c.row.next != snap.uidNext
	for _, n := range d.gone {
		w.labels = w.labels || c.written.at(n).set.keywords != ""
	}
	for _, r := range d.added {
		w.labels = w.labels || r.set.keywords != ""
	}
	for _, r := range d.changed {
		w.labels = w.labels || c.written.find(r.uid).set.keywords != r.set.keywords
	}
	return w
}

// writeUIDs replaces courierimapuiddb, under Courier's lock.
func (w *courierWrite) writeUIDs(ctx context.Context) error {
	db := maildir.UIDDB{
		Validity: w.snap.uidValidity, Ours: !w.exact,
		Messages: make([]maildir.UIDDBMessage, 0, w.snap.len),
	}
	w.snap.all(func(r *record) bool {
		db.Messages = append(db.Messages, maildir.UIDDBMessage{UID: uint32(r.uid), Base: r.base})
		return true
	})
	f := w.mb.folder
	ctx, cancel := context.WithTimeout(ctx, courierLockWait)
	defer cancel()
	unlock, err := f.LockCourier(ctx, w.mb.a.namer)
	if err != nil {
		return err
	}
	var data []byte
	if err = w.heed(); err == nil {
		db.Next = uint32(w.next)
		data = maildir.EncodeUIDDB(db)
		err = f.ReplaceSidecar(maildir.BesideCur, maildir.UIDDBFile, w.mb.a.namer, data)
	}
	if err = errors.Join(err, unlock()); err != nil {
		return err
	}
	w.row.next, w.row.digest = w.next, digest(data)
	w.row.uids, err = sidecarTime(f, maildir.BesideCur, maildir.UIDDBFile)
	return err
}

// heed looks whether someone else has written courierimapuiddb while the mailbox
// was ours, which is against the rules. What we have told clients holds; but a
// UID that was given there is not given again.
func (w *courierWrite) heed() error {
	mb := w.mb
	now, err := sidecarTime(mb.folder, maildir.BesideCur, maildir.UIDDBFile)
	if err != nil || now == w.row.uids || w.row.uids == 0 || now == 0 {
		return err
	}
	data, err := mb.folder.ReadSidecar(maildir.UIDDBFile)
	if err != nil {
		return err
	}
	db, err := maildir.ParseUIDDB(data)
	if err != nil || db.Ours || db.Validity != w.snap.uidValidity {
		return nil
	}
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if !mb.courier.foreign {
		mb.courier.foreign = true
		mb.a.log.Warn("another program has written Courier's UIDs while we serve the mailbox; ours are kept", "path", mb.path())
	}
	if next := imap.UID(db.Next); next > mb.snap.Load().uidNext && next <= maxForeignUID && !mb.gone.Load() {
		e := mb.snap.Load().edit()
		e.s.uidNext = next
		w.next = max(w.next, next)
		return mb.commit(e.done(), true, nil, func(*sqlite.Conn) error { return nil })
	}
	return nil
}

// writeKeywords replaces courierimapkeywords/:list, then removes the files that
// would count more.
func (w *courierWrite) writeKeywords() error {
	f := w.mb.folder
	data := maildir.EncodeKeywords(func(yield func(base, keywords string) bool) {
		w.snap.all(func(r *record) bool { return yield(r.base, r.set.keywords) })
	})
	var err error
	if data != nil {
		err = f.ReplaceSidecar(maildir.InKeywords, maildir.KeywordsList, w.mb.a.namer, data)
	} else {
		err = f.RemoveSidecars(maildir.InKeywords, maildir.KeywordsList)
	}
	if err == nil {
		err = f.ClearKeywords()
	}
	if err != nil {
		return err
	}
	w.row.keywords, err = sidecarTime(f, maildir.InKeywords, "")
	return err
}

// digest tells contents of files apart.
func digest(data []byte) int64 {
	sum := sha256.Sum256(data)
	return int64(binary.LittleEndian.Uint64(sum[:]))
}

// sidecarTime gives the time of a file's last change, 0 if there is none.
func sidecarTime(f *maildir.Folder, p maildir.Place, name string) (int64, error) {
	st, err := f.StatSidecar(p, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at Courier's files: %w", err)
	}
	return st.Change.UnixNano(), nil
}

// courierError logs that Courier's files are behind.
func (a *Account) courierError(mb *mailbox, err error) {
	if mb.gone.Load() {
		return
	}
	a.log.Error("Courier's files cannot be brought up to date; another try follows", "path", mb.path(), "error", err)
}

// leaveToCourier has Courier's files of a mailbox say exactly what it is, when
// the account is closed.
func (a *Account) leaveToCourier(mb *mailbox) error {
	if a.keeper == nil {
		return nil
	}
	if err := mb.writeCourier(context.Background(), true); err != nil {
		return fmt.Errorf("write Courier's files of %s: %w", mb.path(), err)
	}
	return nil
}

// leaveRest does so for the mailboxes that have been in use and are not loaded
// any more: their next UID is still ahead. a.mu is held.
func (a *Account) leaveRest() error {
	if a.keeper == nil {
		return nil
	}
	var dirs []string
	err := a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT dir FROM mailbox JOIN courier ON mailbox.id = courier.mailbox"+
			" WHERE courier.next != mailbox.uid_mark OR courier.modseq != mailbox.modseq_mark", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error { dirs = append(dirs, stmt.ColumnText(0)); return nil },
		})
	})
	errs := []error{err}
	for _, dir := range dirs {
		mb := newMailbox(a, dir)
		mb.mu.Lock()
		err := mb.load(context.Background())
		mb.mu.Unlock()
		if errors.Is(err, ErrNotFound) {
			continue // gone meanwhile; the index forgets it when it is next opened
		}
		if err == nil {
			err = a.leaveToCourier(mb)
			mb.mu.Lock()
			err = errors.Join(err, mb.unload())
			mb.mu.Unlock()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
