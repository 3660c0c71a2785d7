package message

import (
	"bytes"
	"io"
	"iter"
	"strings"
)

// Fields goes through the fields of the message's header, in their order: the
// name, and the value as it stands there, folded. DecodeHeader decodes it.
func (m *Message) Fields() iter.Seq2[[]byte, []byte] {
	return allFields(m.fields(m.root))
}

// Header is the message's header as far as fields are looked for in it.
func (m *Message) Header() []byte { return m.fields(m.root) }

// CutField gives the first field of a header, as Fields has it, and the rest. ok
// is false once nothing is left.
func CutField(header []byte) (name, value, rest []byte, ok bool) {
	for len(header) > 0 {
		n := fieldLen(header)
		f := header[:n]
		header = header[n:]
		if name, value, ok = splitField(f); ok {
			return name, value, header, true
		}
	}
	return nil, nil, nil, false
}

// CutHeader gives the part of a header in which fields are looked for.
func CutHeader(header []byte) []byte { return header[:min(len(header), MaxHeader)] }

// HeaderText reads the message's header as UTF-8: one field a line, unfolded,
// its encoded words decoded.
func (m *Message) HeaderText() io.Reader {
	return &headerReader{rest: m.fields(m.root)}
}

// Texts goes through what can be read in the message's body: the headers of
// parts and of embedded messages, encoded words decoded, and the text/* parts,
// with transfer encoding and charset undone. HTML comes as its source. Each
// Reader gives UTF-8, though not always valid, and is good until the next one.
func (m *Message) Texts() iter.Seq[io.Reader] {
	return func(yield func(io.Reader) bool) {
		m.texts(m.root, yield)
	}
}

func (m *Message) texts(e *entity, yield func(io.Reader) bool) bool {
	if e != m.root && e.body > e.start {
		if !yield(&headerReader{rest: m.fields(e)}) {
			return false
		}
	}
	if e.kind == kindLeaf && strings.EqualFold(e.media.typ, "text") {
		return yield(m.text(e))
	}
	for _, part := range e.parts {
		if !m.texts(part, yield) {
			return false
		}
	}
	return true
}

// text reads a text part.
func (m *Message) text(e *entity) io.Reader {
	c := readContentFields(m.fields(e))
	charset := ""
	if c.typ != nil {
		_, params := parseContentType(c.typ)
		for _, a := range params {
			if strings.EqualFold(a.name, "charset") {
				charset = a.value
				break
			}
		}
	}
	return utf8Reader(charset, decodeTransfer(encodingName(c.encoding), m.body(e)))
}

// headerReader reads the fields of a header, one decoded field a line.
type headerReader struct {
	rest []byte // fields still to be decoded
	line bytes.Reader
}

func (r *headerReader) Read(p []byte) (int, error) {
	for r.line.Len() == 0 {
		if len(r.rest) == 0 {
			return 0, io.EOF
		}
		n := fieldLen(r.rest)
		r.line.Reset([]byte(DecodeHeader(r.rest[:n]) + "\n"))
		r.rest = r.rest[n:]
	}
	return r.line.Read(p)
}
