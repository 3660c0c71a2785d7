package maildir

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// OwnDir is the directory of our own files in a top Maildir. It does not start
// with a dot, because Courier lists every name that does as a mailbox.
const OwnDir = "mailstead"

// SpecialUseFile is the list of special-use mailboxes, in OwnDir.
const SpecialUseFile = "special-use"

// Uses are the special uses of RFC 6154 §2 that a mailbox on disk can have,
// without their backslash, in lower case.
var Uses = []string{"archive", "drafts", "junk", "sent", "trash"}

// SpecialUse says that a mailbox has a special use.
type SpecialUse struct {
	Use  string // one of Uses
	Name string // mailbox name, UTF-8, without prefix
}

// ParseSpecialUse reads a special-use file: lines of a use, a space and a
// mailbox name. Lines that are not so are left out.
func ParseSpecialUse(data []byte) []SpecialUse {
	var uses []SpecialUse
	for line := range strings.Lines(string(data)) {
		use, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		u := SpecialUse{Use: use, Name: name}
		if ok && u.check() == nil {
			uses = append(uses, u)
		}
	}
	return uses
}

// EncodeSpecialUse is the inverse of ParseSpecialUse.
func EncodeSpecialUse(uses []SpecialUse) ([]byte, error) {
	var b bytes.Buffer
	for _, u := range uses {
		if err := u.check(); err != nil {
			return nil, fmt.Errorf("encode special use: %w", err)
		}
		fmt.Fprintf(&b, "%s %s\n", u.Use, u.Name)
	}
	return b.Bytes(), nil
}

func (u SpecialUse) check() error {
	if !slices.Contains(Uses, u.Use) {
		return fmt.Errorf("use %q: not one of %s", u.Use, strings.Join(Uses, ", "))
	}
	_, err := EncodeName(u.Name, UTF8)
	return err
}
