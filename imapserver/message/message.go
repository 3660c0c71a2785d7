// Package message reads MIME messages (RFC 5322, RFC 2045): structure, envelope
// and sections, as IMAP shows them. Hostile input costs time and memory in
// proportion to its size: the limits are in limits.go.
package message

import "github.com/emersion/go-imap/v2"

// Message is a parsed message. It holds offsets into the octets that it was
// parsed from and shares them.
type Message struct{}

// Parse never fails: what is no proper MIME is text/plain. b is the whole
// message with CRLF line ends.
func Parse(b []byte) *Message { panic("todo") }

// AppendEnvelope adds the envelope in wire form (RFC 9051 §7.5.2): strings as
// they stand in the header, unfolded.
func (m *Message) AppendEnvelope(dst []byte) []byte { panic("todo") }

// AppendBodyStructure adds BODYSTRUCTURE, or BODY where extended is false.
func (m *Message) AppendBodyStructure(dst []byte, extended bool) []byte { panic("todo") }

// Section gives the octets of BODY[section], before <partial> is applied.
// ok is false where the message has no such part: the answer is then NIL... or
// the empty string for header fields.
func (m *Message) Section(s *imap.FetchItemBodySection) (b []byte, ok bool) { panic("todo") }
