package message

import "github.com/emersion/go-imap/v2"

// Section gives the octets of BODY[section] (RFC 9051 §6.4.5.1), before
// <partial> is applied; they share the message's. ok is false where the
// message has no such part, or a part has no such text: the answer is then NIL.
func (m *Message) Section(s *imap.FetchItemBodySection) (b []byte, ok bool) {
	e := m.root
	if len(s.Part) > 0 {
		if e = m.part(s.Part); e == nil {
			return nil, false
		}
		if s.Specifier == imap.PartSpecifierNone {
			return m.body(e), true
		}
		if s.Specifier == imap.PartSpecifierMIME {
			return m.header(e), true
		}
		if e.kind != kindMessage { // HEADER and TEXT are those of a message
			return nil, false
		}
		e = e.parts[0]
	}
	switch s.Specifier {
	case imap.PartSpecifierNone:
		return m.raw, true
	case imap.PartSpecifierText:
		return m.body(e), true
	case imap.PartSpecifierHeader:
		switch {
		case s.HeaderFields != nil:
			return NewFieldFilter(s.HeaderFields, true).Append(nil, m.header(e)), true
		case s.HeaderFieldsNot != nil:
			return NewFieldFilter(s.HeaderFieldsNot, false).Append(nil, m.header(e)), true
		}
		return m.header(e), true
	}
	return nil, false // MIME needs a part number
}

// part finds the entity that a part number names. Numbers count the parts of a
// multipart; what is no multipart has a part 1, which is itself. Those below a
// message/rfc822 part belong to the message in it.
func (m *Message) part(numbers []int) *entity {
	e := m.root
	for i, n := range numbers {
		if i > 0 {
			switch e.kind {
			case kindLeaf:
				return nil
			case kindMessage:
				e = e.parts[0]
			}
		}
		switch {
		case e.kind == kindMultipart && 1 <= n && n <= len(e.parts):
			e = e.parts[n-1]
		case e.kind != kindMultipart && n == 1:
		default:
			return nil
		}
	}
	return e
}
