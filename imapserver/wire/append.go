package wire

import (
	"io"
	"time"

	"github.com/emersion/go-imap/v2"
)

// AppendMessage is a message of APPEND, in parts that make it up one after the
// other: one literal, or those of CATENATE (RFC 4469).
type AppendMessage struct {
	Flags []imap.Flag
	Date  time.Time // zero: not given
	// Gathered says that its octets may not be text: a literal8, or CATENATE.
	Gathered bool

	a        *Append
	catenate bool // "CATENATE (" has been read: more parts may follow
	text     int64
	parts    int
	ready    *AppendPart // has been read, and not been given
}

// AppendPart is a part of a message: an IMAP URL, or a literal.
type AppendPart struct {
	URL  string
	Text *Literal // nil: it is a URL
}

// parseAppend reads APPEND up to its first message's octets (RFC 9051 §6.3.12).
func parseAppend(d *decoder) Command {
	c := &Append{Mailbox: d.spMailbox()}
	d.leaveMessages(c)
	return c
}

// leaveMessages reads up to the octets of the first message, and leaves the
// rest to Append.Next.
func (d *decoder) leaveMessages(c *Append) {
	c.d = d
	d.expectSP()
	c.First = c.message()
	if d.err == nil {
		d.r.pending = c
	}
}

// message reads a message up to the octets of its first part.
func (c *Append) message() *AppendMessage {
	d := c.d
	m := &AppendMessage{a: c}
	if c.messages++; c.messages > d.r.limits.Items {
		d.fail("too many messages")
	}
	if next, _ := d.peek(); next == '(' {
		m.Flags = d.expectFlags()
		d.expectSP()
	}
	if t, ok := d.takeDateTime(); ok {
		m.Date = t
		d.expectSP()
	}
	switch next, _ := d.peek(); next {
	case '{', '~':
		m.Gathered = next == '~'
		m.ready = &AppendPart{Text: m.literal()}
		return m
	}
	switch d.expectWord("message") {
	case "UTF8":
		m.ready = m.utf8()
	case "CATENATE":
		d.use(imap.CapCatenate)
		d.expectSP()
		d.expect('(', "parts of the message")
		m.catenate, m.Gathered = true, true
		m.ready = m.part()
	default:
		d.fail("message expected")
	}
	return m
}

// part reads a part of CATENATE (RFC 4469 §5) up to the octets of a literal.
func (m *AppendMessage) part() *AppendPart {
	d := m.a.d
	if m.parts++; m.parts > d.r.limits.Items {
		d.fail("too many parts")
	}
	switch d.expectWord("part of the message") {
	case "URL":
		d.expectSP()
		return &AppendPart{URL: d.expectAString("URL")}
	case "TEXT":
		d.expectSP()
		return &AppendPart{Text: m.literal()}
	case "UTF8":
		return m.utf8()
	}
	d.fail("URL or TEXT expected")
	return nil
}

// utf8 reads what follows the word UTF8 (RFC 6855 §4).
func (m *AppendMessage) utf8() *AppendPart {
	d := m.a.d
	if !d.r.utf8 {
		d.fail("UTF8=ACCEPT is not enabled")
	}
	d.expectSP()
	d.expect('(', "message")
	d.expect('~', "message")
	l := m.literal()
	if l != nil {
		l.closing = true
	}
	return &AppendPart{Text: l}
}

// literal reads the announcement of a literal or literal8 of the message.
func (m *AppendMessage) literal() *Literal {
	d := m.a.d
	l := &Literal{r: d.r}
	if d.take('~') {
		d.use(imap.CapBinary)
	}
	l.head = d.expectHead()
	d.line = 0 // another one begins after the literal
	if d.err != nil {
		return nil
	}
	if l.head.size > d.r.limits.Message-m.text {
		d.refuseLiteral(l.head, imap.StatusResponseTypeNo, "message too large")
		return nil
	}
	m.text += l.head.size
	m.a.literal = l
	return l
}

// Part gives the next part of the message, nil at its end. The part before must
// have been read to its end. The errors are those of ReadCommand; after one,
// the command is at its end.
func (m *AppendMessage) Part() (*AppendPart, error) {
	d := m.a.d
	if p := m.ready; p != nil {
		m.ready = nil
		return p, nil
	}
	if l := m.a.literal; l != nil {
		m.a.literal = nil
		if l.closing {
			d.expect(')', "end of the message")
		}
	}
	var p *AppendPart
	if m.catenate {
		if d.take(' ') {
			p = m.part()
		} else {
			d.expect(')', "end of the message")
			m.catenate = false
		}
	}
	if d.err != nil {
		return nil, m.a.fail()
	}
	return p, nil
}

// Next gives the next message (RFC 3502), nil at the end of the command. The
// one before must have been read to its end. The errors are those of Part.
func (c *Append) Next() (*AppendMessage, error) {
	if c.single || !c.d.take(' ') {
		c.d.expectCRLF()
		if c.d.err != nil {
			return nil, c.fail()
		}
		c.d.r.pending = nil
		return nil, nil
	}
	c.d.use(imap.CapMultiAppend)
	m := c.message()
	if c.d.err != nil {
		return nil, c.fail()
	}
	return m, nil
}

// Uses is the capabilities that what has been read of the command makes use of.
func (c *Append) Uses() []imap.Cap { return c.d.uses }

// fail ends a command that cannot be read on.
func (c *Append) fail() error {
	c.d.r.pending = nil
	return c.d.recover()
}

// Close leaves the rest of a command that is refused: it drops what the client
// will send of it.
func (c *Append) Close() error {
	d := c.d
	if d.r.pending != c {
		return nil
	}
	d.r.pending = nil
	switch l := c.literal; {
	case l == nil:
	case l.accepted:
		if _, err := io.CopyN(io.Discard, l.r.br, l.left); err != nil {
			return midCommand(err)
		}
	case l.head.sync:
		return nil
	default:
		if err := d.drop(l.head.size); err != nil {
			return err
		}
	}
	return d.skipRest()
}
