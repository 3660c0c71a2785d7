package wire

import "github.com/emersion/go-imap/v2"

// parseAppend reads APPEND up to its message (RFC 9051 §6.3.12, RFC 6855 §4).
func parseAppend(d *decoder) Command {
	c := &Append{Mailbox: d.spMailbox()}
	d.expectSP()
	if next, _ := d.peek(); next == '(' {
		c.Flags = d.expectFlags()
		d.expectSP()
	}
	if t, ok := d.takeDateTime(); ok {
		c.Date = t
		d.expectSP()
	}
	c.Message = d.expectMessage()
	return c
}

// expectMessage reads the announcement of a message and leaves the message.
func (d *decoder) expectMessage() *Literal {
	l := &Literal{r: d.r, d: d}
	if next, _ := d.peek(); next != '{' && d.takeWord() == "UTF8" {
		if !d.r.utf8 {
			d.fail("UTF8=ACCEPT is not enabled")
		}
		d.expectSP()
		d.expect('(', "message")
		d.expect('~', "message")
		l.utf8 = true
	}
	l.head = d.expectHead()
	if d.err != nil {
		return nil
	}
	if l.head.size > d.r.limits.Message {
		d.refuseLiteral(l.head, imap.StatusResponseTypeNo, "message too large")
		return nil
	}
	d.r.pending = l
	return l
}
