package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Courier keeps the rights to a mailbox in ACLFile in its directory. Those to a
// name that has no directory, a parent of others, are in the file of that name
// in ACLDir, in the top Maildir.
const (
	ACLFile = "courierimapacl"
	ACLDir  = "courierimaphieracl"
)

// MaxACL bounds an ACLFile, MaxIdentifier an identifier.
const (
	MaxACL        = 64 << 10
	MaxIdentifier = 255
)

// ErrIdentifier says that a list of rights cannot have that identifier.
var ErrIdentifier = errors.New("identifier cannot be used")

// The identifiers that stand for themselves. Others are IDUser or IDGroup and a
// name.
const (
	IDOwner  = "owner"
	IDAnyone = "anyone"
	IDUser   = "user="
	IDGroup  = "group="

	// idAdministrators is a group that Courier gives every right, always. It is
	// in every file and in no ACL.
	idAdministrators = "administrators"
)

// Grant is a line of an ACL: rights that an identifier has or, if it is
// negative, has not, whatever other lines give.
type Grant struct {
	ID       string // IDOwner, IDAnyone, or a name behind IDUser or IDGroup
	Negative bool
	Rights   Rights
}

// ACL is the rights to a mailbox, each identifier at most twice: once positive,
// once negative.
type ACL []Grant

// DefaultACL is that of a mailbox about which nothing is said.
func DefaultACL() ACL { return ACL{{ID: IDOwner, Rights: courierAll}} }

// CanonicalID gives the form in which an ACL has an identifier of a file.
func CanonicalID(id string) string {
	if id == "anonymous" {
		return IDAnyone
	}
	return id
}

// CheckID tells whether a file can have an identifier.
func CheckID(id string) error {
	switch {
	case id == "", len(id) > MaxIdentifier, id == IDUser, id == IDGroup:
		return fmt.Errorf("%w: its length is %d", ErrIdentifier, len(id))
	case !utf8.ValidString(id), id[0] == '-':
		return ErrIdentifier
	case id == idAdministrators, id == IDGroup+idAdministrators:
		return fmt.Errorf("%w: the administrators have every right", ErrIdentifier)
	}
	for _, r := range id {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return fmt.Errorf("%w: it has a space or a control character", ErrIdentifier)
		}
	}
	return nil
}

// ParseACL reads a file: lines of an identifier, a space and rights. A line
// whose identifier cannot be one is left out; no user could be meant.
func ParseACL(data []byte) ACL {
	var acl ACL
	type key struct {
		id       string
		negative bool
	}
	at := map[key]int{} // a file may be long
	for line := range strings.Lines(string(data)) {
		id, letters, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		id, negative := strings.CutPrefix(id, "-")
		id = CanonicalID(id)
		if CheckID(id) != nil {
			continue
		}
		i, twice := at[key{id, negative}]
		if !twice {
			i = len(acl)
			at[key{id, negative}] = i
			acl = append(acl, Grant{ID: id, Negative: negative})
		}
		acl[i].Rights |= ParseRights(letters)
	}
	return acl
}

// EncodeACL writes the file, in which the owner has what nobody can take away.
func EncodeACL(acl ACL) ([]byte, error) {
	acl = acl.With(IDOwner, false, acl.Of(IDOwner, false)|kept)
	if i := acl.index(IDOwner, true); i >= 0 {
		acl[i].Rights &^= kept
	}
	acl = acl.With(idAdministrators, false, courierAll)
	var b bytes.Buffer
	for _, g := range acl {
		if err := CheckID(g.ID); err != nil && g.ID != idAdministrators {
			return nil, fmt.Errorf("encode rights of %q: %w", g.ID, err)
		}
		if g.Negative {
			b.WriteByte('-')
		}
		b.WriteString(g.ID)
		b.WriteByte(' ')
		b.WriteString(courierRights(g.Rights))
		b.WriteByte('\n')
	}
	if b.Len() > MaxACL {
		return nil, fmt.Errorf("encode rights: %d octets, more than %d", b.Len(), MaxACL)
	}
	return b.Bytes(), nil
}

// Of gives the rights that the list has for an identifier.
func (a ACL) Of(id string, negative bool) Rights {
	if i := a.index(id, negative); i >= 0 {
		return a[i].Rights
	}
	return 0
}

// With gives a list in which the identifier has these rights.
func (a ACL) With(id string, negative bool, r Rights) ACL {
	out := append(make(ACL, 0, len(a)+1), a...)
	if i := a.index(id, negative); i >= 0 {
		out[i].Rights = r
		return out
	}
	return append(out, Grant{id, negative, r})
}

// Without gives a list without the identifier.
func (a ACL) Without(id string, negative bool) ACL {
	var out ACL
	for _, g := range a {
		if g.ID != id || g.Negative != negative {
			out = append(out, g)
		}
	}
	return out
}

func (a ACL) index(id string, negative bool) int {
	for i, g := range a {
		if g.ID == id && g.Negative == negative {
			return i
		}
	}
	return -1
}

// Rights gives what a user has: the rights of all lines for them, less those of
// all negative ones. Nobody is in a group: the project has none. The owner can
// always see the mailbox and change the list.
func (a ACL) Rights(user string, owner bool) Rights {
	var give, take Rights
	self := IDUser + user
	for _, g := range a {
		switch {
		case g.ID == IDAnyone, g.ID == self, owner && g.ID == IDOwner:
		default:
			continue
		}
		if g.Negative {
			take |= g.Rights
		} else {
			give |= g.Rights
		}
	}
	give &^= take
	if owner {
		give |= kept
	}
	return give
}
