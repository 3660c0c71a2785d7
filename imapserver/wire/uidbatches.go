package wire

import "github.com/emersion/go-imap/v2"

// capUIDBatches is the capability of RFC 10022.
const capUIDBatches imap.Cap = "UIDBATCHES"

// codeClientBug is that of RFC 5530 §3.
const codeClientBug imap.ResponseCode = "CLIENTBUG"

// parseUIDBatches reads UIDBATCHES (RFC 10022 §3.1).
func parseUIDBatches(d *decoder) Command {
	d.expectSP()
	c := &UIDBatches{Size: d.expectNonZero32(), First: 1}
	if d.take(' ') {
		c.First = d.expectNonZero32()
		d.expect(':', "range of batches")
		c.Last = d.expectNonZero32()
		if c.Last < c.First {
			d.refuse(imap.StatusResponseTypeBad, codeClientBug, "the range of batches ends before it begins")
		}
	}
	return c
}
