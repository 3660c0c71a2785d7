// Package message reads MIME messages (RFC 5322, RFC 2045): structure, envelope
// and sections as IMAP shows them, and the text that SEARCH looks through. It
// owns the parser, which works on offsets into the message's octets. Hostile
// input costs time and memory in proportion to its size: limits.go has the
// bounds.
//
// Packages session and search call it. Of the project it imports wire alone,
// for the form of strings on the wire.
package message

// Message is a parsed message. It holds offsets into the octets that it was
// parsed from and shares them. Nothing changes it after Parse: many goroutines
// may read it.
type Message struct {
	raw  []byte
	root *entity
}

// Parse never fails: what is no proper MIME is text/plain. b is the whole
// message with CRLF line ends; a bare LF ends a line too.
func Parse(b []byte) *Message {
	p := parser{raw: b, headers: maxHeaders}
	root := p.newEntity(0)
	p.entity(root, textPlain)
	return &Message{raw: b, root: root}
}

// ParseHeader reads a message's header alone, of which b may be a part: its fields
// and what is made of them, and nothing of its structure.
func ParseHeader(b []byte) *Message {
	return &Message{raw: b, root: &entity{body: len(b), end: len(b), fieldsEnd: min(len(b), MaxHeader), media: textPlain}}
}

// entity is one MIME entity (RFC 2045 §2.4): the message, a part of a
// multipart, or the message inside a message/rfc822 part. Offsets count from
// the start of the message: the header, with its empty line, is [start, body),
// the body is [body, end).
type entity struct {
	start, body, end int
	fieldsEnd        int // fields are looked for in [start, fieldsEnd)
	lines            int // of the body
	depth            int
	media            mediaType
	kind             kind
	parts            []*entity // kindMultipart: its parts; kindMessage: the embedded message
}

// kind says how an entity's body is built.
type kind uint8

const (
	kindLeaf kind = iota
	kindMultipart
	kindMessage
)

// mediaType is type and subtype as written.
type mediaType struct{ typ, sub string }

var (
	textPlain     = mediaType{"text", "plain"}
	messageRFC822 = mediaType{"message", "rfc822"}
	octetStream   = mediaType{"application", "octet-stream"}
)

func (m *Message) header(e *entity) []byte { return m.raw[e.start:e.body] }
func (m *Message) body(e *entity) []byte   { return m.raw[e.body:e.end] }
func (m *Message) fields(e *entity) []byte { return m.raw[e.start:e.fieldsEnd] }
