package wire

import (
	"slices"

	"github.com/emersion/go-imap/v2"
)

// SortKey names what SORT compares of messages.
type SortKey string

// The keys.
const (
	SortArrival     SortKey = "ARRIVAL"
	SortCc          SortKey = "CC"
	SortDate        SortKey = "DATE"
	SortDisplayFrom SortKey = "DISPLAYFROM"
	SortDisplayTo   SortKey = "DISPLAYTO"
	SortFrom        SortKey = "FROM"
	SortRelevancy   SortKey = "RELEVANCY"
	SortSize        SortKey = "SIZE"
	SortSubject     SortKey = "SUBJECT"
	SortTo          SortKey = "TO"
)

// SortCriterion is one criterion of SORT.
type SortCriterion struct {
	Key     SortKey
	Reverse bool
}

// SortRow is a sort key.
type SortRow struct {
	Key SortKey
	RFC int
	Cap imap.Cap // the capability that brings it
}

// SortKeys is every sort key.
var SortKeys = []SortRow{
	{SortArrival, 5256, imap.CapSort},
	{SortCc, 5256, imap.CapSort},
	{SortDate, 5256, imap.CapSort},
	{SortDisplayFrom, 5957, imap.CapSortDisplay},
	{SortDisplayTo, 5957, imap.CapSortDisplay},
	{SortFrom, 5256, imap.CapSort},
	{SortRelevancy, 6203, imap.CapSearchFuzzy},
	{SortSize, 5256, imap.CapSort},
	{SortSubject, 5256, imap.CapSort},
	{SortTo, 5256, imap.CapSort},
}

// ThreadRefs is the algorithm REFS: REFERENCES without a look at subjects
// (draft-ietf-morg-inthread).
const ThreadRefs imap.ThreadAlgorithm = "REFS"

// Capabilities that go-imap does not name: those of THREAD, one for each
// algorithm.
const (
	CapThreadOrderedSubject imap.Cap = "THREAD=ORDEREDSUBJECT"
	CapThreadReferences     imap.Cap = "THREAD=REFERENCES"
	CapThreadRefs           imap.Cap = "THREAD=REFS"
)

// ThreadRow is an algorithm of THREAD.
type ThreadRow struct {
	Algorithm imap.ThreadAlgorithm
	Cap       imap.Cap
}

// ThreadAlgorithms is every algorithm of THREAD.
var ThreadAlgorithms = []ThreadRow{
	{imap.ThreadOrderedSubject, CapThreadOrderedSubject},
	{imap.ThreadReferences, CapThreadReferences},
	{ThreadRefs, CapThreadRefs},
}

// Sort is SORT and UID SORT: a search whose answer has an order.
type Sort struct {
	Search
	By []SortCriterion
}

// Thread is THREAD and UID THREAD. Return is nil.
type Thread struct {
	Search
	Algorithm imap.ThreadAlgorithm
}

func parseSort(d *decoder) Command      { return d.sort(false) }
func parseUIDSort(d *decoder) Command   { return d.sort(true) }
func parseThread(d *decoder) Command    { return d.thread(false) }
func parseUIDThread(d *decoder) Command { return d.thread(true) }

// sort reads SORT (RFC 5256 §5, RFC 5267 §5).
func (d *decoder) sort(uid bool) Command {
	c := &Sort{Search: Search{UID: uid}}
	d.expectSP()
	if next, _ := d.peek(); next != '(' {
		if d.expectWord("criteria") != "RETURN" {
			d.fail("criteria expected")
		}
		d.use(imap.CapESort)
		c.Return = d.spSearchReturn()
	}
	d.list(func() { c.By = append(c.By, d.sortCriterion()) })
	if len(c.By) == 0 {
		d.fail("criterion expected")
	}
	d.spSortedSearch(&c.Search)
	if slices.ContainsFunc(c.By, func(k SortCriterion) bool { return k.Key == SortRelevancy }) && !c.Key.Uses(SearchFuzzy) { // RFC 6203 §6
		d.fail("RELEVANCY needs FUZZY")
	}
	return c
}

func (d *decoder) sortCriterion() (c SortCriterion) {
	word := d.expectWord("criterion")
	if word == "REVERSE" {
		c.Reverse = true
		d.expectSP()
		word = d.expectWord("criterion")
	}
	for _, row := range SortKeys {
		if string(row.Key) == word {
			d.use(row.Cap)
			c.Key = row.Key
			return c
		}
	}
	d.fail("unknown criterion")
	return c
}

// thread reads THREAD (RFC 5256 §5).
func (d *decoder) thread(uid bool) Command {
	c := &Thread{Search: Search{UID: uid}}
	d.expectSP()
	word := d.expectWord("algorithm")
	for _, row := range ThreadAlgorithms {
		if string(row.Algorithm) == word {
			d.use(row.Cap)
			c.Algorithm = row.Algorithm
		}
	}
	if c.Algorithm == "" {
		d.fail("unknown algorithm")
	}
	d.spSortedSearch(&c.Search)
	return c
}

// spSortedSearch reads " charset SP keys". The character set must be there, even
// where UTF8=ACCEPT takes that of SEARCH away.
func (d *decoder) spSortedSearch(c *Search) {
	d.expectSP()
	if name := d.expectAString("character set"); !isCharset(name) {
		d.badCharset()
	}
	d.expectSP()
	d.searchKeys(c, d.searchWord())
}
