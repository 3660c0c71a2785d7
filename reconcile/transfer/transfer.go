package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Mailbox is a mailbox of a source.
type Mailbox struct {
	Name       string   // the source's own, in UTF-8; what the source is asked for
	Levels     []string // of the name
	Ours       bool     // the name is one of this host's, and has no Levels
	Use        imap.MailboxAttr
	Subscribed bool
	Virtual    bool   // it shows messages of other mailboxes
	Validity   string // within which an ID means the same message
	Messages   int    // as far as the source tells before it is read
	Fault      string // why the source gives nothing of it; "": it does

	formerly func(Entry) string // an ID that earlier versions gave a message; "", or nil: none
}

// Entry is a message of a source without its octets.
type Entry struct {
	ID    string // within the mailbox and its Validity
	Flags string // parted by blanks, sorted; \Recent is left out
	Date  int64  // internal date, in seconds since 1970, or NoDate
	Size  int64  // octets as far as the source knows, which may be wrong; -1 if it does not

	at int // where the source finds it again
}

// NoDate is the date of a message whose source tells none: it gets that of its arrival here.
const NoDate = math.MinInt64

// Source is where the mail comes from. Those of one Opener are used at the same
// time, each from one goroutine.
type Source interface {
	Mailboxes(ctx context.Context) ([]Mailbox, error)
	// List calls each for the messages of a mailbox, in the order in which they came in.
	List(ctx context.Context, m Mailbox, each func(Entry)) error
	// Fetch calls take for each of the messages, in any order, with their octets as
	// the source has them. One that is gone meanwhile is left out.
	Fetch(ctx context.Context, m Mailbox, messages []Entry, take func(Entry, io.Reader) error) error
	Close() error
}

// Opener opens a source; each of several connections is one. An IMAP server may
// refuse to be asked by more at once.
type Opener func(ctx context.Context) (Source, error)

// ErrBusy says that a source would be asked again later.
var ErrBusy = errors.New("the source is busy")

// laterError is ErrBusy of a source that says when.
type laterError struct {
	error
	wait time.Duration // 0: it does not say
}

func (e laterError) Unwrap() error { return e.error }

// Options say what is brought.
type Options struct {
	Into    string   // the mailbox below which everything goes; "": mailboxes of the same name or use
	Include []string // names of mailboxes of the source, as path patterns with * and ?; none: all but those that are virtual
	Exclude []string
	// Optional is that Include may name what the source does not have.
	Optional bool
	DryRun   bool
	Flags    bool // flags that have changed at the source since a message was brought are changed here
}

// Progress is told of what happens, by several goroutines.
type Progress interface {
	// Total is what there is to do in all, as far as it is known by now.
	Total(messages int, octets int64)
	Mailbox(name, target string)
	Brought(messages int, octets int64)
	// Wait says that the source has asked for patience.
	Wait(d time.Duration, reason error)
}

// Report is what has been done to a mailbox.
type Report struct {
	Mailbox string    `json:"mailbox"`
	Target  string    `json:"target"`
	There   int       `json:"there"`             // messages of the source
	Size    int64     `json:"size"`              // octets of them, as far as they are known
	Before  int       `json:"before"`            // of them brought earlier
	Here    int       `json:"here,omitempty"`    // of these, found here, and in no note until now
	Brought int       `json:"brought"`           // now; of a dry run: to be brought
	Gone    int       `json:"gone,omitempty"`    // messages that have been removed at the source meanwhile
	Flags   int       `json:"flags"`             // messages whose flags were changed
	Left    []Refused `json:"refused,omitempty"` // messages that cannot be brought
	Cut     []Refused `json:"cut,omitempty"`     // messages that are here without some of their keywords, since there are too many
	Error   string    `json:"error,omitempty"`   // why it is not done
	Skipped string    `json:"skipped,omitempty"` // why nothing of it is brought

	BeforeIn string `json:"before_in,omitempty"` // where those in a note went, if that is known and is not Target
}

// Refused is a message that is not taken, whatever is done again.
type Refused struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// flagList is flags as an Entry has them: the system's, and keywords that are atoms
// (RFC 9051 §9). \Recent and what else a server or a file may say is left out, and of keywords
// what is beyond more than the daemon takes, and makes it refuse them.
func flagList(flags []imap.Flag) string {
	var out, words []string
	for _, f := range flags {
		i := slices.IndexFunc(systemFlags, func(s imap.Flag) bool { return strings.EqualFold(string(s), string(f)) })
		switch {
		case i >= 0:
			out = append(out, string(systemFlags[i]))
		case f != "" && !strings.ContainsFunc(string(f), notAtom):
			words = append(words, string(f[:min(len(f), maxKeyword+1)]))
		}
	}
	slices.Sort(words)
	words = slices.Compact(words)
	return joinSorted(append(out, words[:min(len(words), maxKeywords+1)]...))
}

func notAtom(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\\]`, r)
}

// systemFlags are those that have one spelling (RFC 9051 §2.3.2).
var systemFlags = []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft}

// Faults is the error of a run: what is missing of which mailbox.
func Faults(reports []Report) error {
	var errs []error
	for _, r := range reports {
		if r.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", r.Mailbox, r.Error))
		}
		if n := len(r.Left); n > 0 {
			errs = append(errs, fmt.Errorf("%s: %d messages were not taken, the first is %s: %s", r.Mailbox, n, r.Left[0].ID, r.Left[0].Reason))
		}
	}
	return errors.Join(errs...)
}
