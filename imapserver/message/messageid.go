package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// MessageID stands for a Message-ID: the first octets of its digest. No two
// that matter to anyone have the same; whoever wants his own message to pass for
// another could as well repeat its Message-ID. 0 is none.
type MessageID uint64

// newMessageID makes one of the text between the angle brackets.
func newMessageID(text []byte) MessageID {
	sum := sha256.Sum256(text)
	return MessageID(max(binary.BigEndian.Uint64(sum[:]), 1))
}

// messageIDs reads the Message-IDs of a field (RFC 5322 §3.6.4). It gives at most
// limit of them: the first and the last ones, since the nearest ancestors tell more
// than those between. An id counts whose angle
// brackets hold an "@" with something on either side. White space, comments and
// quotes in it do not count (RFC 5256 §3), its case does. What is no id is
// passed over.
func messageIDs(value []byte, limit int) (ids []MessageID) {
	l := lexer{b: value, bracketed: true}
	var text []byte
	for !l.end() {
		if !l.take('<') {
			l.i++
			continue
		}
		var ok bool
		if text, ok = l.messageID(text[:0]); !ok {
			continue
		}
		ids = append(ids, newMessageID(text))
	}
	if n := len(ids) - limit; n > 0 {
		return slices.Concat(ids[:1], ids[n+1:])
	}
	return ids
}

// messageID reads an id from behind its "<" and adds it to dst. Where another
// "<" comes first, it stops before that.
func (l *lexer) messageID(dst []byte) (id []byte, ok bool) {
	at := -1
	for l.skip(); !l.end(); l.skip() {
		switch c := l.next(); c {
		case '>':
			l.i++
			return dst, at > 0 && at < len(dst)-1
		case '<':
			return dst, false
		case '"':
			dst = l.quoted(dst)
			continue
		case '@':
			at = len(dst)
		}
		dst = append(dst, l.next())
		l.i++
	}
	return dst, false
}

// maxIDText bounds the text of a Message-ID that is shown.
const maxIDText = 255

// HeaderID is the text of the Message-ID field of a header, cut short; "" if it has
// none.
func HeaderID(header []byte) string {
	for name, value := range allFields(CutHeader(header)) {
		if equalFold(name, "Message-ID") {
			value = bytes.TrimSpace(value)
			return string(value[:min(len(value), maxIDText)])
		}
	}
	return ""
}

// EnvelopeID is the same, of what AppendEnvelope has made; ok is false where that
// has it in a form that is read elsewhere.
func EnvelopeID(envelope []byte) (id string, ok bool) {
	text, quoted := bytes.CutSuffix(envelope, []byte("\")"))
	if !quoted {
		return "", bytes.HasSuffix(envelope, []byte(" NIL)"))
	}
	i := bytes.LastIndexByte(text, '"')
	if i < 0 || bytes.IndexByte(text[i:], '\\') >= 0 || i > 0 && text[i-1] != ' ' {
		return "", false
	}
	return string(text[i+1 : min(len(text), i+1+maxIDText)]), true
}
