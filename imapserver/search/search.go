// Package search evaluates SEARCH programs (RFC 9051 §6.4.4). It owns the exact
// meaning of the keys and the order in which they are tested: what is known
// without reading a message first, its text last. It is pure: package session
// compiles a program once and asks it about each message in turn. It reads
// messages by package message and must not import store or session.
package search

import (
	"context"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// Message is what is known of a message without reading it.
type Message struct {
	Seq          uint32 // message sequence number
	UID          imap.UID
	Flags        []imap.Flag // without \Recent
	Recent       bool
	InternalDate time.Time // in the zone in which INTERNALDATE shows it
}

// Source reads what a key needs beyond Message. Match calls each method at
// most once, and only if the answer hangs on it.
type Source interface {
	// Size is RFC822.SIZE, in octets.
	Size(ctx context.Context) (int64, error)
	// Raw is the whole message with CRLF line ends.
	Raw(ctx context.Context) ([]byte, error)
}

// Last is what "*" means in the sets of a program: the highest numbers in the
// mailbox, 0 where it is empty.
type Last struct {
	Seq uint32
	UID imap.UID
}

// Program is a compiled search. One goroutine at a time may use it.
type Program struct{}

// Compile makes a program of a parsed key. The key is not kept.
func Compile(key wire.SearchKey, last Last) *Program { panic("todo") }

// Match says whether the message meets the program. Errors come from src and
// from ctx alone.
func (p *Program) Match(ctx context.Context, m *Message, src Source) (bool, error) { panic("todo") }
