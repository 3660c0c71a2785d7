package wire

import "strings"

// maxObjectID is the longest identifier in octets (RFC 8474 §7).
const maxObjectID = 255

// expectObjectID reads an identifier.
func (d *decoder) expectObjectID() string {
	d.expectSP()
	id := d.expectAtom("identifier")
	other := func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-'
	}
	if len(id) > maxObjectID || strings.ContainsFunc(id, other) {
		d.fail("identifier expected")
	}
	return id
}

func parseEmailID(d *decoder) SearchKey {
	return SearchKey{Op: SearchEmailID, Text: d.expectObjectID()}
}

// parseThreadID reads THREADID, which no message matches: threads have no
// identifiers here, and FETCH says NIL (RFC 8474 §5.2).
func parseThreadID(d *decoder) SearchKey {
	d.expectObjectID()
	return notKey(SearchKey{Op: SearchAll})
}
