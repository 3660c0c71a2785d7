package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// systemFlags pairs the flags of a file name with those of IMAP, in the order
// in which they are shown.
var systemFlags = []struct {
	file maildir.Flags
	imap imap.Flag
}{
	{maildir.Replied, imap.FlagAnswered},
	{maildir.Flagged, imap.FlagFlagged},
	{maildir.Trashed, imap.FlagDeleted},
	{maildir.Seen, imap.FlagSeen},
	{maildir.Draft, imap.FlagDraft},
}

// Limits of keywords. Courier takes names of any length; clients use a handful.
const (
	maxKeywordLen  = 255
	maxMsgKeywords = 64
	maxBoxKeywords = 1000
)

// fewSets is how many flagsets a mailbox may have whatever its messages have.
const fewSets = 1000

// flagset is everything about a message that STORE can change: the suffix of
// its file name, which holds the system flags, and its keywords. There are few
// different ones in a mailbox, and each exists once, but for those that were forgotten
// meanwhile. Immutable.
type flagset struct {
	suffix   string        // ":2,FS", or "" for a file without one
	sys      maildir.Flags // as suffix says
	keywords string        // sorted, parted by spaces, in the mailbox's spelling
	flags    []imap.Flag   // both, as IMAP has them
}

// flagsets holds the flagsets of one mailbox and the spelling of its keywords.
// It has a lock of its own, the innermost of all.
type flagsets struct {
	mu       sync.Mutex
	sets     map[[2]string]*flagset
	spelling map[string]string // lower case to the spelling seen first
	last     *flagset
	most     int // sets beyond which it is looked which of them messages have
}

func newFlagsets() *flagsets {
	return &flagsets{sets: make(map[[2]string]*flagset), spelling: make(map[string]string)}
}

// get gives the one flagset of that suffix and those keywords, which are as
// canonical has given them.
func (t *flagsets) get(suffix, keywords string) *flagset {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.last; l != nil && l.suffix == suffix && l.keywords == keywords {
		return l
	}
	key := [2]string{suffix, keywords}
	fs := t.sets[key]
	if fs == nil {
		fs = &flagset{suffix: strings.Clone(suffix), sys: maildir.ParseFlags(suffix), keywords: strings.Clone(keywords)}
		for _, s := range systemFlags {
			if fs.sys&s.file != 0 {
				fs.flags = append(fs.flags, s.imap)
			}
		}
		for k := range strings.FieldsSeq(fs.keywords) {
			fs.flags = append(fs.flags, imap.Flag(k))
			t.spell(k)
		}
		fs.flags = slices.Clip(fs.flags)
		t.sets[[2]string{fs.suffix, fs.keywords}] = fs
	}
	t.last = fs
	return fs
}

// forget lets go of the flagsets that no message of a snapshot has, once there are many:
// clients may go through as many as they like.
func (t *flagsets) forget(s *snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sets) <= max(fewSets, t.most) {
		return
	}
	t.sets, t.last = make(map[[2]string]*flagset), nil
	s.all(func(r *record) bool {
		t.sets[[2]string{r.set.suffix, r.set.keywords}] = r.set
		return true
	})
	t.most = 2 * len(t.sets)
}

// spell gives the mailbox's spelling of a keyword; the first one seen wins.
func (t *flagsets) spell(k string) string {
	low := strings.ToLower(k)
	if s, ok := t.spelling[low]; ok {
		return s
	}
	t.spelling[low] = k
	return k
}

// canonical gives keywords as a flagset has them. It fails with ErrKeywords for
// what cannot be one, or is one too many for the mailbox.
func (t *flagsets) canonical(names []string) (string, error) {
	if len(names) == 0 {
		return "", nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh := make(map[string]bool)
	for _, n := range names {
		if err := checkKeyword(n); err != nil {
			return "", err
		}
		if low := strings.ToLower(n); t.spelling[low] == "" {
			fresh[low] = true
		}
	}
	if len(t.spelling)+len(fresh) > maxBoxKeywords {
		return "", fmt.Errorf("%w: the mailbox has %d already", ErrKeywords, len(t.spelling))
	}
	list := make([]string, 0, len(names))
	for _, n := range names {
		list = append(list, t.spell(n))
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) > maxMsgKeywords {
		return "", fmt.Errorf("%w: %d on one message", ErrKeywords, len(list))
	}
	return strings.Join(list, " "), nil
}

// known gives the keywords among names that the mailbox has, in its spelling.
func (t *flagsets) known(names []string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []string
	for _, n := range names {
		if s := t.spelling[strings.ToLower(n)]; s != "" {
			list = append(list, s)
		}
	}
	return list
}

// names gives every keyword seen in the mailbox, sorted.
func (t *flagsets) names() []imap.Flag {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := make([]imap.Flag, 0, len(t.spelling))
	for _, s := range t.spelling {
		names = append(names, imap.Flag(s))
	}
	slices.Sort(names)
	return names
}

// full tells whether there may be no other keyword.
func (t *flagsets) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.spelling) >= maxBoxKeywords
}

// checkKeyword holds a name to flag-keyword, an atom (RFC 9051 §9).
func checkKeyword(k string) error {
	if k == "" || len(k) > maxKeywordLen {
		return fmt.Errorf("%w: a name of %d bytes", ErrKeywords, len(k))
	}
	for i := range len(k) {
		if c := k[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return fmt.Errorf("%w: %q is no name of a keyword", ErrKeywords, k)
		}
	}
	return nil
}

// splitFlags parts IMAP flags into those of the file name and keywords. \Recent
// is left out, since no client can change it.
func splitFlags(flags []imap.Flag) (sys maildir.Flags, keywords []string) {
next:
	for _, f := range flags {
		for _, s := range systemFlags {
			if strings.EqualFold(string(f), string(s.imap)) {
				sys |= s.file
				continue next
			}
		}
		if strings.EqualFold(string(f), `\Recent`) {
			continue
		}
		keywords = append(keywords, string(f)) // canonical refuses a backslash
	}
	return sys, keywords
}
