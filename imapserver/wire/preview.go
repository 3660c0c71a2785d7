package wire

import "bytes"

// parsePreview reads what may follow PREVIEW (RFC 8970 §3.1). LAZY changes
// nothing: a preview is made while the answer is.
func parsePreview(d *decoder, name string) FetchItem {
	d.takeFold(" (LAZY)")
	return FetchItem{Kind: FetchPreview, Name: name}
}

// takeFold takes s, in capitals, if it comes next in any case. Parentheses may
// begin a list of modifiers too: as long as it is not clear what comes, nothing is
// taken, and never is there waited for an octet behind the end of the command.
func (d *decoder) takeFold(s string) bool {
	for n := 1; n <= len(s); n++ {
		if _, ok := d.peek(); !ok {
			return false
		}
		b, err := d.r.br.Peek(n)
		if err != nil {
			d.stop(midCommand(err))
			return false
		}
		if !bytes.EqualFold(b, []byte(s[:n])) {
			return false
		}
	}
	for range len(s) {
		d.skip()
	}
	return true
}
