package wire

import "github.com/emersion/go-imap/v2"

func parseReplace(d *decoder) Command    { return d.replace(false) }
func parseUIDReplace(d *decoder) Command { return d.replace(true) }

// replace reads REPLACE (RFC 8508 §5) up to its message's octets.
func (d *decoder) replace(uid bool) Command {
	d.expectSP()
	c := &Replace{}
	if uid {
		n := imap.UID(d.expectNonZero32())
		c.Num = imap.UIDSet{{Start: n, Stop: n}}
	} else {
		d.bySeq = true
		n := wireNumber(d.expectSetNumber())
		c.Num = imap.SeqSet{{Start: n, Stop: n}}
	}
	c.Append = &Append{Mailbox: d.spMailbox(), single: true}
	d.leaveMessages(c.Append)
	return c
}
