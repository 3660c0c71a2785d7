package store

import (
	"errors"
	"io/fs"
	"sync"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// ErrOverQuota says that there would be more mail than there may be.
var ErrOverQuota = errors.New("quota exceeded")

// ErrNoQuota says that nothing limits an account, and nobody counts.
var ErrNoQuota = errors.New("no quota")

// Limits and Usage are those of maildirsize.
type (
	Limits = maildir.Limits
	Usage  = maildir.Usage
)

// quota is what the account knows of maildirsize, which is the truth: other
// programs deliver by it and write to it. It is kept where there is one, and made
// where a limit is set.
type quota struct {
	a *Account

	// changes is held for reading from before files change until that has been
	// written down, and for writing while they are counted. It is taken after the
	// locks of mailboxes and before mu.
	changes sync.RWMutex

	mu   sync.Mutex
	file *maildir.SizeFile
	kept bool
}

// openQuota finds out whether there is a maildirsize. What it says is compared
// with the index: mail that came or went without a line is counted now.
func (a *Account) openQuota() {
	q := &a.quota
	q.a, q.file = a, maildir.NewSizeFile(a.dir, a.ops)
	if err := q.open(); err != nil {
		a.log.Error("maildirsize is not as it should be", "error", err)
	}
}

func (q *quota) open() error {
	err := q.file.Refresh()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	q.kept = true
	if err != nil && !errors.Is(err, maildir.ErrSizeFile) && !errors.Is(err, maildir.ErrIrregular) {
		return err
	}
	if q.a.index.unwritten != nil {
		return nil
	}
	if err == nil {
		known, ierr := q.a.countIndexed()
		if ierr != nil || known == q.file.Used.Messages {
			return ierr
		}
	}
	return q.recount(q.file.Limits)
}

// countIndexed gives how many messages count by the index's rows.
func (a *Account) countIndexed() (n int64, err error) {
	err = a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT sum(messages - deleted) FROM mailbox WHERE dir <> ?", &sqlitex.ExecOptions{
			Args:       []any{maildir.TrashDir},
			ResultFunc: func(stmt *sqlite.Stmt) error { n = stmt.ColumnInt64(0); return nil },
		})
	})
	return n, err
}

// recount counts all messages and writes the file anew. Changes wait meanwhile.
func (q *quota) recount(l Limits) error {
	q.changes.Lock()
	defer q.changes.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kept = true
	return q.file.Recount(l)
}

// countPath adds up the messages of a mailbox that count; none where it is none.
func (a *Account) countPath(path string) (Usage, error) {
	f, err := maildir.OpenFolder(path, a.ops)
	if err != nil {
		return Usage{}, nil // as for whoever lists mailboxes
	}
	defer f.Close()
	return f.Count()
}

// Quota gives the limits and what there is. ErrNoQuota where nobody counts.
func (a *Account) Quota() (Limits, Usage, error) {
	q := &a.quota
	if !q.isKept() {
		return Limits{}, Usage{}, ErrNoQuota
	}
	if err := q.refresh(); err != nil {
		return Limits{}, Usage{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.file.Limits, q.file.Used, nil
}

// SetQuota sets the limits, and begins to count where nobody has. Messages
// beyond them stay.
func (a *Account) SetQuota(l Limits) error {
	q := &a.quota
	if q.isKept() {
		if err := q.refresh(); err != nil {
			return err
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.file.Limits == l {
			return nil
		}
		return diskError(q.file.Compact(l))
	}
	if l == (Limits{}) {
		return nil
	}
	return diskError(q.recount(l))
}

func (q *quota) isKept() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.kept
}

// refresh reads what others have written. A file of which no sum can be made is
// made anew; one that is gone, too.
func (q *quota) refresh() error {
	q.mu.Lock()
	err := q.file.Refresh()
	limits := q.file.Limits
	q.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, maildir.ErrSizeFile), errors.Is(err, fs.ErrNotExist), errors.Is(err, maildir.ErrIrregular):
		q.a.log.Warn("maildirsize is made anew", "error", err)
		return q.recount(limits)
	}
	return err
}

// holds tells whether there may be so much where nothing else is, as far as is known.
func (q *quota) holds(u Usage) bool {
	allows := func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return !q.kept || q.file.Limits.Allow(u)
	}
	// Others may have set other limits.
	return allows() || q.refresh() != nil || allows()
}

// claim announces messages that are about to come, and those that go with it. It
// is refused where there would be too many once next has gone too, unless it is
// forced. After it, done must be called with what has become of it; until then nobody counts.
//
// A file that cannot be read or written does not keep mail from being served and
// taken: whoever may have made it so could as well have set other limits.
func (q *quota) claim(u, next Usage, forced bool) (done func(error), err error) {
	if !q.isKept() {
		return func(error) {}, nil
	}
	done, err = q.tryClaim(u, next, forced)
	if err == nil || errors.Is(err, ErrOverQuota) {
		return done, err
	}
	q.hidden(err)
	q.changes.RLock()
	return func(error) { q.changes.RUnlock() }, nil
}

// hidden logs that the file does not show a change.
func (q *quota) hidden(err error) {
	q.a.log.Error("maildirsize does not show a change", "error", err)
}

func (q *quota) tryClaim(u, next Usage, forced bool) (done func(error), err error) {
	if err := q.refresh(); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		q.changes.RLock()
		ok, err := q.enter(u, next, forced)
		if err == nil && ok {
			return func(err error) { q.leave(u, err) }, nil
		}
		q.changes.RUnlock()
		if err != nil {
			return nil, err
		}
		q.mu.Lock()
		stale := q.file.Stale()
		limits := q.file.Limits
		q.mu.Unlock()
		if try > 0 || !stale {
			return nil, ErrOverQuota
		}
		if err := q.recount(limits); err != nil {
			return nil, err
		}
	}
}

// enter writes a change down if it may be.
func (q *quota) enter(u, next Usage, forced bool) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	net := u.Add(next.Negative())
	if !forced && (net.Octets > 0 || net.Messages > 0) && !q.file.Limits.Allow(q.file.Used.Add(net)) {
		return false, nil
	}
	return true, q.add(u)
}

// leave ends a claim.
func (q *quota) leave(u Usage, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.changes.RUnlock()
	if err != nil {
		err = q.add(u.Negative())
	}
	if err != nil {
		q.hidden(err)
	}
}

// note writes down a change that has happened. The caller holds changes.
func (q *quota) note(u Usage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.kept {
		return
	}
	if err := q.add(u); err != nil {
		q.hidden(err)
	}
}

// add writes a line, and the file anew where it has become long. mu is held.
func (q *quota) add(u Usage) error {
	if u == (Usage{}) {
		return nil
	}
	if err := q.file.Add(u); err != nil {
		return diskError(err)
	}
	if err := q.file.Refresh(); err != nil || !q.file.Full() {
		return ignoreDamage(err)
	}
	return diskError(ignoreDamage(q.file.Compact(q.file.Limits)))
}

// ignoreDamage leaves a file that cannot be summed up to the next refresh.
func ignoreDamage(err error) error {
	if errors.Is(err, maildir.ErrSizeFile) {
		return nil
	}
	return err
}

// noteFolder writes down that a whole mailbox counts from now on, or does not any
// more: dir is its directory while it counts, path where it is now. The caller
// holds changes.
func (a *Account) noteFolder(dir, path string, counts bool) {
	if !a.quota.isKept() || dir == maildir.TrashDir {
		return
	}
	u, err := a.countPath(path)
	if err != nil {
		a.quota.hidden(err)
		return
	}
	if !counts {
		u = u.Negative()
	}
	a.quota.note(u)
}

// counted adds up the records that count in a mailbox. Where a name does not
// tell a message's length, its file does.
func (mb *mailbox) counted(records []*record) (total Usage) {
	if mb.dir == maildir.TrashDir {
		return total
	}
	for _, r := range records {
		if r.set.sys&maildir.Trashed == 0 {
			total = total.Add(mb.usageOf(r))
		}
	}
	return total
}

// usageOf is a message by itself.
func (mb *mailbox) usageOf(r *record) Usage {
	n, ok := maildir.SizeOf(r.base)
	if !ok {
		if st, err := mb.folder.Stat(r.sub, r.name()); err == nil {
			n = st.Size
		}
	}
	return Usage{Octets: n, Messages: 1}
}
