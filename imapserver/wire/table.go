package wire

import "github.com/emersion/go-imap/v2"

// State is a set of connection states (RFC 9051 §3).
type State uint8

// The states.
const (
	NotAuthenticated State = 1 << iota
	Authenticated
	Selected

	loggedIn = Authenticated | Selected
	anyState = NotAuthenticated | loggedIn
)

// CommandFlag says how a command gets along with untagged responses.
type CommandFlag uint8

// The flags.
const (
	// UsesSeq: the command speaks of messages by sequence number, so no EXPUNGE
	// may be sent before its tagged response (RFC 9051 §7.5.1).
	UsesSeq CommandFlag = 1 << iota
	// Scans: before the tagged response the mailbox is compared with the disk.
	Scans
	// NoPoll: no untagged updates are sent with this command.
	NoPoll
)

// CommandRow is a command.
type CommandRow struct {
	Name   string // in capitals; UID forms have rows of their own
	RFC    int
	Cap    imap.Cap // the capability that brings it; "" for the base
	States State
	Flags  CommandFlag
	parse  func(d *decoder) Command
}

// Commands is every command of the server.
var Commands = []CommandRow{}
