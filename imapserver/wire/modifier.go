package wire

import (
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Modifier is a word of the list in parentheses that a command C may have: a
// modifier of FETCH or STORE, a parameter of SELECT, a result option of SEARCH
// (RFC 4466 §2).
type Modifier[C any] struct {
	Name  string
	RFC   int
	Cap   imap.Cap // the capability that brings it
	parse func(d *decoder, c C)
}

// FetchModifiers is every modifier of FETCH.
var FetchModifiers = []Modifier[*Fetch]{
	{"CHANGEDSINCE", 7162, imap.CapCondStore, func(d *decoder, c *Fetch) {
		d.expectSP()
		c.ChangedSince = d.expectNonZero(math.MaxInt64)
	}},
	{"PARTIAL", 9394, CapPartial, func(d *decoder, c *Fetch) { c.Partial = d.spPartial() }},
	{"VANISHED", 7162, imap.CapQResync, func(_ *decoder, c *Fetch) { c.Vanished = true }},
}

// StoreModifiers is every modifier of STORE.
var StoreModifiers = []Modifier[*Store]{
	{"UNCHANGEDSINCE", 7162, imap.CapCondStore, func(d *decoder, c *Store) {
		d.expectSP()
		n := d.expectNumber(math.MaxInt64)
		c.UnchangedSince = &n
	}},
}

// SelectParameters is every parameter of SELECT and EXAMINE.
var SelectParameters = []Modifier[*Select]{
	{"CONDSTORE", 7162, imap.CapCondStore, func(*decoder, *Select) {}},
	{"QRESYNC", 7162, imap.CapQResync, parseQResync},
}

// CreateParameters is every parameter of CREATE.
var CreateParameters = []Modifier[*Create]{
	{"USE", 6154, imap.CapCreateSpecialUse, func(d *decoder, c *Create) {
		d.expectSP()
		d.list(func() {
			d.expect('\\', "special use")
			c.Uses = append(c.Uses, imap.MailboxAttr(`\`+d.expectAtom("special use")))
		})
	}},
}

// modifiers reads the list of words and what follows each, of which there must
// be one.
func modifiers[C any](d *decoder, c C, rows []Modifier[C]) {
	if optionalModifiers(d, c, rows) == 0 {
		d.fail("modifier expected")
	}
}

// optionalModifiers reads the list of words and what follows each, and says how
// many there are; each word may be there once.
func optionalModifiers[C any](d *decoder, c C, rows []Modifier[C]) (n int) {
	seen := make([]bool, len(rows))
	d.list(func() {
		n++
		name := d.expectWord("modifier")
		for i, row := range rows {
			if row.Name == name && !seen[i] {
				seen[i] = true
				d.use(row.Cap)
				row.parse(d, c)
				return
			}
		}
		d.fail("unknown modifier, or one given twice")
	})
	return n
}

// QResync is the parameter QRESYNC of SELECT (RFC 7162 §3.2.5): what the client
// knows of the mailbox.
type QResync struct {
	UIDValidity uint32
	ModSeq      uint64      // as of then
	Known       imap.UIDSet // nil: all up to what was the last; without "*"
	// Seqs and UIDs are numbers of messages with their UIDs, of which there are
	// as many, ascending; nil where the client gave none.
	Seqs imap.SeqSet
	UIDs imap.UIDSet
}

func parseQResync(d *decoder, c *Select) {
	q := &QResync{}
	d.expectSP()
	d.expect('(', "list")
	q.UIDValidity = d.expectNonZero32()
	d.expectSP()
	q.ModSeq = d.expectNonZero(math.MaxInt64)
	if d.take(' ') {
		next, _ := d.peek()
		if next != '(' {
			q.Known = d.expectKnownUIDs()
		}
		if next == '(' || d.take(' ') {
			d.seqMatch(q)
		}
	}
	d.expect(')', "end of the list")
	c.QResync = q
}

// seqMatch reads the numbers of messages with their UIDs (RFC 7162 §3.2.5.2).
func (d *decoder) seqMatch(q *QResync) {
	d.expect('(', "list")
	q.Seqs = d.expectSeqSet()
	d.expectSP()
	q.UIDs = d.expectKnownUIDs()
	d.expect(')', "end of the list")
	seqs, uids := uint64(0), uint64(0)
	for _, r := range q.Seqs {
		if r.Stop == 0 {
			d.fail(`"*" is not possible here`)
			return
		}
		seqs += uint64(r.Stop-r.Start) + 1
	}
	for _, r := range q.UIDs {
		uids += uint64(r.Stop-r.Start) + 1
	}
	if seqs != uids {
		d.fail("as many numbers as UIDs expected")
	}
}

// expectKnownUIDs reads a set without "*".
func (d *decoder) expectKnownUIDs() imap.UIDSet {
	set := d.expectUIDSet()
	if len(set) > 0 && set[len(set)-1].Stop == 0 {
		d.fail(`"*" is not possible here`)
		return nil
	}
	return set
}

// parseModSeqKey reads MODSEQ (RFC 7162 §3.1.5). The entry and its type are
// passed over, since a message has one mod-sequence for all that is its.
func parseModSeqKey(d *decoder) SearchKey {
	d.expectSP()
	if entry, ok := d.takeQuoted(); ok {
		if !strings.HasPrefix(strings.ToLower(entry), "/flags/") {
			d.fail("unknown entry")
		}
		d.expectSP()
		switch d.expectWord("type of the entry") {
		case "PRIV", "SHARED", "ALL":
		default:
			d.fail("unknown type of the entry")
		}
		d.expectSP()
	}
	return SearchKey{Op: SearchModSeq, ModSeq: d.expectNumber(math.MaxInt64)}
}
