package wire

import "github.com/emersion/go-imap/v2"

// capDeflate is the capability of RFC 4978.
const capDeflate imap.Cap = "COMPRESS=DEFLATE"

// parseCompress reads COMPRESS (RFC 4978 §5).
func parseCompress(d *decoder) Command {
	d.expectSP()
	if d.expectWord("algorithm") != "DEFLATE" {
		d.fail("DEFLATE expected")
	}
	return &Compress{}
}
