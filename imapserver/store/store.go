// Package store is a user's mail: an Account over one Maildir tree, its
// Mailboxes, and the Views that sessions hold of them.
//
// Mailbox names here are UTF-8, levels parted by ".", without the namespace
// prefix; INBOX is "INBOX" in any case on input and in capitals on output.
package store

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/emersion/go-imap/v2"
)

// What a caller branches on. Every one of them may come wrapped.
var (
	ErrNotFound = errors.New("no such mailbox")
	ErrExists   = errors.New("mailbox exists already")
	ErrName     = errors.New("mailbox name cannot be used")
	ErrInbox    = errors.New("not possible with INBOX")
	ErrChildren = errors.New("mailbox has inferior names")
	ErrKeywords = errors.New("too many or too long keywords")
	ErrExpunged = errors.New("message has been expunged")
	ErrNoSpace  = errors.New("no space left")
	ErrReadOnly = errors.New("mailbox is open read-only")
)

// SeqNum is a message sequence number in one View, from 1.
type SeqNum uint32

// ModSeq is a mod-sequence (RFC 7162 §3.1), 63 bits.
type ModSeq uint64

// Options say where an account is.
type Options struct {
	Maildir string // absolute path of the top Maildir
	Log     *slog.Logger
}

// Account is one user's mail. Its methods may be called from many goroutines.
type Account struct{}

// Open opens the Maildir tree and its index, which it makes where missing.
// The Maildir itself must exist.
func Open(ctx context.Context, o Options) (*Account, error) { panic("todo") }

// Close ends every View and closes the index.
func (a *Account) Close() error { panic("todo") }

// Entry is one line of a mailbox list.
type Entry struct {
	Name       string
	Selectable bool // false: only subscribed, or only a parent of others
	Exists     bool // false: there is no directory of that name
	Subscribed bool
	Use        imap.MailboxAttr // special use (RFC 6154) or ""
}

// List gives every mailbox and every subscribed name, sorted with INBOX first.
// Names that exist only as parents of others are included (Exists false).
func (a *Account) List(ctx context.Context) ([]Entry, error) { panic("todo") }

// Create makes a mailbox. Missing parents are not made.
func (a *Account) Create(ctx context.Context, name string) error { panic("todo") }

// Delete removes a mailbox and its messages; its inferiors stay.
func (a *Account) Delete(ctx context.Context, name string) error { panic("todo") }

// Rename renames a mailbox and its inferiors; UIDs and UIDVALIDITY go along.
// Renaming INBOX moves its messages (RFC 9051 §6.3.6).
func (a *Account) Rename(ctx context.Context, from, to string) error { panic("todo") }

// Subscribe adds the name to the subscriptions, or removes it. The mailbox
// need not exist.
func (a *Account) Subscribe(ctx context.Context, name string, on bool) error { panic("todo") }

// Status is what STATUS can ask for.
type Status struct {
	Messages      uint32
	Recent        uint32
	Unseen        uint32
	Deleted       uint32
	UIDNext       imap.UID
	UIDValidity   uint32
	HighestModSeq ModSeq
	Size          int64 // sum of RFC822.SIZE; only if asked for
}

// Status answers STATUS; size asks for Status.Size, which may have to read messages.
func (a *Account) Status(ctx context.Context, name string, size bool) (Status, error) { panic("todo") }

// Draft is a message that is being received into tmp/.
type Draft struct{}

// NewDraft opens a file in the tmp of the named mailbox. It fails with
// ErrNotFound before a byte of the message is read.
func (a *Account) NewDraft(ctx context.Context, name string) (*Draft, error) { panic("todo") }

// Write adds octets as they come from the client (CRLF line ends).
func (d *Draft) Write(p []byte) (int, error) { panic("todo") }

// Abort removes the file. It does nothing after Commit.
func (d *Draft) Abort() { panic("todo") }

// Commit puts the message into the mailbox; once it returns, message, UID and
// flags survive a power cut. A zero date is now.
func (d *Draft) Commit(ctx context.Context, flags []imap.Flag, date time.Time) (uidValidity uint32, uid imap.UID, err error) {
	panic("todo")
}

var _ io.Writer = (*Draft)(nil)

// View is one session's view of a mailbox: the messages with their sequence
// numbers as this session has been told. It changes only in Poll. One
// goroutine owns a View; Wake alone may be used from another.
type View struct{}

// Select opens a mailbox: brings the index up to date with the Maildir and
// gives a View of it. recent is true for SELECT: this View takes the \Recent
// messages; a later one will not see them as recent.
func (a *Account) Select(ctx context.Context, name string, readOnly bool) (*View, error) {
	panic("todo")
}

// Close gives the view back.
func (v *View) Close() { panic("todo") }

// Name is the mailbox's name; UIDValidity, UIDNext and HighestModSeq are its
// counters as of the last Poll.
func (v *View) Name() string          { panic("todo") }
func (v *View) UIDValidity() uint32   { panic("todo") }
func (v *View) UIDNext() imap.UID     { panic("todo") }
func (v *View) HighestModSeq() ModSeq { panic("todo") }
func (v *View) ReadOnly() bool        { panic("todo") }
func (v *View) Len() int              { panic("todo") } // EXISTS
func (v *View) Recent() int           { panic("todo") } // RECENT
func (v *View) Keywords() []imap.Flag { panic("todo") } // keywords in use in the mailbox

// Message is what is known of a message without reading it.
type Message struct {
	UID          imap.UID
	ModSeq       ModSeq
	Flags        []imap.Flag // system flags, then keywords; shared: do not write to it
	InternalDate time.Time
	Recent       bool
}

// At gives message n, 1 <= n <= Len.
func (v *View) At(n SeqNum) Message { panic("todo") }

// UIDAt gives the UID of message n without making a Message.
func (v *View) UIDAt(n SeqNum) imap.UID { panic("todo") }

// Seq finds the sequence number of a UID. Where there is none, it gives the
// number of the next higher UID (Len+1 at the end) and false.
func (v *View) Seq(uid imap.UID) (SeqNum, bool) { panic("todo") }

// Size is the RFC822.SIZE of message n: octets with CRLF line ends. It is read
// from the message once and then kept.
func (v *View) Size(ctx context.Context, n SeqNum) (int64, error) { panic("todo") }

// Read gives message n whole, with CRLF line ends. ErrExpunged where another
// session has removed it.
func (v *View) Read(ctx context.Context, n SeqNum) ([]byte, error) { panic("todo") }

// Wake receives once after one or more changes that Poll has not yet told.
func (v *View) Wake() <-chan struct{} { panic("todo") }

// UpdateKind says what an Update tells.
type UpdateKind int

// The kinds.
const (
	UpdateExpunge UpdateKind = iota // message Seq is gone; higher numbers have moved down
	UpdateExists                    // Len is now Seq
	UpdateFlags                     // the flags of message Seq have changed
)

// Update is one thing that a session has to be told, in this order.
type Update struct {
	Kind UpdateKind
	Seq  SeqNum
	UID  imap.UID
	Own  bool // made by a Store of this very View
}

// Poll brings the view up to the mailbox's present state. Without expunge, it
// keeps expunged messages in place (RFC 9051 §7.5.1) and tells them later.
// scan asks for a look at the Maildir even if nothing woke us (NOOP, CHECK).
func (v *View) Poll(ctx context.Context, expunge, scan bool) ([]Update, error) { panic("todo") }

// StoreOp is how STORE combines flags.
type StoreOp int

// The ways of STORE.
const (
	StoreSet StoreOp = iota
	StoreAdd
	StoreRemove
)

// Store changes flags; \Recent is ignored. It returns once the change survives
// a power cut. The changes reach this view too in the next Poll, as Own.
func (v *View) Store(ctx context.Context, seqs []SeqNum, op StoreOp, flags []imap.Flag) error {
	panic("todo")
}

// Expunge removes the messages with \Deleted, of uids only those if it is not
// nil. It returns once that survives a power cut; Poll then tells it.
func (v *View) Expunge(ctx context.Context, uids imap.UIDSet) error { panic("todo") }

// CopyResult is COPYUID (RFC 4315 §3).
type CopyResult struct {
	UIDValidity uint32
	Source      []imap.UID
	Dest        []imap.UID // as many as Source, in the same order
}

// Copy copies messages by hard link, flags and dates included. All or none.
func (v *View) Copy(ctx context.Context, seqs []SeqNum, dest string) (CopyResult, error) {
	panic("todo")
}

// Move moves messages by rename; Poll then tells their expunge.
func (v *View) Move(ctx context.Context, seqs []SeqNum, dest string) (CopyResult, error) {
	panic("todo")
}
