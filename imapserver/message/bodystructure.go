package message

import (
	"bytes"
	"strconv"
	"strings"

	"mailstead/imapserver/wire"
)

// AppendBodyStructure adds BODYSTRUCTURE, or BODY where extended is false (RFC
// 9051 §7.5.2).
func (m *Message) AppendBodyStructure(dst []byte, extended bool) []byte {
	w := structureWriter{m: m, extended: extended, left: maxAddresses}
	w.dst = dst
	w.entity(m.root)
	return w.dst
}

// structureWriter writes one BODYSTRUCTURE. It goes down as deep as maxDepth.
type structureWriter struct {
	m        *Message
	dst      []byte
	extended bool
	left     int // addresses that its envelopes may still show
}

// contentFields is the Content-* fields of an entity as they stand in its
// header, the first of each; nil is missing.
type contentFields struct {
	typ, disposition, id, description, encoding, md5, language, location []byte
}

func readContentFields(header []byte) *contentFields {
	c := new(contentFields)
	rows := []struct {
		name string
		text *[]byte
	}{
		{"Content-Type", &c.typ},
		{"Content-Disposition", &c.disposition},
		{"Content-ID", &c.id},
		{"Content-Description", &c.description},
		{"Content-Transfer-Encoding", &c.encoding},
		{"Content-MD5", &c.md5},
		{"Content-Language", &c.language},
		{"Content-Location", &c.location},
	}
	for name, value := range allFields(header) {
		for _, row := range rows {
			if *row.text == nil && equalFold(name, row.name) {
				*row.text = value
			}
		}
	}
	return c
}

func (w *structureWriter) raw(s string)    { w.dst = append(w.dst, s...) }
func (w *structureWriter) string(s string) { w.dst = wire.AppendString(w.dst, s) }
func (w *structureWriter) number(n int)    { w.dst = strconv.AppendInt(w.dst, int64(n), 10) }

// text writes an unstructured field, NIL where it is missing or empty.
func (w *structureWriter) text(value []byte) {
	if value == nil || len(unfold(value)) == 0 {
		w.raw("NIL")
		return
	}
	w.string(string(unfold(value)))
}

func (w *structureWriter) entity(e *entity) {
	c := readContentFields(w.m.fields(e))
	w.raw("(")
	if e.kind == kindMultipart {
		w.multipart(e, c)
	} else {
		w.single(e, c)
	}
	w.raw(")")
}

func (w *structureWriter) multipart(e *entity, c *contentFields) {
	for _, part := range e.parts {
		w.entity(part)
	}
	w.raw(" ")
	w.string(e.media.sub)
	if w.extended {
		w.raw(" ")
		w.params(w.contentParams(e, c))
		w.tail(c)
	}
}

// single writes body-type-basic, -msg or -text of RFC 9051 §9.
func (w *structureWriter) single(e *entity, c *contentFields) {
	w.string(e.media.typ)
	w.raw(" ")
	w.string(e.media.sub)
	w.raw(" ")
	w.params(w.contentParams(e, c))
	w.raw(" ")
	w.text(c.id)
	w.raw(" ")
	w.text(c.description)
	w.raw(" ")
	w.string(encodingName(c.encoding))
	w.raw(" ")
	w.number(e.end - e.body)
	switch {
	case e.kind == kindMessage:
		w.raw(" ")
		w.dst = w.m.appendEnvelope(w.dst, e.parts[0], &w.left)
		w.raw(" ")
		w.entity(e.parts[0])
		w.raw(" ")
		w.number(e.lines)
	case strings.EqualFold(e.media.typ, "text"):
		w.raw(" ")
		w.number(e.lines)
	}
	if w.extended {
		w.raw(" ")
		w.text(c.md5)
		w.tail(c)
	}
}

// tail writes disposition, language and location.
func (w *structureWriter) tail(c *contentFields) {
	w.raw(" ")
	w.disposition(c.disposition)
	w.raw(" ")
	w.languages(c.language)
	w.raw(" ")
	w.text(c.location)
}

// contentParams gives the parameters of the Content-Type that e.media was
// taken from, and none if it was taken from somewhere else. Text without a
// charset is in US-ASCII (RFC 2045 §5.2).
func (w *structureWriter) contentParams(e *entity, c *contentFields) []param {
	var params []param
	if c.typ != nil {
		if media, p := parseContentType(c.typ); media == e.media {
			params = p
		}
	}
	if e.kind == kindLeaf && isPlain(e.media) && !hasParam(params, "charset") {
		params = append(params, param{"charset", "us-ascii"})
	}
	return params
}

func isPlain(t mediaType) bool {
	return strings.EqualFold(t.typ, "text") && strings.EqualFold(t.sub, "plain")
}

func hasParam(params []param, name string) bool {
	for _, a := range params {
		if strings.EqualFold(strings.TrimSuffix(a.name, "*"), name) {
			return true
		}
	}
	return false
}

func (w *structureWriter) params(list []param) {
	if len(list) == 0 {
		w.raw("NIL")
		return
	}
	sep := "("
	for _, a := range list {
		w.raw(sep)
		w.string(a.name)
		w.raw(" ")
		w.string(a.value)
		sep = " "
	}
	w.raw(")")
}

func (w *structureWriter) disposition(value []byte) {
	if value != nil {
		if typ, params, ok := parseDisposition(value); ok {
			w.raw("(")
			w.string(typ)
			w.raw(" ")
			w.params(params)
			w.raw(")")
			return
		}
	}
	w.raw("NIL")
}

// languages writes the tags of a Content-Language (RFC 3282 §2) as a list.
func (w *structureWriter) languages(value []byte) {
	sep := "("
	n := 0
	for item := range bytes.SplitSeq(value, []byte{','}) {
		l := lexer{b: item}
		l.skip()
		tag := l.until(`(;"`)
		if len(tag) == 0 {
			continue
		}
		if n++; n > maxLanguages {
			break
		}
		w.raw(sep)
		w.string(string(tag))
		sep = " "
	}
	if sep == "(" {
		w.raw("NIL")
		return
	}
	w.raw(")")
}

// encodingName is the transfer encoding as written, 7bit where there is none
// (RFC 2045 §6.1).
func encodingName(value []byte) string {
	if value != nil {
		l := lexer{b: value}
		l.skip()
		if name := bytes.Trim(l.until(`;("`), "'"); len(name) > 0 {
			return string(name)
		}
	}
	return "7bit"
}
