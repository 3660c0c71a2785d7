package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// Draft is a message that is being received into tmp/.
type Draft struct {
	mb   *mailbox
	id   maildir.Unique
	file *os.File
	buf  *bufio.Writer // nil: the message is finished
	with *unsynced
	size int64 // RFC822.SIZE so far
	disk int64 // octets on disk so far
	last byte
	cr   bool // the last octet was a CR, which is held back
	err  error

	old    *mailbox // where a message is that this one replaces; nil: nowhere, or in another account
	oldUID imap.UID

	record record // what Finish has made of it
	placed bool   // the file has left tmp
	done   bool
}

// unsynced are the drafts of one command that are finished and not durable: they are
// made so together.
type unsynced struct {
	drafts []*Draft
	usage  Usage // of all drafts of the command that are finished
}

const maxUnsynced = 32 // which are open files

func (u *unsynced) sync() error {
	var files []*os.File
	for _, d := range u.drafts {
		if d.file != nil { // or it is aborted
			files = append(files, d.file)
		}
	}
	if len(files) == 0 {
		return nil
	}
	mb := u.drafts[0].mb
	err := mb.a.ops.SyncFiles(files)
	if err != nil {
		err = mb.draftError(err)
	}
	for _, d := range u.drafts {
		d.close()
		d.err = err // for good: another try would seem to succeed
	}
	u.drafts = nil
	return err
}

// NewDraft opens a file in the tmp of the named mailbox. It fails with
// ErrNotFound before a byte of the message is read.
func (a *Account) NewDraft(ctx context.Context, name string) (*Draft, error) {
	mb, err := a.get(ctx, name)
	if err != nil {
		return nil, err
	}
	return mb.newDraft(new(unsynced))
}

// Another opens a draft of another message for the same mailbox.
func (d *Draft) Another() (*Draft, error) {
	a := d.mb.a
	a.mu.Lock()
	d.mb.refs++
	a.mu.Unlock()
	return d.mb.newDraft(d.with)
}

// newDraft takes over the caller's hold of the mailbox.
func (mb *mailbox) newDraft(with *unsynced) (*Draft, error) {
	id := mb.a.namer.Next()
	f, err := mb.folder.Create(id.Tmp())
	if err != nil {
		mb.a.put(mb)
		return nil, mb.draftError(err)
	}
	buf := draftBuffers.Get().(*bufio.Writer)
	buf.Reset(mb.a.ops.Writer(f))
	return &Draft{mb: mb, id: id, file: f, buf: buf, with: with}, nil
}

var draftBuffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 64<<10) }}

// draftError says why a file in tmp cannot be made or found.
func (mb *mailbox) draftError(err error) error {
	if mb.gone.Load() {
		err = fmt.Errorf("%w: it was deleted meanwhile: %w", ErrNotFound, err)
	}
	return fmt.Errorf("append: %w", diskError(err))
}

// Scratch makes a file on the disk of the mailbox for what is gathered before it can be a
// message. It goes when it is closed.
func (d *Draft) Scratch() (*os.File, error) {
	f, err := d.mb.folder.Scratch(d.mb.a.namer.Next().Tmp())
	if err != nil {
		return nil, d.mb.draftError(err)
	}
	return f, nil
}

var _ io.Writer = (*Draft)(nil)

// Write adds octets as they come from the client (CRLF line ends). On disk lines end
// with LF, as with Courier; a CR elsewhere stays, as in what is delivered.
func (d *Draft) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && d.err == nil; {
		if d.cr && rest[0] != '\n' {
			d.add([]byte{'\r'})
		}
		line := rest
		i := bytes.IndexByte(rest, '\r')
		if d.cr = i >= 0; d.cr {
			line, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		d.add(line)
	}
	if d.err != nil {
		return 0, d.err
	}
	return len(p), nil
}

// add writes octets as they are.
func (d *Draft) add(p []byte) {
	if len(p) == 0 || d.err != nil {
		return
	}
	d.size += int64(len(p) + bytes.Count(p, []byte{'\n'}))
	if d.last == '\r' && p[0] == '\n' { // of which nobody can tell that there was a CR more
		d.size--
	}
	d.disk += int64(len(p))
	d.last = p[len(p)-1]
	if _, err := d.buf.Write(p); err != nil {
		d.err = fmt.Errorf("append: %w", diskError(err))
	}
}

// Abort removes the file. It does nothing after the message has been committed.
func (d *Draft) Abort() {
	if d.done {
		return
	}
	d.done = true
	d.close()
	defer d.mb.a.put(d.mb)
	if d.placed {
		return
	}
	if err := d.mb.folder.Unlink(maildir.Tmp, d.id.Tmp()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.mb.a.log.Warn("cannot remove a draft", "error", err)
	}
}

func (d *Draft) close() {
	d.written()
	if d.file != nil {
		d.file.Close()
		d.file = nil
	}
}

// written gives the buffer back.
func (d *Draft) written() {
	if d.buf != nil {
		d.buf.Reset(nil)
		draftBuffers.Put(d.buf)
		d.buf = nil
	}
}

// Commit puts the message into the mailbox; once it returns, message, UID and
// flags survive a power cut. A zero date is now.
func (d *Draft) Commit(ctx context.Context, flags []imap.Flag, date time.Time) (uidValidity uint32, uid imap.UID, err error) {
	defer d.Abort()
	if err := d.Finish(flags, date); err != nil {
		return 0, 0, err
	}
	uidValidity, uids, err := CommitAll(ctx, []*Draft{d})
	if err != nil {
		return 0, 0, err
	}
	return uidValidity, uids[0], nil
}

// Finish says that the message is whole. A zero date is now.
func (d *Draft) Finish(flags []imap.Flag, date time.Time) error {
	if d.done || d.buf == nil {
		return errors.New("append: the message is finished or aborted already")
	}
	sys, names := splitFlags(flags)
	keywords, err := d.mb.sets.canonical(names)
	if err != nil {
		return err
	}
	if date.IsZero() {
		date = time.Now()
	}
	st, err := d.finish(date)
	if err != nil {
		return d.mb.draftError(err)
	}
	d.record = record{
		sub: maildir.Cur, date: date.Unix(), base: d.id.Base(st.Dev, st.Ino, st.Size),
		set: d.mb.sets.get(maildir.WithFlags("", sys), keywords), size: newSize(d.size),
	}
	if err := d.fits(); err != nil {
		return err
	}
	if d.with.drafts = append(d.with.drafts, d); len(d.with.drafts) < maxUnsynced {
		return nil
	}
	return d.with.sync()
}

// fits refuses what is more than there may be by itself: a thousand messages of one
// command would fill the disk of others before they are counted.
func (d *Draft) fits() error {
	d.mb.mu.Lock()
	d.with.usage = d.with.usage.Add(d.mb.counted([]*record{&d.record}))
	d.mb.mu.Unlock()
	if !d.mb.a.quota.holds(d.with.usage) {
		return fmt.Errorf("append: %w", ErrOverQuota)
	}
	return nil
}

// Replaces says that message n of a view goes once this one is there. Where both are
// in one account, only what they differ by has to fit into its quota (RFC 8508 §3.4).
func (d *Draft) Replaces(v *View, n SeqNum) {
	if v.mb.a == d.mb.a {
		d.old, d.oldUID = v.mb, v.UIDAt(n)
	}
}

// replaced is what a message counts that is replaced, as long as it is there.
func (d *Draft) replaced() Usage {
	if d.old == nil {
		return Usage{}
	}
	d.old.mu.Lock()
	defer d.old.mu.Unlock()
	r := d.old.snap.Load().find(d.oldUID)
	if r == nil {
		return Usage{}
	}
	return d.old.counted([]*record{r})
}

// CommitAll puts finished messages into their mailbox, which is the same for
// all: all or none, under UIDs that ascend without a gap (RFC 3502). Once it
// returns, they survive a power cut.
func CommitAll(ctx context.Context, drafts []*Draft) (uidValidity uint32, uids []imap.UID, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	for _, d := range drafts {
		if d.done || d.buf != nil || d.mb != drafts[0].mb || d.with != drafts[0].with {
			return 0, nil, errors.New("append: the message is not finished, or is aborted")
		}
		if d.err != nil {
			return 0, nil, d.err
		}
	}
	if err := drafts[0].with.sync(); err != nil {
		return 0, nil, err
	}
	mb, replaced := drafts[0].mb, drafts[0].replaced()
	mb.mu.Lock()
	next, err := mb.appendLocked(drafts, replaced)
	mb.mu.Unlock()
	if err == nil {
		for _, d := range drafts {
			d.placed = true
			uids = append(uids, d.record.uid)
		}
		err = mb.durable()
	}
	if err != nil {
		return 0, nil, fmt.Errorf("append: %w", diskError(err))
	}
	return next.uidValidity, uids, nil
}

// finish makes the file in tmp complete.
func (d *Draft) finish(date time.Time) (maildir.Stat, error) {
	if d.cr {
		d.add([]byte{'\r'})
	}
	if d.last != '\n' && d.disk > 0 {
		d.add([]byte{'\n'})
	}
	if d.err != nil {
		return maildir.Stat{}, d.err
	}
	if err := d.buf.Flush(); err != nil {
		return maildir.Stat{}, err
	}
	f := d.mb.folder
	if err := f.SetTime(maildir.Tmp, d.id.Tmp(), time.Unix(date.Unix(), 0)); err != nil {
		return maildir.Stat{}, err
	}
	d.written()
	return f.Stat(maildir.Tmp, d.id.Tmp())
}

// Size is how many octets the message has on disk so far.
func (d *Draft) Size() int64 { return d.disk }

// Text gives a finished message as it is on disk, with LF line ends.
func (d *Draft) Text() ([]byte, error) {
	f, err := d.mb.folder.Open(maildir.Tmp, d.id.Tmp())
	if err != nil {
		return nil, d.mb.draftError(err)
	}
	defer f.Close()
	return readAll(f)
}

// appendLocked gives the messages in tmp their UIDs and their places in cur.
// Keywords stand in the index alone: if there are any, the rows are durable
// before the messages can be seen. mu is held.
func (mb *mailbox) appendLocked(drafts []*Draft, replaced Usage) (*snapshot, error) {
	if mb.gone.Load() {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, mb.name())
	}
	e := mb.snap.Load().edit()
	e.s.modseq++
	p := &placing{dest: mb, replaced: replaced, records: make([]record, len(drafts))}
	for i, d := range drafts {
		r := &d.record
		r.modseq = e.s.modseq
		r.uid = e.s.uidNext
		e.s.uidNext++
		e.add(*r)
		p.records[i] = *r
	}
	p.place = func(i int) error {
		return mb.folder.Rename(maildir.Tmp, drafts[i].id.Tmp(), mb.folder, maildir.Cur, p.records[i].name())
	}
	p.undo = func(i int) error { return mb.folder.Unlink(maildir.Cur, p.records[i].name()) }
	next := e.done()
	return next, p.run(next)
}

// durable returns once what was done to the mailbox survives a power cut: the
// names in cur and what has been committed to the index.
func (mb *mailbox) durable() error {
	if err := mb.curSync.wait(); err != nil {
		return mb.distrust(err)
	}
	return mb.a.index.durable()
}

// syncNames makes the entries of a directory durable, unless another sync has failed
// before: then nobody knows what is on disk.
func (a *Account) syncNames(f *maildir.Folder, s maildir.Sub) error {
	if err := a.index.working(); err != nil {
		return err
	}
	return f.Sync(s)
}

// distrust has the account opened anew: after a sync has failed, what is on disk
// may be older than what we have seen, and another try would seem to succeed.
func (mb *mailbox) distrust(err error) error {
	mb.a.index.fail(fmt.Errorf("sync %s: %w", mb.path(), err))
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.cur.ctime, mb.new.ctime = 0, 0
	return err
}

// placing puts files of new messages into cur and their rows into the index,
// all or none.
type placing struct {
	dest     *mailbox // its mu is held
	records  []record
	origins  [][]byte          // what they are copies of, one for each; nil: they are none
	forced   bool              // whatever the quota
	leaving  maildir.Usage     // what goes from elsewhere with it
	source   *quota            // of where it goes from, if that is another account; or nil
	replaced maildir.Usage     // what goes once it is there
	place    func(i int) error // makes the name in cur
	undo     func(i int) error
}

// run places all, and makes next the snapshot of the mailbox. The changes of two
// accounts are held in the order in which their mailboxes are locked.
func (p *placing) run(next *snapshot) error {
	coming := make([]*record, len(p.records))
	for i := range p.records {
		coming[i] = &p.records[i]
	}
	a, claim := p.dest.a, p.dest.counted(coming)
	if p.source == nil {
		claim = claim.Add(p.leaving.Negative())
	} else if p.source.a.dir < a.dir {
		p.source.changes.RLock()
		defer p.source.changes.RUnlock()
	}
	done, err := a.quota.claim(claim, p.replaced, p.forced)
	if err != nil {
		return err
	}
	if p.source != nil && p.source.a.dir > a.dir {
		p.source.changes.RLock()
		defer p.source.changes.RUnlock()
	}
	err = p.runClaimed(next)
	done(err)
	if err == nil && p.source != nil {
		p.source.note(p.leaving.Negative())
	}
	return err
}

func (p *placing) runClaimed(next *snapshot) error {
	mb := p.dest
	if slices.ContainsFunc(p.records, func(r record) bool { return r.set.keywords != "" }) {
		// Rows without files are no harm: whoever finds them drops them.
		mb.ahead = true
		row := mb.row
		if err := mb.raiseMarks(&row, next); err != nil {
			return err
		}
		if err := mb.write(&row, mb.snap.Load(), p.put); err != nil {
			return err
		}
		mb.row = row
		if err := mb.a.index.durable(); err != nil {
			return err
		}
	}
	err := mb.change(p.placeAll, maildir.Cur)
	if err == nil {
		if err = mb.commit(next, false, nil, p.put); err != nil {
			err = errors.Join(err, mb.change(func() error { return p.undoAll(len(p.records)) }, maildir.Cur))
		}
	}
	if err != nil {
		p.dropRows()
		return err
	}
	for _, r := range p.records {
		mb.bases.add(r.base, r.uid)
	}
	return nil
}

// put writes the rows.
func (p *placing) put(conn *sqlite.Conn) error {
	if err := p.dest.putMessages(conn, p.records); err != nil {
		return err
	}
	for i, origin := range p.origins {
		if err := putOrigin(conn, p.dest.row.id, p.records[i].uid, origin); err != nil {
			return err
		}
	}
	return nil
}

func (p *placing) placeAll() error {
	for i := range p.records {
		if err := p.place(i); err != nil {
			return errors.Join(err, p.undoAll(i))
		}
	}
	return nil
}

// undoAll takes the first n messages out of cur again.
func (p *placing) undoAll(n int) error {
	var errs []error
	for i := range n {
		errs = append(errs, p.undo(i))
	}
	return errors.Join(errs...)
}

// dropRows drops rows that have been written ahead.
func (p *placing) dropRows() {
	mb := p.dest
	if !mb.ahead {
		return
	}
	row := mb.row
	if err := mb.write(&row, mb.snap.Load(), func(*sqlite.Conn) error { return nil }); err != nil {
		mb.a.log.Warn("rows without messages are left until the mailbox is next written", "error", err)
		return
	}
	mb.ahead = false
}
