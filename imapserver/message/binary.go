package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
)

// ErrEncoding says that a part's transfer encoding is not known, or that a
// message cannot be written without octets that are no text.
var ErrEncoding = errors.New("unknown transfer encoding")

// encodings are the transfer encodings that can be undone; true where that
// changes anything.
var encodings = map[string]bool{"7bit": false, "8bit": false, "binary": false, "base64": true, "quoted-printable": true}

// Binary gives the octets of BINARY[part] (RFC 9051 §6.4.5): the body of a part,
// its transfer encoding undone. What has parts of its own has no encoding (RFC
// 2045 §6.4), and neither has the message as a whole: it comes as it is. ok is
// false where the message has no such part.
func (m *Message) Binary(part []int) (b []byte, ok bool, err error) {
	if len(part) == 0 {
		return m.raw, true, nil
	}
	e := m.part(part)
	if e == nil {
		return nil, false, nil
	}
	if e.kind != kindLeaf {
		return m.body(e), true, nil
	}
	name := m.encoding(e)
	encoded, known := encodings[name]
	switch {
	case !known:
		return nil, false, ErrEncoding
	case !encoded:
		return m.body(e), true, nil
	}
	b, err = io.ReadAll(decodeTransfer(name, m.body(e)))
	return b, true, err
}

// encoding gives the transfer encoding of an entity in lower case.
func (m *Message) encoding(e *entity) string {
	value, _ := firstField(m.fields(e), "Content-Transfer-Encoding")
	return strings.ToLower(encodingName(value))
}

// isText tells whether octets are lines that end in CRLF, with neither NUL nor
// CR in them: what a file with LF line ends can hold.
func isText(b []byte) bool {
	return bytes.IndexByte(b, 0) < 0 && bytes.Count(b, []byte("\r\n")) == bytes.Count(b, []byte{'\r'}) &&
		bytes.Count(b, []byte{'\n'}) == bytes.Count(b, []byte{'\r'})
}

// Text gives a message that says what raw says in lines that end in CRLF, with
// neither NUL nor CR in them: parts that have such octets are encoded in base64,
// and everything else stays as it is (RFC 3516 §4.3). It fails with ErrEncoding
// where that is not possible: in headers, between parts, in a part that has an
// encoding already, and in what is signed.
func Text(raw []byte) ([]byte, error) {
	if isText(raw) {
		return raw, nil
	}
	w := textWriter{m: Parse(raw)}
	w.entity(w.m.root)
	w.copy(len(raw))
	if w.err != nil {
		return nil, w.err
	}
	return w.out, nil
}

// textWriter copies a message and encodes what must be.
type textWriter struct {
	m   *Message
	at  int // octets of the message that have been dealt with
	out []byte
	err error
}

// copy takes the octets up to an offset as they are.
func (w *textWriter) copy(to int) {
	if b := w.m.raw[w.at:to]; isText(b) {
		w.out = append(w.out, b...)
	} else {
		w.err = ErrEncoding
	}
	w.at = to
}

// entity writes the leaves that must be encoded. What holds others is not looked at as a
// whole, or all would be at each of its levels; copy sees what is between them.
func (w *textWriter) entity(e *entity) {
	signed := e.kind == kindMultipart && strings.EqualFold(e.media.sub, "signed")
	switch {
	case w.err != nil:
	case e.kind != kindLeaf && !signed:
		for _, part := range e.parts {
			w.entity(part)
		}
	case isText(w.m.raw[e.start:e.end]):
	case signed:
		w.err = ErrEncoding
	default:
		w.leaf(e)
	}
}

// leaf writes a part with its body in base64. One whose header has no end but
// that of the part has no body.
func (w *textWriter) leaf(e *entity) {
	encoded, known := encodings[w.m.encoding(e)]
	if encoded || !known || isText(w.m.body(e)) || !bytes.HasSuffix(w.m.header(e), []byte("\r\n")) {
		w.err = ErrEncoding
		return
	}
	w.copy(e.start)
	for f := range rawFields(w.m.header(e)) {
		if name, _, ok := splitField(f); ok && equalFold(name, "Content-Transfer-Encoding") {
			w.at += len(f)
		} else {
			w.copy(w.at + len(f))
		}
	}
	w.out = append(w.out, "Content-Transfer-Encoding: base64\r\n"...)
	w.copy(e.body)
	w.out = appendBase64Lines(w.out, w.m.body(e))
	w.at = e.end
}

// lineOctets is how much a line of base64 holds (RFC 2045 §6.8: 76 characters).
const lineOctets = 57

func appendBase64Lines(dst, b []byte) []byte {
	for len(b) > 0 {
		n := min(lineOctets, len(b))
		dst = append(base64.StdEncoding.AppendEncode(dst, b[:n]), "\r\n"...)
		b = b[n:]
	}
	return dst
}
