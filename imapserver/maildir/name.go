package maildir

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Encoding is how the directory names of a tree spell mailbox names.
type Encoding int

// Courier has UTF-8 from its release 5.0 on; older ones, and Dovecot unless it
// is told otherwise, have modified UTF-7 (RFC 3501 §5.1.3). The same bytes mean
// different names in the two.
const (
	UTF8 Encoding = iota
	ModifiedUTF7
)

func (e Encoding) String() string {
	if e == ModifiedUTF7 {
		return "modified UTF-7"
	}
	return "UTF-8"
}

// Inbox is the name of the mailbox that the top Maildir itself is.
const Inbox = "INBOX"

// inboxDir is the directory of INBOX, relative to the top Maildir.
const inboxDir = "."

// maxDirName is the longest directory name that file systems take.
const maxDirName = 255

// EncodeName gives the directory, relative to the top Maildir, of the mailbox
// with that name: UTF-8, levels parted by ".", without a namespace prefix.
// INBOX, in any case, is ".". A name is refused where its directory would be
// another one's, could not exist, or would lie outside of the tree.
func EncodeName(name string, enc Encoding) (dir string, err error) {
	if strings.EqualFold(name, Inbox) {
		return inboxDir, nil
	}
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("mailbox name %q: %w", name, err)
	}
	if enc == ModifiedUTF7 {
		dir = "." + EncodeUTF7(name)
	} else {
		dir = "." + name
	}
	if len(dir) > maxDirName {
		return "", fmt.Errorf("mailbox name %.40q...: longer on disk than %d bytes", name, maxDirName)
	}
	return dir, nil
}

// DecodeName gives the mailbox name of a directory of the top Maildir. It is
// the inverse of EncodeName, and refuses all that EncodeName cannot give.
func DecodeName(dir string, enc Encoding) (name string, err error) {
	if dir == inboxDir {
		return Inbox, nil
	}
	name, dotted := strings.CutPrefix(dir, ".")
	if !dotted {
		return "", fmt.Errorf("directory name %q: does not start with a dot", dir)
	}
	if len(dir) > maxDirName {
		return "", fmt.Errorf("directory name %.40q...: longer than %d bytes", dir, maxDirName)
	}
	if enc == ModifiedUTF7 {
		if name, err = DecodeUTF7(name); err != nil {
			return "", fmt.Errorf("directory name %q: %w", dir, err)
		}
	}
	if strings.EqualFold(name, Inbox) {
		return "", fmt.Errorf("directory name %q: INBOX is the Maildir itself", dir)
	}
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("directory name %q: %w", dir, err)
	}
	return name, nil
}

var (
	errEmptyLevel = errors.New("a level is empty")
	errSlash      = errors.New("it has a slash")
	errControl    = errors.New("it has a control character")
	errNotUTF8    = errors.New("it is not valid UTF-8")
)

// checkName holds the rules that do not depend on the encoding.
func checkName(name string) error {
	if !utf8.ValidString(name) {
		return errNotUTF8
	}
	if name == "" || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return errEmptyLevel
	}
	for _, r := range name {
		switch {
		case r == '/':
			return errSlash
		case unicode.IsControl(r), r == '\u2028', r == '\u2029': // RFC 5198 §2, RFC 9051 §5.1
			return errControl
		}
	}
	return nil
}

// DetectEncoding tells from the directory names of a Maildir how they are
// encoded. A tree is taken for modified UTF-7 only if every name can be, and
// one of them has an encoded run; a new tree is UTF-8.
func DetectEncoding(dirs []string) Encoding {
	enc := UTF8
	for _, dir := range dirs {
		if dir == inboxDir || !strings.HasPrefix(dir, ".") {
			continue
		}
		if _, err := DecodeName(dir, ModifiedUTF7); err != nil {
			if _, err := DecodeName(dir, UTF8); err == nil {
				return UTF8
			}
			continue // a mailbox in neither
		}
		if strings.Contains(dir, "&") {
			enc = ModifiedUTF7
		}
	}
	return enc
}
