// Package store is a user's mail: an Account over one Maildir tree, its
// Mailboxes, and the Views that sessions hold of them.
//
// The Maildir is the truth for which messages exist, their bytes and their
// system flags. The index (SQLite, in Maildir/mailstead) is the truth for UIDs,
// mod-sequences and keywords, and remembers dates and sizes. Opening a mailbox
// observes the Maildir, compares it with the index and applies the difference.
//
// Mailbox names here are UTF-8, levels parted by ".", without the namespace
// prefix; INBOX is "INBOX" in any case on input and in capitals on output.
//
// Sessions call this package. It builds on maildir, knows nothing of the wire,
// and must not import session or wire.
//
// Locks, in the order in which they are taken: Account.mu (which mailboxes there
// are), mailbox.mu (one mailbox; of two, the one with the lower order first),
// index.mu (the SQLite connection). textIndex.mu is taken with none of them held.
// None of them is held while a caller's code runs, and none while a sync is
// waited for that others could share, except where the order of two syncs
// matters. A View belongs to one goroutine.
package store

import (
	"errors"
	"log/slog"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
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
	ErrDisk     = errors.New("the disk cannot be used")
	ErrReadOnly = errors.New("mailbox is open read-only")
	ErrInUse    = errors.New("another process has the account open")
	ErrUse      = errors.New("mailbox cannot have this special use")
	ErrACL      = errors.New("list of rights cannot be so")

	ErrSubscriptions = errors.New("too many subscriptions")
)

// SeqNum is a message sequence number in one View, from 1.
type SeqNum uint32

// ModSeq is a mod-sequence (RFC 7162 §3.1), 63 bits.
type ModSeq uint64

// Options say where an account is.
type Options struct {
	Maildir string // absolute path of the top Maildir
	Log     *slog.Logger
	Courier bool // keep Courier's files from now on, even where Courier never was

	// Background is for the work that is not waited for, such as filling the
	// cache: as much goes on at once as it has room for, in all accounts that
	// have it. nil: there is no such work.
	Background chan struct{}

	// Notifier is that of the process; nil: the account has its own.
	Notifier *Notifier

	// Broken is called once the account answers nothing but errors any more, since
	// a sync has failed or the index is found damaged: it is to be closed and opened
	// anew. It must not call the account. nil: no one is told.
	Broken func()

	// Failed says that the account was open before until something was Broken. Where
	// nothing reaches the disk any more, what is there is then read, and no more, until
	// something does.
	Failed bool

	// Lost is told of the messages of a mailbox that another program has removed. It
	// is called with locks held, and must call nothing of the store. It may be nil.
	Lost func(mailbox string, uids []imap.UID)

	// Synced is told how long a sync took of what several commands may share, and
	// Rebuilt that a damaged index was put aside. Both may be nil.
	Synced  func(took time.Duration)
	Rebuilt func()

	ops       *maildir.Ops // what tests look through
	unwatched bool         // nothing happens unless it is asked for
	boot      string       // the run of the kernel; "": that of this machine
	anyFile   bool         // the index may be a copy of itself

	courierDelay time.Duration // of Courier's files; 0: the usual one
}

// Entry is one line of a mailbox list.
type Entry struct {
	Name       string
	Selectable bool // false: only subscribed, or only a parent of others
	Exists     bool // false: there is no directory of that name
	Subscribed bool
	Use        imap.MailboxAttr // special use (RFC 6154) or ""
}

// Status is what STATUS can ask for.
type Status struct {
	Messages      uint32
	Recent        uint32
	Unseen        uint32
	Deleted       uint32
	UIDNext       imap.UID
	UIDValidity   uint32
	HighestModSeq ModSeq
	Size          int64  // sum of RFC822.SIZE; only if asked for
	MailboxID     string // OBJECTID (RFC 8474 §4)
	DeletedSize   int64  // octets on disk of those with \Deleted; only if Size is asked for
}

// Message is what is known of a message without reading it.
type Message struct {
	UID          imap.UID
	ModSeq       ModSeq
	Flags        []imap.Flag // system flags, then keywords; shared: do not write to it
	InternalDate time.Time
	Recent       bool
}

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

// StoreOp is how STORE combines flags.
type StoreOp int

// The ways of STORE.
const (
	StoreSet StoreOp = iota
	StoreAdd
	StoreRemove
)

// CopyResult is COPYUID (RFC 4315 §3).
type CopyResult struct {
	UIDValidity uint32
	Source      []imap.UID
	Dest        []imap.UID // as many as Source, in the same order
}
