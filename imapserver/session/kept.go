package session

import (
	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// kept is what a FETCH takes from the cache instead of from messages.
type kept struct {
	*store.Reading
	off     bool                   // an item needs more than the cache has
	parts   []store.Part           // that the items need
	filters []*message.FieldFilter // for the items that are header fields, by their index
	texts   [store.PartCount][]byte
	buf     []byte
}

// newKept looks at the items of a FETCH.
func newKept(v *store.View, items []wire.FetchItem) kept {
	k := kept{Reading: v.Reading(), filters: make([]*message.FieldFilter, len(items))}
	for i, item := range items {
		switch item.Kind {
		case wire.FetchUID, wire.FetchFlags, wire.FetchInternalDate, wire.FetchSize, wire.FetchModSeq:
		case wire.FetchSaveDate, wire.FetchEmailID, wire.FetchThreadID:
		case wire.FetchEnvelope:
			k.parts = append(k.parts, store.PartEnvelope)
		case wire.FetchBody:
			k.parts = append(k.parts, store.PartBody)
		case wire.FetchBodyStructure:
			k.parts = append(k.parts, store.PartBodyStructure)
		case wire.FetchSection:
			if !isKept(item.Section) {
				k.off = true
				continue
			}
			k.parts = append(k.parts, store.PartFields)
			k.filters[i] = message.NewFieldFilter(item.Section.HeaderFields, true)
		default:
			k.off = true
		}
	}
	return k
}

// isKept tells whether a section is fields of the header that the cache has.
func isKept(sec *imap.FetchItemBodySection) bool {
	return len(sec.Part) == 0 && sec.Partial == nil && sec.Specifier == imap.PartSpecifierHeader &&
		sec.HeaderFields != nil && message.KeptFields.Covers(sec.HeaderFields)
}

// recall gets the parts of a message, all or none.
func (k *kept) recall(seq store.SeqNum) bool {
	if k.off {
		return false
	}
	for _, p := range k.parts {
		text, ok := k.Part(seq, p)
		if !ok {
			return false
		}
		k.texts[p] = text
	}
	return true
}

// write writes the item of that index and kind, if it is one that recall has got.
func (k *kept) write(w *wire.Writer, i int, kind wire.FetchKind) bool {
	switch kind {
	case wire.FetchEnvelope:
		w.Bytes(k.texts[store.PartEnvelope])
	case wire.FetchBody:
		w.Bytes(k.texts[store.PartBody])
	case wire.FetchBodyStructure:
		w.Bytes(k.texts[store.PartBodyStructure])
	case wire.FetchSection:
		k.buf = k.filters[i].Append(k.buf[:0], k.texts[store.PartFields])
		w.Literal(k.buf)
	default:
		return false
	}
	return true
}
