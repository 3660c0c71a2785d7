package message

import "mailstead/imapserver/wire"

// AppendEnvelope adds the envelope in wire form (RFC 9051 §7.5.2): strings as
// they stand in the header, unfolded.
func (m *Message) AppendEnvelope(dst []byte) []byte {
	left := maxAddresses
	return m.appendEnvelope(dst, m.root, &left)
}

// envelope is the fields of a header that ENVELOPE shows, as they stand there;
// nil is missing. Of single fields the first counts; the addresses of repeated
// fields are joined.
type envelope struct {
	date, subject, inReplyTo, messageID []byte
	from, sender, replyTo, to, cc, bcc  [][]byte
}

func readEnvelope(header []byte) *envelope {
	v := new(envelope)
	rows := []struct {
		name string
		text *[]byte
		list *[][]byte
	}{
		{name: "Date", text: &v.date},
		{name: "Subject", text: &v.subject},
		{name: "From", list: &v.from},
		{name: "Sender", list: &v.sender},
		{name: "Reply-To", list: &v.replyTo},
		{name: "To", list: &v.to},
		{name: "Cc", list: &v.cc},
		{name: "Bcc", list: &v.bcc},
		{name: "In-Reply-To", text: &v.inReplyTo},
		{name: "Message-ID", text: &v.messageID},
	}
	for name, value := range allFields(header) {
		for _, row := range rows {
			switch {
			case !equalFold(name, row.name):
			case row.text != nil && *row.text == nil:
				*row.text = value
			case row.list != nil && len(*row.list) < maxRepeats:
				*row.list = append(*row.list, value)
			}
		}
	}
	return v
}

func (m *Message) appendEnvelope(dst []byte, e *entity, left *int) []byte {
	v := readEnvelope(m.fields(e))
	dst = append(dst, '(')
	dst = appendText(dst, v.date)
	dst = append(dst, ' ')
	dst = appendText(dst, v.subject)
	from := appendList(nil, v.from, left)
	dst = append(append(dst, ' '), from...)
	for _, list := range [][][]byte{v.sender, v.replyTo} {
		dst = append(dst, ' ')
		start := len(dst)
		dst = appendList(dst, list, left)
		if string(dst[start:]) == "NIL" { // RFC 9051 §7.5.2: they default to From
			dst = append(dst[:start], from...)
		}
	}
	for _, list := range [][][]byte{v.to, v.cc, v.bcc} {
		dst = appendList(append(dst, ' '), list, left)
	}
	dst = append(dst, ' ')
	dst = appendText(dst, v.inReplyTo)
	dst = append(dst, ' ')
	dst = appendText(dst, v.messageID)
	return append(dst, ')')
}

// appendText adds a field as a string; NIL where it is missing.
func appendText(dst []byte, value []byte) []byte {
	if value == nil {
		return append(dst, "NIL"...)
	}
	return wire.AppendString(dst, string(unfold(value)))
}

// appendList adds a list of addresses; NIL where there is none.
func appendList(dst []byte, values [][]byte, left *int) []byte {
	start := len(dst)
	dst = append(dst, '(')
	for _, value := range values {
		dst = appendAddresses(dst, value, left)
	}
	if len(dst) == start+1 {
		return append(dst[:start], "NIL"...)
	}
	return append(dst, ')')
}
