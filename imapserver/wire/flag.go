package wire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// FlagRecent is \Recent, which clients can neither set nor remove.
const FlagRecent imap.Flag = `\Recent`

// SystemFlags are the flags that a client may change (RFC 9051 §2.3.2).
var SystemFlags = []imap.Flag{imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagSeen, imap.FlagDraft}

// expectFlag reads a flag; "" is \Recent, which is passed over: clients hand
// back in STORE and APPEND what FETCH gave them.
func (d *decoder) expectFlag() imap.Flag {
	if !d.take('\\') {
		return imap.Flag(d.expectAtom("flag"))
	}
	name := `\` + d.expectAtom("flag")
	if strings.EqualFold(name, string(FlagRecent)) {
		return ""
	}
	for _, f := range SystemFlags {
		if strings.EqualFold(name, string(f)) {
			return f
		}
	}
	d.fail("unknown system flag")
	return ""
}

// expectFlags reads a list of flags, each given once.
func (d *decoder) expectFlags() []imap.Flag {
	flags := flagSet{}
	d.list(func() { flags.add(d.expectFlag()) })
	return flags.list
}

// expectStoreFlags reads the flags of STORE, which may lack the parentheses.
func (d *decoder) expectStoreFlags() []imap.Flag {
	if next, _ := d.peek(); next == '(' {
		return d.expectFlags()
	}
	flags := flagSet{}
	flags.add(d.expectFlag())
	for d.take(' ') {
		flags.add(d.expectFlag())
	}
	return flags.list
}

// flagSet is a list of flags without duplicates; case does not tell keywords
// apart.
type flagSet struct {
	list []imap.Flag
	seen map[string]bool
}

func (s *flagSet) add(f imap.Flag) {
	key := strings.ToLower(string(f))
	if f == "" || s.seen[key] {
		return
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[key] = true
	s.list = append(s.list, f)
}
