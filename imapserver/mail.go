package imapserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
	"mailstead/imapserver/outbox"
	"mailstead/imapserver/session"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// linger is how long an account stays open, and a worker alive, after the last
// session: most clients come back soon.
const linger = 60 * time.Second

// mail is the mail side of a process: the accounts that are open and the
// sessions on them.
type mail struct {
	log    *slog.Logger
	linger time.Duration
	quiet  func(started uint64) // called when there is no session and no open account; may be nil

	neighbours *store.Neighbours // what users share with each other
	met        met               // with the last session; the worker's goroutine alone has it

	background chan struct{} // room for one that fills caches
	notifier   *store.Notifier

	seats   seats
	keep    atomic.Int64 // seconds for which what is expunged is kept, as the last session was told
	relaxed atomic.Bool  // flags and removals need not be on disk when they are acknowledged; as the last one was told

	live    live      // the sessions, for who asks
	reports *reporter // of what happens to mail
	failed  sync.Map  // Maildirs whose account was broken when it was last open

	mu       sync.Mutex
	accounts map[string]*account // by Maildir
	started  uint64              // sessions, ever
	running  int                 // of them now
	busy     sync.WaitGroup      // the same, to wait for
}

// account is a store.Account that sessions share. opened is closed once store
// and err are set.
type account struct {
	opened chan struct{}
	gone   chan struct{} // closed once it has been closed, or could not be opened
	store  *store.Account
	err    error

	owner atomic.Pointer[string] // whose it is; nil before one of their sessions has come

	whole context.Context // ends when the store can do nothing more
	fail  context.CancelFunc

	// Under mail.mu:
	users   int         // sessions that use it
	idle    *time.Timer // closes it; nil while there are sessions
	closing bool        // it is being closed
}

func newMail(log *slog.Logger) *mail {
	reports := newReporter()
	m := &mail{log: counted(log, &reports.Counts), reports: reports, linger: linger, background: make(chan struct{}, 1), notifier: store.NewNotifier(log), accounts: map[string]*account{}}
	m.neighbours = store.NewNeighbours(log, m.lend)
	return m
}

// start serves a session in a goroutine of its own.
func (m *mail) start(ctx context.Context, s *handoff.Session) {
	m.begin()
	go func() {
		defer m.end()
		conn, err := handoff.Stream(s.Stream)
		if err != nil {
			m.log.Error("session not begun", "session", s.ID, "user", s.User, "err", err)
			return
		}
		m.run(ctx, s, conn, func(answer, rest []byte) error { return handoff.GiveBack(conn, s.Token, answer, rest) })
	}()
}

// turnAway has a client come back to the worker after this one, which may not open
// where its mail is by now.
func (m *mail) turnAway(s *handoff.Session) {
	defer s.Stream.Close()
	m.log.Info("worker ends: its mail is elsewhere by now", "session", s.ID, "user", s.User)
	notOpened(s.Stream, s)
}

// full gives the connection of one who has as many sessions as may be back to the
// login.
func (m *mail) full(log *slog.Logger, s *handoff.Session, back giveBack) {
	m.reports.Counts.Add(metrics.Refusals, 1, s.Listener, metrics.FullUser)
	log.Warn("login refused", "user", s.User, "reason", "too many sessions of this user")
	answer := fmt.Appendf(nil, "%s NO [LIMIT] Too many connections of this user.\r\n", s.Tag)
	if err := back(answer, nil); err != nil {
		log.Warn("connection not given back", "user", s.User, "err", err)
	}
}

func notOpened(w io.Writer, s *handoff.Session) {
	fmt.Fprintf(w, "%s NO [UNAVAILABLE] Your mail cannot be opened now (%s).\r\n* BYE Try again later.\r\n", s.Tag, s.ID)
}

// serve serves a session until the client leaves or ctx ends, or it gives the
// connection back.
func (m *mail) serve(ctx context.Context, s *handoff.Session, conn net.Conn, back giveBack) {
	m.begin()
	defer m.end()
	m.run(ctx, s, conn, back)
}

// giveBack gives a connection back to the login: see session.Params.Back.
type giveBack = func(answer, rest []byte) error

func (m *mail) begin() {
	m.busy.Add(1)
	m.mu.Lock()
	m.started++
	m.running++
	m.mu.Unlock()
}

func (m *mail) end() {
	m.mu.Lock()
	m.running--
	m.mu.Unlock()
	m.tellQuiet()
	m.busy.Done()
}

func (m *mail) tellQuiet() {
	m.mu.Lock()
	quiet, started := m.running == 0 && len(m.accounts) == 0, m.started
	m.mu.Unlock()
	if quiet && m.quiet != nil {
		m.quiet(started)
	}
}

func (m *mail) run(ctx context.Context, s *handoff.Session, conn net.Conn, back giveBack) {
	log := m.log.With(slog.String("session", s.ID), slog.Any("addr", s.Remote))
	defer func() {
		if r := recover(); r != nil {
			m.faulted(s)
			log.Error("session lost to a fault of ours", "user", s.User, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	defer conn.Close()
	if !m.seats.take(s) {
		m.full(log, s, back)
		return
	}
	defer m.seats.leave(s)
	entry, leave := m.live.enter(s)
	defer leave()
	defer entry.traced()()
	without, err := wire.Off(s.Without...)
	if err != nil { // settings are checked, and both processes are of one program
		log.Error("session not begun", "user", s.User, "err", err)
		return
	}
	a, err := m.acquire(ctx, s.Maildir, s.First)
	if err != nil {
		log.Error("mail not opened", "user", s.User, "maildir", s.Maildir, "err", err)
		notOpened(conn, s)
		return
	}
	stay := m.linger
	if s.Brief {
		stay = 0
	}
	defer m.release(s.Maildir, a, stay)
	a.owner.Store(&s.User)
	m.keep.Store(s.Keep)
	m.relaxed.Store(s.Relaxed)
	m.promise(a.store)
	// What cannot be relied on any more is opened anew, once its sessions have ended.
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(a.whole, func() { end(session.ErrBroken) })()
	ctx = context.WithValue(ctx, endOf{}, end)
	if err := setQuota(a.store, s.Quota); err != nil {
		log.Error("quota not set", "user", s.User, "maildir", s.Maildir, "err", err)
	}
	// It has logged its end, and the reason.
	err = session.Serve(ctx, conn, session.Params{
		Account:     a.store,
		User:        s.User,
		Others:      m.others(),
		Namespace:   s.Namespace,
		Server:      about(s),
		Log:         log,
		Without:     without,
		AnyName:     s.Listener == "", // asked for over the control socket
		MaySetQuota: s.Quota != nil && s.Quota.Set,
		Discard:     s.Discard,
		Outbox:      newOutbox(s.Outbox),
		Back:        back,
		Tag:         s.Tag,
		Monitor:     &entry.Monitor,
		Tap:         &entry.Tap,
		Removed:     m.removedBy(entry),
		Done:        m.doneBy(entry),
	})
	if errors.Is(err, session.ErrFault) {
		m.faulted(s)
	}
}

// faulted counts a session that a fault of ours has ended, and has auth remember where it
// came from.
func (m *mail) faulted(s *handoff.Session) {
	m.reports.Add(metrics.Faults, 1, "session")
	m.reports.faulted(fault{s.User, s.Remote})
}

// others are those with whom a user may share; nil if there is nobody.
func (m *mail) others() *store.Neighbours {
	if m.neighbours.Any() {
		return m.neighbours
	}
	return nil
}

// newOutbox is the way from a session to sendmail; nil if there is none.
func newOutbox(o *handoff.Outbox) *session.Outbox {
	if o == nil {
		return nil
	}
	return &session.Outbox{
		Mailbox: o.Mailbox, Header: o.Header, Multiple: o.Multiple,
		Send: func(ctx context.Context, message []byte) error {
			return outbox.Send(ctx, o.Socket, o.Sender, message)
		},
		Unsent: func(err error) bool {
			var refused outbox.Refused
			return errors.As(err, &refused)
		},
	}
}

// about gives the annotations of the server that everybody sees.
func about(s *handoff.Session) map[string]string {
	if s.Admin == "" && s.Comment == "" {
		return nil
	}
	return map[string]string{"/shared/admin": s.Admin, "/shared/comment": s.Comment}
}

// setQuota sets what a user may have. Limits that the user may set count only where
// there are none yet.
func setQuota(a *store.Account, q *handoff.Quota) error {
	if q == nil {
		return nil
	}
	if q.Set {
		if _, _, err := a.Quota(); !errors.Is(err, store.ErrNoQuota) {
			return err
		}
	}
	return a.SetQuota(store.Limits{Octets: q.Storage, Messages: q.Messages})
}

// endOf is the key of what ends the session that a context is of, with a cause.
type endOf struct{}

// lend gives a session the account of another user, and ends it if that fails, as it
// ends the owner's: it is opened anew when nobody has it any more.
func (m *mail) lend(ctx context.Context, maildir string) (*store.Account, func(), error) {
	a, err := m.acquire(ctx, maildir, nil)
	if err != nil {
		return nil, nil, err
	}
	m.promise(a.store)
	stop := func() bool { return true }
	if end, ok := ctx.Value(endOf{}).(context.CancelCauseFunc); ok {
		stop = context.AfterFunc(a.whole, func() { end(session.ErrBroken) })
	}
	return a.store, func() {
		stop()
		m.release(maildir, a, m.linger)
	}, nil
}

// promise has an account keep what sessions were told last.
func (m *mail) promise(a *store.Account) {
	a.SetKeep(time.Duration(m.keep.Load()) * time.Second)
	a.SetRelaxed(m.relaxed.Load())
}

// acquire opens the account, or joins those who have; release gives it back. Where
// there is no Maildir, one is made if first is given.
func (m *mail) acquire(ctx context.Context, maildir string, first *handoff.First) (*account, error) {
	for {
		a, joined, mine := m.join(maildir)
		if mine {
			m.open(a, maildir, first)
		}
		if !joined {
			select {
			case <-a.gone:
				continue // and open it anew
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		<-a.opened
		if a.err != nil {
			return nil, a.err
		}
		return a, nil
	}
}

// join finds the account, or makes it for the caller to open. It does not join
// one that is being closed, or will be since its store can do nothing more.
func (m *mail) join(maildir string) (a *account, joined, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a = m.accounts[maildir]
	if first = a == nil; first {
		a = &account{opened: make(chan struct{}), gone: make(chan struct{})}
		a.whole, a.fail = context.WithCancel(context.Background())
		m.accounts[maildir] = a
	}
	if a.closing || a.whole.Err() != nil {
		if a.idle != nil {
			a.idle.Reset(0)
		}
		return a, false, false
	}
	a.users++
	if a.idle != nil {
		a.idle.Stop()
		a.idle = nil
	}
	return a, true, first
}

// open opens the account for everyone who waits for it. One that cannot be
// opened is forgotten, so that the next session tries again.
func (m *mail) open(a *account, maildir string, first *handoff.First) {
	defer close(a.opened)
	defer func() {
		if a.store == nil {
			m.forget(maildir, a)
		}
	}()
	a.err = fmt.Errorf("open %s: interrupted", maildir) // what the others see of a panic
	if first != nil {
		var folders []store.FirstFolder
		for _, f := range first.Folders {
			folders = append(folders, store.FirstFolder(f))
		}
		if a.err = store.Make(context.Background(), maildir, folders); a.err != nil {
			return
		}
	}
	_, failed := m.failed.LoadAndDelete(maildir)
	a.store, a.err = store.Open(context.Background(), store.Options{
		Maildir: maildir,
		Log:     m.log,

		Background: m.background,
		Notifier:   m.notifier,
		Broken:     func() { m.failed.Store(maildir, true); a.fail() },
		Failed:     failed,
		Synced:     func(took time.Duration) { m.reports.Observe(metrics.Fsync, took) },
		Rebuilt:    func() { m.reports.Add(metrics.Rebuilds, 1) },
		Lost:       func(mailbox string, uids []imap.UID) { m.lost(a, mailbox, uids) },
	})
}

// release gives an account back, which stays open for a while if nobody else has it.
func (m *mail) release(maildir string, a *account, stay time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.whole.Err() != nil {
		stay = 0
	}
	if a.users--; a.users == 0 && m.accounts[maildir] == a && !a.closing {
		a.idle = time.AfterFunc(stay, func() { m.expire(maildir, a) })
	}
}

// expire closes an account that nobody has come back to, or waits until
// another has closed it. Whoever comes meanwhile opens it anew after that.
func (m *mail) expire(maildir string, a *account) {
	m.mu.Lock()
	if a.closing {
		m.mu.Unlock()
		<-a.gone
		return
	}
	if a.users > 0 || m.accounts[maildir] != a {
		m.mu.Unlock()
		return
	}
	a.closing = true
	m.mu.Unlock()
	m.closeStore(maildir, a)
	m.forget(maildir, a)
}

func (m *mail) closeStore(maildir string, a *account) {
	defer a.fail()
	if err := a.store.Close(); err != nil {
		m.log.Error("mail not closed in order", "maildir", maildir, "err", err)
	}
}

func (m *mail) forget(maildir string, a *account) {
	m.mu.Lock()
	delete(m.accounts, maildir)
	m.mu.Unlock()
	close(a.gone)
	m.tellQuiet()
}

// close waits for the sessions, whose context the caller has ended, and closes
// the accounts. Nothing is started any more.
func (m *mail) close() {
	m.busy.Wait()
	m.mu.Lock()
	open := maps.Clone(m.accounts)
	m.mu.Unlock()
	for maildir, a := range open {
		m.expire(maildir, a)
	}
	m.notifier.Close()
}
