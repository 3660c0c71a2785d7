package maildir

import (
	"math/bits"
	"strings"
)

// Rights is a set of rights to a mailbox (RFC 4314 §2.1), which go by letters
// and digits.
type Rights uint64

// The rights that have a meaning.
const (
	RightLookup  Rights = 1 << ('l' - 'a') // see that it is there
	RightRead    Rights = 1 << ('r' - 'a')
	RightSeen    Rights = 1 << ('s' - 'a') // change \Seen
	RightWrite   Rights = 1 << ('w' - 'a') // change other flags, but \Deleted
	RightInsert  Rights = 1 << ('i' - 'a') // add messages
	RightPost    Rights = 1 << ('p' - 'a') // nothing that IMAP does
	RightCreate  Rights = 1 << ('k' - 'a') // create mailboxes below it; Courier writes c
	RightDelete  Rights = 1 << ('x' - 'a') // delete it, or rename it
	RightDeleted Rights = 1 << ('t' - 'a') // change \Deleted
	RightExpunge Rights = 1 << ('e' - 'a')
	RightAdmin   Rights = 1 // a: read and change the list of rights

	AllRights = RightLookup | RightRead | RightSeen | RightWrite | RightInsert | RightPost | RightCreate | RightDelete | RightDeleted | RightExpunge | RightAdmin
)

// kept are the rights of the owner that no list takes away: without them, a
// list could not be set right again.
const kept = RightLookup | RightAdmin

// courierAll are the rights that Courier gives the owner and the administrators:
// posting is none that it knows.
const courierAll = AllRights &^ RightPost

// rightsOrder is how rights are written by convention, those without a meaning
// after them.
const rightsOrder = "lrwstipekxa0123456789bfghjmnoquvyz"

// rightOf gives the right of a letter or digit, 0 for any other octet.
func rightOf(c byte) Rights {
	switch {
	case 'a' <= c && c <= 'z':
		return 1 << (c - 'a')
	case '0' <= c && c <= '9':
		return 1 << (26 + c - '0')
	}
	return 0
}

// Has tells whether every right of need is in r.
func (r Rights) Has(need Rights) bool { return r&need == need }

// Any tells whether r has one of these rights.
func (r Rights) Any(of Rights) bool { return r&of != 0 }

// String gives the letters.
func (r Rights) String() string {
	var b strings.Builder
	b.Grow(bits.OnesCount64(uint64(r)))
	for i := range len(rightsOrder) {
		if r.Has(rightOf(rightsOrder[i])) {
			b.WriteByte(rightsOrder[i])
		}
	}
	return b.String()
}

// ParseRights reads letters and digits, as a file has them. What is neither
// cannot be a right, and is left out.
func ParseRights(s string) Rights {
	var r Rights
	for i := range len(s) {
		switch s[i] {
		case 'c': // Courier's, which keeps to RFC 2086 here
			r |= RightCreate
		case 'd': // older
			r |= RightDelete | RightDeleted | RightExpunge
		default:
			r |= rightOf(s[i])
		}
	}
	return r
}

// courierOrder is the order of octets.
const courierOrder = "0123456789abcdefghijlmnopqrstuvwxyz"

// courierRights writes rights as Courier does: sorted, c for k.
func courierRights(r Rights) string {
	if r.Has(RightCreate) {
		r = r&^RightCreate | rightOf('c')
	}
	var b strings.Builder
	for i := range len(courierOrder) {
		if r.Has(rightOf(courierOrder[i])) {
			b.WriteByte(courierOrder[i])
		}
	}
	return b.String()
}
