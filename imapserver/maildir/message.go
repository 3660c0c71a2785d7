package maildir

import (
	"bytes"
	"cmp"
	"strings"
)

// Flags are the five flags that the name of a message file carries.
type Flags uint8

// The flags, in the order in which their letters stand in a name.
const (
	Draft   Flags = 1 << iota // D
	Flagged                   // F
	Replied                   // R, \Answered
	Seen                      // S
	Trashed                   // T, \Deleted
)

// flagLetters has the letter of flag 1<<i at i.
const flagLetters = "DFRST"

// SplitName parts the name of a message file into its base, which never
// changes and which UIDs go by, and its suffix: ":" and what follows, or "".
// A base may itself have colons; the suffix begins at the last one.
func SplitName(name string) (base, suffix string) {
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return name[:i], name[i:]
	}
	return name, ""
}

// SplitNameBytes is SplitName for a name in a Listing.
func SplitNameBytes(name []byte) (base, suffix []byte) {
	if i := bytes.LastIndexByte(name, ':'); i >= 0 {
		return name[:i], name[i:]
	}
	return name, nil
}

// infoPrefix starts a suffix whose letters are flags. Others (":1,", ":foo")
// have none.
const infoPrefix = ":2,"

// ParseFlags gives the flags of a suffix. Letters beyond the five mean nothing
// here, nor does what follows a second comma.
func ParseFlags(suffix string) Flags {
	letters, _ := flagPart(suffix)
	var f Flags
	for i := range len(letters) {
		if n := strings.IndexByte(flagLetters, letters[i]); n >= 0 {
			f |= 1 << n
		}
	}
	return f
}

// WithFlags gives the suffix that differs from the old one in the five flags
// only: letters of others (P, Dovecot's a to z) and what follows a second comma
// stay. A suffix that is not of the form ":2," is replaced, as by Courier.
func WithFlags(suffix string, f Flags) string {
	letters, rest := flagPart(suffix)
	var b strings.Builder
	b.WriteString(infoPrefix)
	n := 0
	own := func(below byte) {
		for ; n < len(flagLetters) && flagLetters[n] < below; n++ {
			if f&(1<<n) != 0 {
				b.WriteByte(flagLetters[n])
			}
		}
	}
	for i := range len(letters) {
		if strings.IndexByte(flagLetters, letters[i]) < 0 {
			own(letters[i])
			b.WriteByte(letters[i])
		}
	}
	own(0xff)
	b.WriteString(rest)
	return b.String()
}

// WithLetters gives the suffix with these of Dovecot's letters, in their order, in
// place of those that it has.
func WithLetters(suffix, letters string) string {
	flags, rest := flagPart(suffix)
	others := make([]byte, 0, len(flags)+len(letters))
	for i := range len(flags) {
		if c := flags[i]; c < 'a' || c > 'z' {
			others = append(others, c)
		}
	}
	all := string(append(others, letters...))
	if all == flags {
		return suffix
	}
	return infoPrefix + all + rest
}

func flagPart(suffix string) (letters, rest string) {
	s, ok := strings.CutPrefix(suffix, infoPrefix)
	if !ok {
		return "", ""
	}
	if i := strings.IndexByte(s, ','); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// Key is the place of a message among those that have no UID yet.
type Key struct {
	number int64
	base   string
}

// SortKey gives the key of a base name. Keys are in the order in which Courier
// gives UIDs: by the number at the start of the base name, then by its bytes up
// to a colon. Deviation: Courier takes numbers that differ by a multiple of 2^32
// for the same, which makes its order no order.
func SortKey(base string) Key { return Key{leadingNumber(base), base} }

// Compare gives -1, 0 or 1.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.number, o.number); c != 0 {
		return c
	}
	a, _, _ := strings.Cut(k.base, ":")
	b, _, _ := strings.Cut(o.base, ":")
	if c := cmp.Compare(a, b); c != 0 {
		return c
	}
	return cmp.Compare(k.base, o.base)
}

// leadingNumber reads as C's atol does: blanks, a sign, digits.
func leadingNumber(s string) int64 {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	neg := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	var n int64
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		d := int64(s[i] - '0')
		if n > (1<<63-1-d)/10 {
			n = 1<<63 - 1
			break
		}
		n = n*10 + d
	}
	if neg {
		return -n
	}
	return n
}
