package wire

import (
	"slices"

	"github.com/emersion/go-imap/v2"
)

// ListOption is an option of LIST (RFC 5258 §3).
type ListOption struct {
	Name  string
	RFC   int
	Cap   imap.Cap // the capability that brings it
	parse func(d *decoder, c *List)
}

// ListSelections is every selection option of LIST.
var ListSelections = []ListOption{
	{"SUBSCRIBED", 5258, imap.CapListExtended, func(_ *decoder, c *List) { c.SelectSubscribed = true }},
	{"REMOTE", 5258, imap.CapListExtended, func(_ *decoder, c *List) { c.SelectRemote = true }},
	{"RECURSIVEMATCH", 5258, imap.CapListExtended, func(_ *decoder, c *List) { c.SelectRecursive = true }},
	{"SPECIAL-USE", 6154, imap.CapSpecialUse, func(_ *decoder, c *List) { c.SelectSpecialUse = true }},
}

// ListReturns is every return option of LIST.
var ListReturns = []ListOption{
	{"SUBSCRIBED", 5258, imap.CapListExtended, func(_ *decoder, c *List) { c.ReturnSubscribed = true }},
	{"CHILDREN", 5258, imap.CapListExtended, func(_ *decoder, c *List) { c.ReturnChildren = true }},
	{"SPECIAL-USE", 6154, imap.CapSpecialUse, func(_ *decoder, c *List) { c.ReturnSpecialUse = true }},
	{"STATUS", 5819, imap.CapListStatus, func(d *decoder, c *List) {
		d.expectSP()
		c.ReturnStatus = d.expectStatusItems()
	}},
	{"MYRIGHTS", 8440, imap.CapListMyRights, func(_ *decoder, c *List) { c.ReturnMyRights = true }},
	{"METADATA", 9590, imap.CapListMetadata, func(d *decoder, c *List) {
		d.expectSP()
		c.ReturnMetadata = d.expectEntries(nil)
	}},
}

// parseList reads LIST (RFC 9051 §6.3.9).
func parseList(d *decoder) Command {
	c := &List{}
	d.expectSP()
	if next, _ := d.peek(); next == '(' {
		d.extend(c)
		d.listOptions(c, ListSelections)
		d.expectSP()
	}
	d.listNames(c, d.listPatterns)
	if d.take(' ') {
		if d.expectWord("RETURN") != "RETURN" {
			d.fail("RETURN expected")
		}
		d.expectSP()
		d.extend(c)
		d.listOptions(c, ListReturns)
	}
	if c.SelectRecursive && !c.SelectSubscribed && !c.SelectSpecialUse {
		d.fail("RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE")
	}
	return c
}

// extend takes note of a LIST that RFC 3501 does not have.
func (d *decoder) extend(c *List) {
	c.Extended = true
	d.use(imap.CapListExtended)
}

// listNames reads the reference and the patterns. What no name can match is left out,
// without an error (RFC 9051 §6.3.9); with such a reference, all but the question for
// the delimiter.
func (d *decoder) listNames(c *List, patterns func(*List)) {
	reference, ok := d.expectReference()
	c.Reference = reference
	d.expectSP()
	patterns(c)
	if !ok {
		c.Patterns = slices.DeleteFunc(c.Patterns, func(p string) bool { return p != "" })
	}
}

// listPatterns reads one pattern, or a list of them (RFC 5258 §3).
func (d *decoder) listPatterns(c *List) {
	if next, _ := d.peek(); next != '(' {
		d.listPattern(c)
		return
	}
	d.extend(c)
	n := 0
	d.list(func() {
		d.listPattern(c)
		n++
	})
	if n == 0 {
		d.fail("mailbox name expected")
	}
}

func (d *decoder) listPattern(c *List) {
	if p, ok := d.expectPattern(); ok {
		c.Patterns = append(c.Patterns, p)
	}
}

func (d *decoder) listOptions(c *List, rows []ListOption) {
	d.list(func() {
		name := d.expectWord("option")
		for _, row := range rows {
			if row.Name == name {
				d.use(row.Cap)
				row.parse(d, c)
				return
			}
		}
		d.fail("unknown option")
	})
}

// parseLSub reads LSUB (RFC 3501 §6.3.9).
func parseLSub(d *decoder) Command {
	c := d.plainList()
	c.LSub = true
	return c
}

// parseXList reads XLIST, which is LIST without options.
func parseXList(d *decoder) Command {
	c := d.plainList()
	c.XList = true
	return c
}

func (d *decoder) plainList() *List {
	c := &List{}
	d.expectSP()
	d.listNames(c, d.listPattern)
	return c
}
