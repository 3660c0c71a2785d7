package wire

import "github.com/emersion/go-imap/v2"

// Capabilities that go-imap does not name.
const (
	CapContextSearch imap.Cap = "CONTEXT=SEARCH" // RFC 5267
	CapPartial       imap.Cap = "PARTIAL"        // RFC 9394
	CapI18NLevel1    imap.Cap = "I18NLEVEL=1"    // RFC 5255: strings are compared by i;unicode-casemap
)

// SearchReturn is the result options of SEARCH and SORT (RFC 4731 §3.1, RFC
// 5267 §3).
type SearchReturn struct {
	Min, Max, All, Count bool
	Partial              *PartialRange // nil: not asked for
	Relevancy            bool          // with each message of ALL or PARTIAL, how well it matches
	Save                 bool          // keep what is found for "$"
	Update               bool          // tell what comes and goes
	Fetch                []FetchItem   // and this of a new message that comes (RFC 5465 §7)
}

// Results tells whether an option asks for an answer. SAVE, CONTEXT and UPDATE
// do not.
func (r *SearchReturn) Results() bool {
	return r.Min || r.Max || r.All || r.Count || r.Partial != nil || r.Relevancy
}

// PartialRange is a range of results, of which the first is 1 (RFC 9394 §3.1).
// The bounds are in the order in which they were given.
type PartialRange struct {
	From, To uint32
	Backward bool // they count from the last result
}

// Bounds gives the lower and the higher bound.
func (p *PartialRange) Bounds() (low, high uint32) { return min(p.From, p.To), max(p.From, p.To) }

// SearchReturns is every result option.
var SearchReturns = []Modifier[*SearchReturn]{
	{"ALL", 4731, imap.CapESearch, func(_ *decoder, r *SearchReturn) { r.All = true }},
	{"CONTEXT", 5267, CapContextSearch, func(*decoder, *SearchReturn) {}}, // a hint
	{"COUNT", 4731, imap.CapESearch, func(_ *decoder, r *SearchReturn) { r.Count = true }},
	{"MAX", 4731, imap.CapESearch, func(_ *decoder, r *SearchReturn) { r.Max = true }},
	{"MIN", 4731, imap.CapESearch, func(_ *decoder, r *SearchReturn) { r.Min = true }},
	{"PARTIAL", 9394, CapPartial, func(d *decoder, r *SearchReturn) { r.Partial = d.spPartial() }},
	{"RELEVANCY", 6203, imap.CapSearchFuzzy, func(_ *decoder, r *SearchReturn) { r.Relevancy = true }},
	{"SAVE", 5182, imap.CapSearchRes, func(_ *decoder, r *SearchReturn) { r.Save = true }},
	{"UPDATE", 5267, CapContextSearch, parseUpdate},
}

// spSearchReturn reads result options, which spaces part from what stands
// before and after them.
func (d *decoder) spSearchReturn() *SearchReturn {
	r := &SearchReturn{}
	d.expectSP()
	if optionalModifiers(d, r, SearchReturns) == 0 { // RFC 4731 §3.1
		r.All = true
	}
	if r.All && r.Partial != nil { // RFC 9394 §3.1
		d.fail("ALL and PARTIAL together are not possible")
	}
	d.expectSP()
	return r
}

// parseUpdate reads what may follow UPDATE where there is NOTIFY: items of FETCH, after a
// space (the example of RFC 5465 §7) or without one (its §8).
func parseUpdate(d *decoder, r *SearchReturn) {
	r.Update = true
	if next, _ := d.r.br.Peek(2); d.err == nil && string(next) == " (" {
		d.expectSP()
	}
	if next, _ := d.peek(); next != '(' {
		return
	}
	d.use(imap.CapNotify)
	d.list(func() { r.Fetch = AddItems(r.Fetch, d.expectFetchItem(false)) })
	if len(r.Fetch) == 0 {
		d.fail("item expected")
	}
}

// spPartial reads a range of results (RFC 9394 §4).
func (d *decoder) spPartial() *PartialRange {
	d.expectSP()
	p := &PartialRange{Backward: d.take('-')}
	p.From = d.expectNonZero32()
	d.expect(':', "range")
	if d.take('-') != p.Backward {
		d.fail("both bounds count from the same end")
	}
	p.To = d.expectNonZero32()
	return p
}

// CancelUpdate is CANCELUPDATE: the tags of searches that were to be kept up to
// date.
type CancelUpdate struct{ Tags []string }

// parseCancelUpdate reads CANCELUPDATE (RFC 5267 §4.3.5).
func parseCancelUpdate(d *decoder) Command {
	c := &CancelUpdate{}
	d.expectSP()
	for d.err == nil {
		if len(c.Tags) == d.r.limits.Items {
			d.fail("too many tags")
		}
		c.Tags = append(c.Tags, d.expectAString("tag"))
		if !d.take(' ') {
			break
		}
	}
	return c
}
