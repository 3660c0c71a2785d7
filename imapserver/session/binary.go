package session

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/wire"
)

// errEncoding is the answer to what cannot be decoded, or not be kept
// (RFC 3516 §4.3).
var errEncoding = no(imap.ResponseCodeUnknownCTE, "unknown or impossible transfer encoding")

// partOf is the part that an item of BINARY is about.
func partOf(item *wire.FetchItem) string {
	_, name, _ := strings.Cut(item.Name, "[")
	part, _, _ := strings.Cut(name, "]")
	return part
}

// decode decodes the parts that the items ask for, each once. It comes before
// the row's first octet: a message of which one cannot be decoded has no row.
func (f *fetch) decode(m *loaded) error {
	for i := range f.items {
		item := &f.items[i]
		if item.Kind != wire.FetchBinary && item.Kind != wire.FetchBinarySize {
			continue
		}
		part := partOf(item)
		if _, done := m.binary[part]; done {
			continue
		}
		b, ok, err := m.parsed.Binary(item.Section.Part)
		if errors.Is(err, message.ErrEncoding) {
			return errEncoding
		}
		if err != nil {
			return err
		}
		if m.binary == nil {
			m.binary = make(map[string]*[]byte)
		}
		m.binary[part] = nil
		if ok {
			m.binary[part] = &b
		}
	}
	return nil
}

// binary writes a part or, for BINARY.SIZE, how many octets it has. Of a part
// that is not there, these are none.
func (f *fetch) binary(item *wire.FetchItem, m *loaded) {
	b := m.binary[partOf(item)]
	switch {
	case item.Kind == wire.FetchBinarySize && b == nil:
		f.s.w.Raw("0")
	case item.Kind == wire.FetchBinarySize:
		f.s.w.Number(uint64(len(*b)))
	case b == nil:
		f.s.w.Raw("NIL")
	default:
		f.s.w.Literal8(cut(*b, item.Section.Partial))
	}
}
