package wire

import (
	"strings"
	"unicode/utf8"
)

// The commands about rights (RFC 4314 §3). Identifiers are as the client wrote
// them.
type (
	// GetACL is GETACL.
	GetACL struct{ Mailbox string }
	// MyRights is MYRIGHTS.
	MyRights struct{ Mailbox string }
	// ListRights is LISTRIGHTS.
	ListRights struct{ Mailbox, Identifier string }
	// DeleteACL is DELETEACL.
	DeleteACL struct{ Mailbox, Identifier string }
	// SetACL is SETACL. Rights are of StandardRights: those of RFC 2086 that
	// stand for several are resolved.
	SetACL struct {
		Mailbox, Identifier string
		Op                  StoreOp
		Rights              string
	}
)

// StandardRights are the rights that a client may give (RFC 4314 §2.1).
const StandardRights = "lrwstipekxa"

// obsolete are the rights of RFC 2086 that stand for others (RFC 4314 §2.1.1).
// CREATE and DELETE of mailboxes are c and d as Courier has them.
var obsolete = map[byte]string{'c': "k", 'd': "tex"}

// ObsoleteRights are those.
const ObsoleteRights = "cd"

// AppendRights adds rights, with those of RFC 2086 that stand for one of them.
func AppendRights(dst []byte, rights string) []byte {
	for _, c := range []byte(ObsoleteRights) {
		if strings.ContainsAny(rights, obsolete[c]) {
			rights += string(c)
		}
	}
	return appendAString(dst, rights)
}

func parseGetACL(d *decoder) Command   { return &GetACL{d.spMailbox()} }
func parseMyRights(d *decoder) Command { return &MyRights{d.spMailbox()} }

func parseListRights(d *decoder) Command {
	return &ListRights{d.spMailbox(), d.spIdentifier()}
}

func parseDeleteACL(d *decoder) Command {
	return &DeleteACL{d.spMailbox(), d.spIdentifier()}
}

// parseSetACL reads SETACL (RFC 4314 §3.1).
func parseSetACL(d *decoder) Command {
	c := &SetACL{Mailbox: d.spMailbox(), Identifier: d.spIdentifier()}
	d.expectSP()
	s := d.expectAString("rights")
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		c.Op, s = StoreAdd, rest
	} else if rest, ok := strings.CutPrefix(s, "-"); ok {
		c.Op, s = StoreRemove, rest
	}
	for i := range len(s) {
		right := s[i : i+1]
		if many, ok := obsolete[s[i]]; ok {
			right = many
		} else if !strings.Contains(StandardRights, right) {
			d.fail("unknown right")
			break
		}
		if !strings.Contains(c.Rights, right) {
			c.Rights += right
		}
	}
	return c
}

// spIdentifier reads the name of a user, or of who else has rights.
func (d *decoder) spIdentifier() string {
	d.expectSP()
	s := d.expectAString("identifier")
	if !utf8.ValidString(s) {
		d.fail("identifier is not valid UTF-8")
	}
	return s
}
