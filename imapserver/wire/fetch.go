package wire

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// FetchKind names what a fetch item asks for.
type FetchKind string

// The kinds. RFC822, RFC822.HEADER and RFC822.TEXT are FetchSection with names
// of their own.
const (
	FetchUID           FetchKind = "UID"
	FetchFlags         FetchKind = "FLAGS"
	FetchInternalDate  FetchKind = "INTERNALDATE"
	FetchSize          FetchKind = "RFC822.SIZE"
	FetchEnvelope      FetchKind = "ENVELOPE"
	FetchBody          FetchKind = "BODY"
	FetchBodyStructure FetchKind = "BODYSTRUCTURE"
	FetchSection       FetchKind = "BODY[]"
	FetchModSeq        FetchKind = "MODSEQ"
	FetchPreview       FetchKind = "PREVIEW"
	FetchSaveDate      FetchKind = "SAVEDATE"
	FetchEmailID       FetchKind = "EMAILID"
	FetchThreadID      FetchKind = "THREADID"
	FetchBinary        FetchKind = "BINARY[]"
	FetchBinarySize    FetchKind = "BINARY.SIZE[]"
)

// FetchItem is one thing that FETCH asks for.
type FetchItem struct {
	Kind    FetchKind
	Name    string                     // how the response names it: "FLAGS", "BODY[TEXT]<0>"
	Section *imap.FetchItemBodySection // FetchSection; of FetchBinary and FetchBinarySize the part
}

// FetchRow is a word that FETCH knows: an item or a macro.
type FetchRow struct {
	Name  string
	RFC   int
	Cap   imap.Cap                                // the capability that brings it; "" for the base
	Macro []FetchKind                             // for a macro: what it stands for
	parse func(d *decoder, name string) FetchItem // nil: the item of that name, or the macro
}

// FetchItems is every word that FETCH knows.
var FetchItems = []FetchRow{
	{Name: "ALL", RFC: 3501, Macro: []FetchKind{FetchFlags, FetchInternalDate, FetchSize, FetchEnvelope}},
	{Name: "FAST", RFC: 3501, Macro: []FetchKind{FetchFlags, FetchInternalDate, FetchSize}},
	{Name: "FULL", RFC: 3501, Macro: []FetchKind{FetchFlags, FetchInternalDate, FetchSize, FetchEnvelope, FetchBody}},
	{Name: "UID", RFC: 3501},
	{Name: "FLAGS", RFC: 3501},
	{Name: "INTERNALDATE", RFC: 3501},
	{Name: "RFC822.SIZE", RFC: 3501},
	{Name: "ENVELOPE", RFC: 3501},
	{Name: "BODYSTRUCTURE", RFC: 3501},
	{Name: "BODY", RFC: 3501, parse: parseBody},
	{Name: "BODY.PEEK", RFC: 3501, parse: parseBodyPeek},
	{Name: "RFC822", RFC: 3501, parse: parseRFC822},
	{Name: "RFC822.HEADER", RFC: 3501, parse: parseRFC822},
	{Name: "RFC822.TEXT", RFC: 3501, parse: parseRFC822},
	{Name: "MODSEQ", RFC: 7162, Cap: imap.CapCondStore},
	{Name: "PREVIEW", RFC: 8970, Cap: imap.CapPreview, parse: parsePreview},
	{Name: "SAVEDATE", RFC: 8514, Cap: imap.CapSaveDate},
	{Name: "EMAILID", RFC: 8474, Cap: imap.CapObjectID},
	{Name: "THREADID", RFC: 8474, Cap: imap.CapObjectID},
	{Name: "BINARY", RFC: 3516, Cap: imap.CapBinary, parse: parseBinary},
	{Name: "BINARY.PEEK", RFC: 3516, Cap: imap.CapBinary, parse: parseBinary},
	{Name: "BINARY.SIZE", RFC: 3516, Cap: imap.CapBinary, parse: parseBinary},
}

func findFetch(name string) *FetchRow {
	for i := range FetchItems {
		if FetchItems[i].Name == name {
			return &FetchItems[i]
		}
	}
	return nil
}

func parseFetch(d *decoder) Command    { return d.fetch(false) }
func parseUIDFetch(d *decoder) Command { return d.fetch(true) }

// fetch reads FETCH (RFC 9051 §6.4.5).
func (d *decoder) fetch(uid bool) Command {
	d.expectSP()
	c := &Fetch{Set: d.expectSet(uid)}
	d.expectSP()
	if next, _ := d.peek(); next == '(' {
		d.list(func() { c.Items = AddItems(c.Items, d.expectFetchItem(false)) })
		if len(c.Items) == 0 {
			d.fail("item expected")
		}
	} else {
		c.Items = d.expectFetchItem(true)
	}
	if d.take(' ') {
		modifiers(d, c, FetchModifiers)
	}
	if c.Partial != nil && !uid { // RFC 9394 §3.3
		d.fail("PARTIAL is for UID FETCH")
	}
	if c.Vanished && (!uid || c.ChangedSince == 0) { // RFC 7162 §3.2.6
		d.fail("VANISHED is for UID FETCH with CHANGEDSINCE")
	}
	return c
}

// AddItems leaves out what is asked for twice: one answer says it. Of a section
// that is wanted with and without PEEK, the former goes.
func AddItems(items, more []FetchItem) []FetchItem {
	for _, m := range more {
		i := slices.IndexFunc(items, func(i FetchItem) bool { return i.Name == m.Name && i.limit() == m.limit() })
		if i < 0 {
			items = append(items, m)
		} else if m.Section != nil && !m.Section.Peek {
			items[i] = m
		}
	}
	return items
}

// limit is the size of a partial item, which its name does not tell.
func (i FetchItem) limit() int64 {
	if i.Section == nil || i.Section.Partial == nil {
		return -1
	}
	return i.Section.Partial.Size
}

// expectFetchItem reads an item or, where one may be, a macro.
func (d *decoder) expectFetchItem(macro bool) []FetchItem {
	row := findFetch(strings.ToUpper(d.run(fetchChar)))
	if row != nil {
		d.use(row.Cap)
	}
	switch {
	case row == nil, row.Macro != nil && !macro:
		d.fail("item expected")
		return nil
	case row.parse != nil:
		return []FetchItem{row.parse(d, row.Name)}
	case row.Macro == nil:
		return []FetchItem{{Kind: FetchKind(row.Name), Name: row.Name}}
	}
	items := make([]FetchItem, len(row.Macro))
	for i, k := range row.Macro {
		items[i] = FetchItem{Kind: k, Name: string(k)}
	}
	return items
}

// parseRFC822 gives the items that are older names of sections
// (RFC 3501 §6.4.5).
func parseRFC822(_ *decoder, name string) FetchItem {
	s := &imap.FetchItemBodySection{}
	switch name {
	case "RFC822.HEADER":
		s.Specifier, s.Peek = imap.PartSpecifierHeader, true
	case "RFC822.TEXT":
		s.Specifier = imap.PartSpecifierText
	}
	return FetchItem{FetchSection, name, s}
}

func parseBody(d *decoder, _ string) FetchItem {
	if next, _ := d.peek(); next != '[' {
		return FetchItem{Kind: FetchBody, Name: string(FetchBody)}
	}
	return d.expectSection(false)
}

func parseBodyPeek(d *decoder, _ string) FetchItem { return d.expectSection(true) }

// expectSection reads "[section]<partial>".
func (d *decoder) expectSection(peek bool) FetchItem {
	s := &imap.FetchItemBodySection{Peek: peek}
	d.expect('[', "section")
	d.sectionSpec(s)
	d.expect(']', "end of the section")
	s.Partial = d.partial()
	if d.err != nil {
		return FetchItem{}
	}
	return FetchItem{FetchSection, sectionName(s), s}
}

// partial reads "<offset.size>", if it comes.
func (d *decoder) partial() *imap.SectionPartial {
	if !d.take('<') {
		return nil
	}
	p := &imap.SectionPartial{Offset: d.expectNumber63()}
	d.expect('.', "size of the part")
	p.Size = int64(d.expectNonZero(math.MaxInt64))
	d.expect('>', "end of the part")
	return p
}

// sectionSpec reads what stands between the brackets (RFC 9051 §6.4.5).
func (d *decoder) sectionSpec(s *imap.FetchItemBodySection) {
	text := d.sectionPart(s, strings.ToUpper(d.run(fetchChar)))
	switch text {
	case "":
	case "MIME":
		if len(s.Part) == 0 {
			d.fail("MIME needs a part")
		}
		s.Specifier = imap.PartSpecifierMIME
	case "HEADER":
		s.Specifier = imap.PartSpecifierHeader
	case "TEXT":
		s.Specifier = imap.PartSpecifierText
	case "HEADER.FIELDS":
		s.Specifier = imap.PartSpecifierHeader
		s.HeaderFields = d.headerFields()
	case "HEADER.FIELDS.NOT":
		s.Specifier = imap.PartSpecifierHeader
		s.HeaderFieldsNot = d.headerFields()
	default:
		d.fail("unknown section")
	}
}

// sectionPart takes the numbers off the front of a section and gives the rest.
func (d *decoder) sectionPart(s *imap.FetchItemBodySection, text string) string {
	for text != "" && text[0] >= '0' && text[0] <= '9' {
		number, rest, more := strings.Cut(text, ".")
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || number[0] == '0' || more && rest == "" {
			d.fail("bad part number")
			return ""
		}
		s.Part = append(s.Part, int(n))
		if len(s.Part) > d.r.limits.Nesting {
			d.fail("nested too deeply")
			return ""
		}
		text = rest
	}
	return text
}

func (d *decoder) headerFields() []string {
	var names []string
	d.expectSP()
	d.list(func() {
		name := d.expectAString("field name")
		if !isFieldName(name) {
			d.fail("bad field name")
		}
		names = append(names, name)
	})
	if len(names) == 0 {
		d.fail("field name expected")
	}
	return names
}

// isFieldName tells what can be a field's name (RFC 5322 §3.6.8): the response
// repeats it.
func isFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// sectionName writes a section as the response names it.
func sectionName(s *imap.FetchItemBodySection) string {
	b := append([]byte("BODY["), partName(s.Part)...)
	if s.Specifier != imap.PartSpecifierNone {
		if len(s.Part) > 0 {
			b = append(b, '.')
		}
		b = append(b, s.Specifier...)
	}
	switch {
	case s.HeaderFields != nil:
		b = appendFields(append(b, ".FIELDS ("...), s.HeaderFields)
	case s.HeaderFieldsNot != nil:
		b = appendFields(append(b, ".FIELDS.NOT ("...), s.HeaderFieldsNot)
	}
	return string(b) + "]" + offsetName(s.Partial)
}

func appendFields(b []byte, names []string) []byte {
	for i, name := range names {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendAString(b, name)
	}
	return append(b, ')')
}
