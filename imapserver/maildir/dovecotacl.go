package maildir

import (
	"bytes"
	"fmt"
	"strings"
)

// DovecotACLFile is where Dovecot keeps the rights to a mailbox.
const DovecotACLFile = "dovecot-acl"

// ParseDovecotACL reads a dovecot-acl: lines of an identifier, a space and
// rights, and after " :" rights of Dovecot's own. "authenticated" is everyone
// who can log in. An identifier with a space is quoted; an ACL here can have
// none, nor groups that override users. Lines that cannot be taken over are
// counted in dropped. Of the owner nothing need be said to have every right.
func ParseDovecotACL(data []byte) (acl ACL, dropped int) {
	acl = DefaultACL()
	owner := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		id, letters, found := strings.Cut(line, " ")
		id, negative := strings.CutPrefix(id, "-")
		if id == "authenticated" {
			id = IDAnyone
		}
		known := id == IDOwner || id == IDAnyone || strings.HasPrefix(id, IDUser) || strings.HasPrefix(id, IDGroup)
		if !found || !known || CheckID(id) != nil {
			dropped++
			continue
		}
		letters, _, _ = strings.Cut(letters, ":")
		rights := ParseRights(letters)
		if id == IDOwner && !negative && !owner {
			owner = true // it says what the owner has, instead of everything
		} else {
			rights |= acl.Of(id, negative)
		}
		acl = acl.With(id, negative, rights)
	}
	return acl, dropped
}

// EncodeDovecotACL is the inverse of ParseDovecotACL. The owner who has everything may
// post, too: Dovecot's delivery asks for that.
func EncodeDovecotACL(acl ACL) []byte {
	var b bytes.Buffer
	for _, g := range acl {
		rights := g.Rights & AllRights
		switch {
		case rights == 0:
			continue
		case g.Negative:
			b.WriteByte('-')
		case g.ID == IDOwner && rights.Has(courierAll):
			rights = AllRights
		}
		fmt.Fprintf(&b, "%s %s\n", g.ID, rights)
	}
	return b.Bytes()
}
