package wire

import (
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
)

// SearchKey is one node of a parsed search program (RFC 9051 §6.4.4). Which of
// the fields are set depends on Op; the table of search keys says which.
type SearchKey struct {
	Op     SearchOp
	Text   string      // BODY, TEXT, SUBJECT, FROM, HEADER ...: the string sought, UTF-8
	Header string      // HEADER: the field's name
	Date   time.Time   // BEFORE, ON, SINCE, SENTBEFORE ...: midnight UTC of the day
	Size   int64       // LARGER, SMALLER: octets
	ModSeq uint64      // MODSEQ: the least that matches
	Flag   imap.Flag   // FLAG: a system flag or a keyword
	SeqSet imap.SeqSet // SEQ: message sequence numbers
	UIDSet imap.UIDSet // UID
	Keys   []SearchKey // AND, OR (two), NOT, FUZZY (one)
	// Interval is for OLDER and YOUNGER.
	Interval time.Duration
}

// SearchOp names the test that a SearchKey makes. Keys of the grammar that say
// the same thing share one: SEEN and UNSEEN are FLAG and NOT FLAG.
type SearchOp string

// The tests.
const (
	SearchAll        SearchOp = "ALL"
	SearchAnd        SearchOp = "AND"
	SearchOr         SearchOp = "OR"
	SearchNot        SearchOp = "NOT"
	SearchFlag       SearchOp = "FLAG"
	SearchRecent     SearchOp = "RECENT"
	SearchSeq        SearchOp = "SEQ"
	SearchUID        SearchOp = "UID"
	SearchBody       SearchOp = "BODY"
	SearchText       SearchOp = "TEXT"
	SearchHeader     SearchOp = "HEADER" // BCC, CC, FROM, SUBJECT and TO too
	SearchBefore     SearchOp = "BEFORE"
	SearchOn         SearchOp = "ON"
	SearchSince      SearchOp = "SINCE"
	SearchSentBefore SearchOp = "SENTBEFORE"
	SearchSentOn     SearchOp = "SENTON"
	SearchSentSince  SearchOp = "SENTSINCE"
	SearchLarger     SearchOp = "LARGER"
	SearchSmaller    SearchOp = "SMALLER"
	SearchFuzzy      SearchOp = "FUZZY"
	SearchOlder      SearchOp = "OLDER"
	SearchYounger    SearchOp = "YOUNGER"
	SearchSaved      SearchOp = "$" // what SEARCH RETURN (SAVE) has found
	SearchModSeq     SearchOp = "MODSEQ"

	SearchSavedBefore SearchOp = "SAVEDBEFORE"
	SearchSavedOn     SearchOp = "SAVEDON"
	SearchSavedSince  SearchOp = "SAVEDSINCE"
	SearchEmailID     SearchOp = "EMAILID" // Text is the identifier
)

// Uses tells whether a test is made by the key, or by one inside it.
func (k SearchKey) Uses(op SearchOp) bool {
	return k.Op == op || slices.ContainsFunc(k.Keys, func(inner SearchKey) bool { return inner.Uses(op) })
}
