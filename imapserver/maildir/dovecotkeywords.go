package maildir

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// DovecotKeywordsFile is where Dovecot keeps which keyword of a mailbox the
// letters a to z in the names of its message files stand for.
const DovecotKeywordsFile = "dovecot-keywords"

// DovecotKeywords are the keywords of the letters a to z; "" for none.
type DovecotKeywords [26]string

// ParseDovecotKeywords reads a dovecot-keywords file: lines "<index> <name>",
// where index 0 is the letter a. A mailbox may have more keywords than that;
// Dovecot's index alone knows those, and it is not read. Lines that are not so,
// or claim a letter for the second time, are counted in dropped.
func ParseDovecotKeywords(data []byte) (k DovecotKeywords, dropped int) {
	for line := range strings.Lines(string(data)) {
		index, name, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		i, err := strconv.ParseUint(index, 10, 31)
		switch {
		case err != nil || name == "":
			dropped++
		case i >= uint64(len(k)):
			// of no letter
		case k[i] != "":
			dropped++
		default:
			k[i] = name
		}
	}
	return k, dropped
}

// Of gives the keywords of the letters in the suffix of a file name, and how
// many letters there are that stand for none.
func (k *DovecotKeywords) Of(suffix string) (names []string, unknown int) {
	letters, _ := flagPart(suffix)
	for i := range len(letters) {
		c := letters[i]
		if c < 'a' || c > 'z' {
			continue
		}
		if name := k[c-'a']; name != "" {
			names = append(names, name)
		} else {
			unknown++
		}
	}
	return names, unknown
}

// Letters gives the letters of those of the keywords that have one.
func (k *DovecotKeywords) Letters(keywords []string) string {
	var letters []byte
	for i, name := range k {
		if name != "" && slices.Contains(keywords, name) {
			letters = append(letters, byte('a'+i))
		}
	}
	return string(letters)
}

// Encode is the inverse of ParseDovecotKeywords.
func (k *DovecotKeywords) Encode() []byte {
	var b bytes.Buffer
	for i, name := range k {
		if name != "" {
			fmt.Fprintf(&b, "%d %s\n", i, name)
		}
	}
	return b.Bytes()
}
