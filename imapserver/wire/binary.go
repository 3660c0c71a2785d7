package wire

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// parseBinary reads BINARY, BINARY.PEEK and BINARY.SIZE (RFC 3516 §4.2) after
// the word. The answer tells the offset (RFC 9051 §7.5.2): the grammar there has
// no place for it, but without it two pieces could not be told apart.
func parseBinary(d *decoder, name string) FetchItem {
	item := FetchItem{Kind: FetchBinary, Section: &imap.FetchItemBodySection{Peek: name != "BINARY"}}
	d.expect('[', "section")
	if d.sectionPart(item.Section, strings.ToUpper(d.run(fetchChar))) != "" {
		d.fail("part expected")
	}
	d.expect(']', "end of the section")
	if name == "BINARY.SIZE" {
		item.Kind = FetchBinarySize
	} else {
		name = "BINARY"
		item.Section.Partial = d.partial()
	}
	item.Name = name + "[" + partName(item.Section.Part) + "]" + offsetName(item.Section.Partial)
	return item
}

// offsetName writes where a piece starts.
func offsetName(p *imap.SectionPartial) string {
	if p == nil {
		return ""
	}
	return "<" + strconv.FormatInt(p.Offset, 10) + ">"
}

// partName writes the number of a part.
func partName(part []int) string {
	var b []byte
	for i, n := range part {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return string(b)
}

// Literal8 writes b as it is: as a literal8 where it holds NUL, else as a
// literal.
func (w *Writer) Literal8(b []byte) {
	if bytes.IndexByte(b, 0) >= 0 {
		w.Raw("~")
	}
	w.Raw("{")
	w.Number(uint64(len(b)))
	w.Raw("}\r\n")
	w.Bytes(b)
}
